"""Prediction with a supervised fastText model, straight from Arrow's text buffers.

Reads `.ftz` and `.bin` files with hierarchical softmax and single words (what `lid.176.ftz` is) and gives the
labels and probabilities of fastText's own `predict`: same words, same character n-grams, same float32 sums in
the same order. No Python string is made and no newline replaced. Cost: loading 0.1 s, 25 MB; then 25 to 35 MB
of text a second on one core (3 times fastText's own predict), or 10,000 to 20,000 documents a second with their
first 2,000 characters.
Source: the fastText file format and `FastText::predict` of fastText 0.9.2 (Joulin et al. 2016, 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import AssetError
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import TextBuffers, read_only

_MAGIC, _VERSION = 793712314, 12
_LOSSES = {1: "hs", 2: "ns", 3: "softmax", 4: "ova"}
_SUPERVISED, _HIERARCHICAL = 3, 1
_ARGUMENTS = (
    "dim", "window", "epochs", "min_count", "negatives", "word_ngrams", "loss", "model", "bucket", "min_n", "max_n",
    "rate_updates",
)  # fmt: skip
_LABEL = b"__label__"
_FNV_OFFSET, _FNV_PRIME = 2166136261, 16777619


class Prediction(NamedTuple):
    """What a model says of n texts.

    `labels` is int32[n], an index into `Model.labels`, -1 for a text without any word; `scores` float32[n] is
    the probability of that label, `wanted` float32[n] that of the label asked for; both 0.0 without any word.
    """

    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    wanted: NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """A loaded model: its labels (without `__label__`), and the arrays that the kernel reads.

    Attributes:
        labels: names, in the model's order.
        dictionary: (slots int32[2^k], word starts int32[w + 1], word bytes uint8, hashes uint32[w]).
        buckets: (bits uint8[bucket / 8 + 1], rows int32[bucket]): which n-gram buckets exist, and their row.
        vectors: float32[rows, dim], words first, then n-grams.
        nodes: float32[labels, dim], one vector for each inner node of the Huffman tree.
        tree: (left int32[2 * labels - 1], right, parent); a leaf has left = -1, the last entry is the root.
        settings: int64[4]: shortest and longest n-gram (characters), number of buckets, row of `</s>` or -1.
    """

    labels: tuple[str, ...]
    dictionary: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8], NDArray[np.uint32]]
    buckets: tuple[NDArray[np.uint8], NDArray[np.int32]]
    vectors: NDArray[np.float32]
    nodes: NDArray[np.float32]
    tree: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]
    settings: NDArray[np.int64]

    def predict(self, text: TextBuffers, *, max_chars: int = 0, label: str = "en") -> Prediction:
        """The best label of each text, its probability, and the probability of one given label.

        Equal to `fasttext`'s `model.predict(text[:max_chars].replace("\\n", " "))`, to about 1e-7.

        Args:
            text: the texts.
            max_chars: code points read from the start of each text; 0 reads all.
            label: the label whose probability goes to `wanted`; one that the model lacks has 0.0.
        """
        offsets, data = read_only(text.offsets), read_only(text.data)
        wanted = self.labels.index(label) if label in self.labels else -1
        return Prediction(
            *_predict(
                offsets,
                data,
                max_chars,
                *self.dictionary,
                *self.buckets,
                self.vectors,
                self.nodes,
                *self.tree,
                self.settings,
                wanted,
            )
        )


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """An own, aligned, read-only copy: kernels are compiled once, for such arrays."""
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


@cache
def load(path: Path) -> Model:
    """Reads a model file; the second call of a process gives the first one's model.

    Raises:
        AssetError: not a fastText file, cut short, or a model that this kernel does not cover (another loss
            than hierarchical softmax, word n-grams, not supervised).
    """
    reader = _Reader(path)
    if reader.integer() != _MAGIC:
        raise AssetError(f"{path}: not a fastText model (it does not start with fastText's magic number)")
    version = reader.integer()
    if version != _VERSION:
        raise AssetError(f"{path}: fastText file version {version}, only {_VERSION} can be read")
    arguments = dict(zip(_ARGUMENTS, reader.array(np.int32, len(_ARGUMENTS)).tolist(), strict=True))
    reader.array(np.float64, 1)
    if arguments["model"] != _SUPERVISED or arguments["loss"] != _HIERARCHICAL or arguments["word_ngrams"] != 1:
        loss = _LOSSES.get(arguments["loss"], str(arguments["loss"]))
        raise AssetError(
            f"{path}: only supervised models with loss 'hs' and wordNgrams 1 can be used here; "
            f"this one has loss '{loss}', wordNgrams {arguments['word_ngrams']}"
            f"{'' if arguments['model'] == _SUPERVISED else ' and is not supervised'}. "
            "Train it with `loss='hs', wordNgrams=1`."
        )
    return _read_body(reader, arguments)


def _read_body(reader: _Reader, arguments: dict[str, int]) -> Model:
    """Everything after the settings: dictionary, pruned buckets, input and output vectors."""
    num_entries, num_words, num_labels = reader.array(np.int32, 3).tolist()
    _, num_pruned = reader.array(np.int64, 2).tolist()
    entries, counts = [], []
    for _ in range(num_entries):  # words, then labels
        entries.append(reader.string())
        counts.append(int(reader.array(np.int64, 1)[0]))
        reader.array(np.uint8, 1)
    pairs = reader.array(np.int32, 2 * max(num_pruned, 0)).reshape(-1, 2)
    vectors = reader.matrix(quantised=reader.flag())
    nodes = reader.matrix(quantised=reader.flag())
    words, labels = entries[:num_words], entries[num_words:]
    if len(labels) != num_labels or len(nodes) < num_labels - 1:
        raise AssetError(f"{reader.path}: a damaged fastText model: {len(labels)} labels, {len(nodes)} output rows")
    eos = words.index(b"</s>") if b"</s>" in words else -1
    return Model(
        labels=tuple(name.removeprefix(_LABEL).decode("utf-8", "replace") for name in labels),
        dictionary=_dictionary(words),
        buckets=_buckets(arguments["bucket"], num_words, num_pruned, pairs),
        vectors=vectors,
        nodes=nodes,
        tree=_huffman(counts[num_words:]),
        settings=_frozen(np.array([arguments["min_n"], arguments["max_n"], arguments["bucket"], eos], np.int64)),
    )


class _Reader:
    """Numbers, strings and matrices of a model file, front to back."""

    def __init__(self, path: Path) -> None:
        self.path, self.at = path, 0
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise AssetError(f"{path}: cannot be read: {error.strerror}") from error

    def array(self, dtype: Any, size: int) -> NDArray[Any]:
        """The next `size` little-endian numbers."""
        start, self.at = self.at, self.at + np.dtype(dtype).itemsize * size
        if size < 0 or self.at > len(self.data):
            raise AssetError(f"{self.path}: a fastText model that ends early, at byte {len(self.data)}")
        return np.frombuffer(self.data, dtype, size, start) if size else np.zeros(0, dtype)

    def integer(self) -> int:
        """The next int32."""
        return int(self.array(np.int32, 1)[0])

    def flag(self) -> bool:
        """The next bool, a byte."""
        return bool(self.array(np.uint8, 1)[0])

    def string(self) -> bytes:
        """The bytes up to the next NUL."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise AssetError(f"{self.path}: a fastText model that ends early, at byte {len(self.data)}")
        start, self.at = self.at, end + 1
        return self.data[start:end]

    def matrix(self, *, quantised: bool) -> NDArray[np.float32]:
        """The next matrix, float32[rows, dim]; product quantisation (fastText.zip, section 3.2) is undone."""
        if not quantised:
            rows, dim = self.array(np.int64, 2).tolist()
            return _frozen(self.array(np.float32, rows * dim).reshape(rows, dim))
        has_norms = self.flag()
        rows, dim = self.array(np.int64, 2).tolist()
        codes = self.array(np.uint8, self.integer())
        vectors = self.product(codes, rows)
        if has_norms:
            norm_codes = self.array(np.uint8, rows)
            vectors = vectors * self.product(norm_codes, rows)  # float32 * float32, as fastText's alpha * c
        if vectors.shape != (rows, dim):
            raise AssetError(f"{self.path}: a damaged fastText model: vectors {vectors.shape}, wanted {(rows, dim)}")
        return _frozen(vectors)

    def product(self, codes: NDArray[np.uint8], rows: int) -> NDArray[np.float32]:
        """The vectors float32[rows, dim] that the codes of a product quantiser stand for."""
        dim, num_parts, size, last_size = self.array(np.int32, 4).tolist()
        centroids = self.array(np.float32, dim * 256)
        grid = codes.reshape(rows, num_parts)
        parts = []
        for part in range(num_parts):
            width = last_size if part == num_parts - 1 else size
            table = centroids[part * 256 * size : part * 256 * size + 256 * width].reshape(256, width)
            parts.append(table[grid[:, part]])
        return np.concatenate(parts, axis=1)


