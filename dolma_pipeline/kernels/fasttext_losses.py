"""From the mean of a text's vectors to probabilities of labels, as each loss of fastText 0.9.2 has them.

    hs        hierarchical softmax: products along a Huffman tree
    softmax   over all labels
    ns, ova   negative sampling, one against all: a logistic function a label, by fastText's table of 512 steps

fastText adds 1e-5 to a probability before it takes a logarithm and gives the exponential of that; so do we. Sums run
in one order on every processor: all labels side by side, one dimension after the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.fasttext_file import frozen
from dolma_pipeline.kernels.jit import njit

HIERARCHICAL, SOFTMAX = 1, 3
_STEPS, _MAX = 512, 8


class Outputs(NamedTuple):
    """What turns a text's vector into probabilities; all read-only.

    `weights` is float32[dim, labels], a column for each label, or for each inner node of the tree. `left`, `right`,
    `parent` are int32[2 * labels - 1]: the tree; a leaf has left = -1, the last node is the root. `places`
    (int32[labels]) is where a leaf comes in a walk from the left. `loss` is its number in fastText's files,
    `logistic` fastText's table of the logistic function, float32[513].
    """

    weights: NDArray[np.float32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    parent: NDArray[np.int32]
    places: NDArray[np.int32]
    loss: int
    logistic: NDArray[np.float32]


def outputs_of(loss: int, rows: NDArray[np.float32], counts: NDArray[np.int64]) -> Outputs:
    """Outputs of a model.

    Args:
        loss: its number. rows: float32[labels, dim], as in the file. counts: of each label, descending.
    """
    tree = _huffman(counts.tolist() if loss == HIERARCHICAL else [1])
    steps = np.arange(_STEPS + 1, dtype=np.float32) * np.float32(2 * _MAX) / np.float32(_STEPS) - np.float32(_MAX)
    logistic = (1.0 / (1.0 + np.exp(-steps).astype(np.float64))).astype(np.float32)
    weights = frozen(np.ascontiguousarray(rows.T))
    return Outputs(weights, *tree, loss=loss, logistic=frozen(logistic))


def _huffman(
    counts: list[int],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """fastText's Huffman tree over the labels' counts (descending): `Outputs.left`, `right`, `parent`, `places`."""
    num_labels = len(counts)
    size = 2 * num_labels - 1
    weights = counts + [10**15] * (size - num_labels)
    left, right, parent = (np.full(size, -1, np.int32) for _ in range(3))
    leaf, node = num_labels - 1, num_labels
    for new in range(num_labels, size):
        children = []
        for _ in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children.append(leaf)
                leaf -= 1
            else:
                children.append(node)
                node += 1
        left[new], right[new] = children
        weights[new] = weights[children[0]] + weights[children[1]]
        parent[children] = new
    places, stack = np.zeros(num_labels, np.int32), [size - 1]
    place = 0
    while stack:
        at = stack.pop()
        if left[at] < 0:
            places[at] = place
            place += 1
        else:
            stack += [right[at], left[at]]
    return frozen(left), frozen(right), frozen(parent), frozen(places)


@njit(cache=True, nogil=True, inline="always")
def _log(value):  # type: ignore[no-untyped-def]
    """fastText's `std_log`: float32 in and out, 1e-5 added in double."""
    return np.float32(np.log(np.float64(np.float32(value)) + 1e-5))


@njit(cache=True, nogil=True)
def _multiply(weights, hidden, scores):  # type: ignore[no-untyped-def]
    """float32[labels]: the dot product of each column with float32[dim]."""
    scores[:] = 0.0
    for d in range(hidden.size):
        factor = hidden[d]
        row = weights[d]
        for i in range(scores.size):
            scores[i] += row[i] * factor


@njit(cache=True, nogil=True)
def _branch(total):  # type: ignore[no-untyped-def]
    """Logarithms of the probabilities of going left and right at an inner node with this dot product."""
    right = np.float32(1.0 / np.float64(np.float32(1.0) + np.exp(np.float32(-total))))
    return _log(1.0 - np.float64(right)), _log(right)


