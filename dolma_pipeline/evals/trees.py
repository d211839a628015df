"""Windows that begin alike, as trees: what they share is read once.

Answers share their question, questions the examples before them, Winogrande's sentences all up to a name. Windows are
sorted, so that those that begin alike stand side by side, and joined: a tree holds each distinct beginning once, as a
node, and a node sees the nodes above it and itself, which is just what it would see alone. A row of a batch is a tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.train.model import IGNORED

Ids = NDArray[np.int64]

ROOM = 512
"""Nodes that a tree may always have; a larger one only up to twice its longest window, as attention grows with it."""


class Window(NamedTuple):
    """A stretch that the model reads at once: ids, and the id that follows each, `IGNORED` where it is not scored."""

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]


class Stem(NamedTuple):
    """Nodes that one window added to a tree. above: nodes that all of them see. first, last: the range they are."""

    above: Ids
    first: int
    last: int


class Tree(NamedTuple):
    """Windows that are read together.

    tokens: id of each node. depths: how many nodes are above each. stems: the nodes, by who added them.
    windows: numbers of the windows; nodes: for each, those of its inputs.
    scored: nodes after which a target is asked for, each once, sorted.
    """

    tokens: Ids
    depths: Ids
    stems: list[Stem]
    windows: list[int]
    nodes: list[Ids]
    scored: Ids

    @property
    def branches(self) -> bool:
        """Whether it is more than a chain."""
        return len(self.stems) > 1

    def seen(self) -> NDArray[np.bool_]:
        """[node, node]: whether the first sees the second."""
        mask = np.zeros((len(self.tokens), len(self.tokens)), np.bool_)
        for above, first, last in self.stems:
            mask[first:last, above] = True
            mask[first:last, first:last] = np.tri(last - first, dtype=np.bool_)
        return mask


def trees(windows: Sequence[Window]) -> Iterator[Tree]:
    """Each window in one tree, joined with those that share at least half of it."""
    order = sorted(range(len(windows)), key=lambda i: windows[i].inputs.astype(">i8").tobytes())
    together: list[int] = []
    shared: list[int] = []
    size = 0
    for i in order:
        inputs = windows[i].inputs
        common = num_shared(windows[together[-1]].inputs, inputs) if together else 0
        grown = size + len(inputs) - common
        if 2 * common < len(inputs) or grown > max(ROOM, 2 * len(inputs)):
            if together:
                yield _grown(windows, together, shared)
            together, shared, common, grown = [], [], 0, len(inputs)
        together.append(i)
        shared.append(common)
        size = grown
    if together:
        yield _grown(windows, together, shared)


def num_shared(one: Ids, other: Ids) -> int:
    """How many ids two sequences begin with in common."""
    length = min(len(one), len(other))
    differ = one[:length] != other[:length]
    return int(differ.argmax()) if differ.any() else length


def _grown(windows: Sequence[Window], together: list[int], shared: Iterable[int]) -> Tree:
    tokens, depths, stems, nodes = [], [], [], []
    path = np.zeros(0, np.int64)
    size = 0
    for i, common in zip(together, shared, strict=True):
        inputs = windows[i].inputs
        above, new = path[:common], len(inputs) - common
        if new:
            stems.append(Stem(above, size, size + new))
            tokens.append(inputs[common:])
            depths.append(np.arange(common, len(inputs)))
        path = np.concatenate((above, np.arange(size, size + new)))
        size += new
        nodes.append(path)
    scored = [path[windows[i].targets != IGNORED] for i, path in zip(together, nodes, strict=True)]
    return Tree(
        np.concatenate(tokens), np.concatenate(depths), stems, together, nodes, np.unique(np.concatenate(scored))
    )