def _fnv(word: bytes) -> int:
    """fastText's 32-bit FNV-1a, whose bytes are signed: 0x80 and above flip the upper 24 bits too."""
    value = _FNV_OFFSET
    for byte in word:
        value = ((value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * _FNV_PRIME) & 0xFFFFFFFF
    return value


def _dictionary(
    words: list[bytes],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.uint8], NDArray[np.uint32]]:
    """An open-addressing table from word to row, at most half full: slots, word starts, word bytes, hashes."""
    mask = (1 << max(2 * len(words), 2).bit_length()) - 1
    slots = np.full(mask + 1, -1, np.int32)
    hashes = np.fromiter((_fnv(word) for word in words), np.uint32, len(words))
    for row, value in enumerate(hashes.tolist()):
        slot = value & mask
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = row
    starts = np.zeros(len(words) + 1, np.int32)
    np.cumsum([len(word) for word in words], out=starts[1:])
    letters = np.frombuffer(b"".join(words) or b"\0", np.uint8)
    return _frozen(slots), _frozen(starts), _frozen(letters), _frozen(hashes)


def _buckets(
    num_buckets: int, num_words: int, num_pruned: int, pairs: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Which n-gram buckets have a vector, as bits (small enough for the cache), and the row of each."""
    rows = np.full(num_buckets, -1, np.int32)
    if num_pruned < 0:  # nothing was pruned
        rows[:] = num_words + np.arange(num_buckets, dtype=np.int32)
    else:
        rows[pairs[:, 0]] = num_words + pairs[:, 1]
    return _frozen(np.packbits(np.append(rows >= 0, False), bitorder="little")), _frozen(rows)


def _huffman(counts: list[int]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """fastText's Huffman tree over the labels' counts (descending): left, right and parent of each node."""
    num_labels = len(counts)
    size = max(2 * num_labels - 1, 1)
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
    return _frozen(left), _frozen(right), _frozen(parent)


@njit(cache=True, nogil=True, inline="always")
def _is_space(byte):  # type: ignore[no-untyped-def]
    """What fastText's `readWord` ends a word at: space, \\t \\n \\v \\f \\r and NUL."""
    return byte == 32 or (9 <= byte <= 13) or byte == 0


@njit(cache=True, nogil=True, inline="always")
def _hash_byte(value, byte):  # type: ignore[no-untyped-def]
    """One step of fastText's FNV-1a over signed bytes."""
    return np.uint32((np.uint32(value) ^ np.uint32(np.int8(byte))) * np.uint32(16777619))


@njit(cache=True, nogil=True, inline="always")
def _log(value):  # type: ignore[no-untyped-def]
    """fastText's `std_log`: float32 in and out, 1e-5 added in double."""
    return np.float32(np.log(np.float64(np.float32(value)) + 1e-5))


@njit(cache=True, nogil=True)
def _branch(nodes, hidden, node):  # type: ignore[no-untyped-def]
    """Logarithms of the probabilities of going left and right at an inner node."""
    total = np.float32(0.0)
    for d in range(hidden.size):
        total += nodes[node, d] * hidden[d]
    right = np.float32(1.0 / np.float64(np.float32(1.0) + np.exp(np.float32(-total))))
    return _log(1.0 - np.float64(right)), _log(right)


@njit(cache=True, nogil=True)
def _find_word(data, start, end, value, slots, starts, letters, hashes):  # type: ignore[no-untyped-def]
    """Row of the word `data[start:end]` with this hash, or -1."""
    mask = np.int64(slots.size - 1)
    slot = np.int64(value) & mask
    while slots[slot] >= 0:
        row = slots[slot]
        if hashes[row] == value and starts[row + 1] - starts[row] == end - start:
            same = True
            for i in range(end - start):
                if letters[starts[row] + i] != data[start + i]:
                    same = False
                    break
            if same:
                return row
        slot = (slot + 1) & mask
    return -1


@njit(cache=True, nogil=True)
def _add_ngrams(data, start, end, settings, bits, rows, vectors, hidden):  # type: ignore[no-untyped-def]
    """Adds the vectors of all character n-grams of `<word>`; gives their number."""
    min_n, max_n, num_buckets = settings[0], settings[1], np.uint32(settings[2])
    length = end - start + 2  # with "<" before and ">" after
    count = 0
    for first in range(length):
        if 0 < first < length - 1 and data[start + first - 1] & 0xC0 == 0x80:
            continue
        value = np.uint32(2166136261)
        at = first
        for n in range(1, max_n + 1):
            if at >= length:
                break
            byte = np.uint8(60) if at == 0 else (np.uint8(62) if at == length - 1 else data[start + at - 1])
            value = _hash_byte(value, byte)
            at += 1
            while at < length - 1 and data[start + at - 1] & 0xC0 == 0x80:
                value = _hash_byte(value, data[start + at - 1])
                at += 1
            if n >= min_n and not (n == 1 and (first == 0 or at == length)):
                bucket = value % num_buckets
                if bits[bucket >> 3] >> (bucket & 7) & 1:
                    row = rows[bucket]
                    for d in range(hidden.size):
                        hidden[d] += vectors[row, d]
                    count += 1
    return count


@njit(cache=True, nogil=True)
def _add_words(  # type: ignore[no-untyped-def]
    data, start, end, max_chars, slots, starts, letters, hashes, bits, rows, vectors, settings, hidden
):
    """Sums the vectors of a text's words and n-grams into `hidden`; gives (vectors summed, words seen)."""
    count, num_words, chars = 0, 0, 0
    at = start
    while at < end:
        if max_chars > 0 and data[at] & 0xC0 != 0x80:
            if chars == max_chars:
                break
            chars += 1
        if _is_space(data[at]):
            at += 1
            continue
        first = at
        value = _hash_byte(np.uint32(2166136261), data[at])
        at += 1
        while at < end and not _is_space(data[at]):
            if max_chars > 0 and data[at] & 0xC0 != 0x80:
                if chars == max_chars:
                    break
                chars += 1
            value = _hash_byte(value, data[at])
            at += 1
        num_words += 1
        row = _find_word(data, first, at, value, slots, starts, letters, hashes)
        if row >= 0 and row == settings[3]:
            break  # a "</s>" in the text is the end of the line for fastText too
        if row >= 0:
            for d in range(hidden.size):
                hidden[d] += vectors[row, d]
            count += 1
        is_label = at - first >= 9
        if is_label:
            for i, byte in enumerate(b"__label__"):
                is_label = is_label and data[first + i] == byte
        if settings[1] > 0 and not (row < 0 and is_label):
            count += _add_ngrams(data, first, at, settings, bits, rows, vectors, hidden)
    return count, num_words


@njit(cache=True, nogil=True)
def _predict(  # type: ignore[no-untyped-def]
    offsets, data, max_chars, slots, starts, letters, hashes, bits, rows, vectors, nodes, left, right, parent, settings,
    wanted,
):  # fmt: skip
    """Arrays of `Model` in, arrays of `Prediction` out."""
    num_texts, num_labels, dim = offsets.size - 1, (left.size + 1) // 2, vectors.shape[1]
    labels = np.full(num_texts, -1, np.int32)
    scores = np.zeros(num_texts, np.float32)
    wanted_scores = np.zeros(num_texts, np.float32)
    hidden = np.zeros(dim, np.float32)
    stack_nodes = np.zeros(left.size + 1, np.int32)
    stack_scores = np.zeros(left.size + 1, np.float32)
    for i in range(num_texts):
        hidden[:] = 0.0
        count, num_words = _add_words(
            data, offsets[i], offsets[i + 1], max_chars, slots, starts, letters, hashes, bits, rows, vectors,
            settings, hidden,
        )  # fmt: skip
        if settings[3] >= 0:  # the end of the line that `predict` adds
            for d in range(dim):
                hidden[d] += vectors[settings[3], d]
            count += 1
        if num_words == 0 or count == 0:
            continue
        scale = np.float32(1.0 / np.float64(count))
        for d in range(dim):
            hidden[d] *= scale
        best, best_score = -1, np.float32(-np.inf)
        stack_nodes[0], stack_scores[0], depth = left.size - 1, np.float32(0.0), 1
        while depth > 0:
            depth -= 1
            node, score = stack_nodes[depth], stack_scores[depth]
            if score < best_score:
                continue
            if left[node] < 0:
                if score > best_score:
                    best, best_score = node, score
                continue
            go_left, go_right = _branch(nodes, hidden, node - num_labels)
            stack_nodes[depth], stack_scores[depth] = right[node], score + go_right
            stack_nodes[depth + 1], stack_scores[depth + 1] = left[node], score + go_left
            depth += 2
        labels[i], scores[i] = best, np.exp(best_score)
        if wanted >= 0:  # from the root down, as fastText adds them up
            depth, node = 0, wanted
            while node >= 0:
                stack_nodes[depth] = node
                node = parent[node]
                depth += 1
            total = np.float32(0.0)
            for step in range(depth - 1, 0, -1):
                go_left, go_right = _branch(nodes, hidden, stack_nodes[step] - num_labels)
                total += go_left if left[stack_nodes[step]] == stack_nodes[step - 1] else go_right
            wanted_scores[i] = np.exp(total)
    return labels, scores, wanted_scores


def warm() -> None:
    """Compiles the kernel (about 3 s the first time on a machine, 0.1 s from the cache) on a made-up model."""
    words = [b"</s>", b"a"]
    model = Model(
        labels=("x", "y"),
        dictionary=_dictionary(words),
        buckets=_buckets(4, len(words), 1, np.zeros((1, 2), np.int32)),
        vectors=_frozen(np.ones((3, 2), np.float32)),
        nodes=_frozen(np.ones((2, 2), np.float32)),
        tree=_huffman([2, 1]),
        settings=_frozen(np.array([1, 2, 4, 0], np.int64)),
    )
    text = TextBuffers(np.array([0, 3], np.int32), np.frombuffer(b"a b", np.uint8))
    model.predict(text, max_chars=2, label="x")