@njit(cache=True, nogil=True)
def _best_leaf(outputs, scores, nodes, logs):  # type: ignore[no-untyped-def]
    """The likeliest leaf and the logarithm of its probability; of equal ones the last in a walk from the left.

    nodes, logs: room for a walk: int32 and float32[2 * labels].
    """
    num_labels = scores.size
    best, best_score, depth = -1, np.float32(-np.inf), 1
    nodes[0], logs[0] = outputs.left.size - 1, np.float32(0.0)
    while depth > 0:
        depth -= 1
        node, score = nodes[depth], logs[depth]
        if score < best_score:
            continue
        if outputs.left[node] < 0:
            if score > best_score or outputs.places[node] > outputs.places[best]:
                best, best_score = node, score
            continue
        to_left, to_right = _branch(scores[node - num_labels])
        first, second = outputs.right[node], outputs.left[node]  # the likelier last: it is next, and cuts off the other
        to_first, to_second = to_right, to_left
        if to_right > to_left:
            first, second, to_first, to_second = second, first, to_left, to_right
        nodes[depth], logs[depth] = first, score + to_first
        nodes[depth + 1], logs[depth + 1] = second, score + to_second
        depth += 2
    return best, best_score


@njit(cache=True, nogil=True)
def _leaf(outputs, scores, label, nodes):  # type: ignore[no-untyped-def]
    """The probability of a leaf: logarithms added from the root down, as fastText does."""
    depth, node = 0, label
    while node >= 0:
        nodes[depth] = node
        node = outputs.parent[node]
        depth += 1
    total = np.float32(0.0)
    for step in range(depth - 1, 0, -1):
        to_left, to_right = _branch(scores[nodes[step] - scores.size])
        total += to_left if outputs.left[nodes[step]] == nodes[step - 1] else to_right
    return np.float32(np.exp(total))


@njit(cache=True, nogil=True)
def _softmax(scores):  # type: ignore[no-untyped-def]
    """In place: probabilities that add up to 1."""
    largest = scores[0]
    for i in range(scores.size):
        largest = max(largest, scores[i])
    total = np.float32(0.0)
    for i in range(scores.size):
        scores[i] = np.exp(np.float32(scores[i] - largest))
        total += scores[i]
    for i in range(scores.size):
        scores[i] /= total


@njit(cache=True, nogil=True)
def _logistic(scores, table):  # type: ignore[no-untyped-def]
    """In place: fastText's logistic function, which knows 512 values between -8 and 8."""
    for i in range(scores.size):
        x = scores[i]
        if x < -8:
            scores[i] = 0.0
        elif x > 8:
            scores[i] = 1.0
        elif x == x:
            scores[i] = table[np.int64((x + np.float32(8)) * np.float32(512) / np.float32(8) / np.float32(2))]


@njit(cache=True, nogil=True)
def probabilities(outputs, hidden, wanted, scores, nodes, logs, out):  # type: ignore[no-untyped-def]
    """The likeliest label of a text and its probability; fills `out` with those of the labels `wanted` (-1: 0.0).

    Where numbers of the model are not finite there is none: -1.

    Args:
        hidden: float32[dim], the mean of the text's vectors.
        wanted, out: int32[k] and float32[k].
        scores, nodes, logs: room: float32[labels], int32[2 * labels], float32[2 * labels].
    """
    _multiply(outputs.weights, hidden, scores)
    if outputs.loss == HIERARCHICAL:
        best, best_score = _best_leaf(outputs, scores, nodes, logs)
        for k in range(wanted.size):
            out[k] = _leaf(outputs, scores, wanted[k], nodes) if wanted[k] >= 0 else np.float32(0.0)
        return best, np.float32(np.exp(best_score))
    if outputs.loss == SOFTMAX:
        _softmax(scores)
    else:
        _logistic(scores, outputs.logistic)
    best, best_score = -1, np.float32(-np.inf)
    for i in range(scores.size):
        if best < 0 or scores[i] > scores[best] * np.float32(0.999) - np.float32(1e-6):
            score = _log(scores[i])
            if score >= best_score:  # of equal ones the last, as in fastText's heap of one
                best, best_score = i, score
    for k in range(wanted.size):
        out[k] = np.float32(np.exp(_log(scores[wanted[k]]))) if wanted[k] >= 0 else np.float32(0.0)
    return best, np.float32(np.exp(best_score))
