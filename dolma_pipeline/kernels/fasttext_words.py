"""What a fastText model reads of a text: the sum of the vectors of its words, n-grams of words and of characters.

The same words, hashes and vectors as `Dictionary::getLine` of fastText 0.9.2. What a word adds (itself and its
character n-grams) depends on the word alone, is summed by itself, and is kept for words of up to `KEPT_BYTES` in a
table that a process keeps; so a text's sum is the same whether a word was met before or not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.fasttext_file import Matrix, find_entry, fnv
from dolma_pipeline.kernels.fasttext_header import HELD_BYTES
from dolma_pipeline.kernels.hashing import load8, load_part
from dolma_pipeline.kernels.jit import njit

KEPT_BYTES = 32
"""Words up to this length are kept."""
_EOS = np.frombuffer(b"</s>", np.uint8)
_LABEL = np.frombuffer(b"__label__", np.uint8)


class Lexicon(NamedTuple):
    """Where words and n-grams have their vectors; all arrays read-only.

    `slots`, `starts`, `letters`: as in `ModelFile`. `bits` (uint8) says which buckets have a vector and `rows`
    (int32[buckets]) where; both empty where every bucket has one. `settings` is int64[7]: shortest and longest
    character n-gram, number of buckets (0: there are no n-grams at all), words of the longest word n-gram, number of
    words, 1 where buckets are pruned, entry of `</s>` or -1.
    """

    slots: NDArray[np.int64]
    starts: NDArray[np.int64]
    letters: NDArray[np.uint8]
    bits: NDArray[np.uint8]
    rows: NDArray[np.int32]
    settings: NDArray[np.int64]
    vectors: Matrix


class Kept(NamedTuple):
    """Words that were met, one a slot: a later one takes an earlier one's place.

    `keys` is uint64[slots, 4], the word's bytes; `facts` int32[slots, 2]: its length (0: free), and how many vectors it
    has (-1: it is a label, and adds nothing); `sums` float32[slots, dim].
    """

    keys: NDArray[np.uint64]
    facts: NDArray[np.int32]
    sums: NDArray[np.float32]


def kept_words(dim: int) -> Kept:
    """An empty table: 32,768 words, or what takes 16 MB."""
    num_slots = 1 << min(15, max(8, (HELD_BYTES // (4 * dim + 40)).bit_length() - 1))
    return Kept(
        np.zeros((num_slots, 4), np.uint64), np.zeros((num_slots, 2), np.int32), np.zeros((num_slots, dim), np.float32)
    )


@njit(cache=True, nogil=True, inline="always")
def is_space(byte):  # type: ignore[no-untyped-def]
    """What fastText's `readWord` ends a word at: space, \\t \\n \\v \\f \\r and NUL."""
    return byte <= 32 and (byte == 32 or (9 <= byte <= 13) or byte == 0)


@njit(cache=True, nogil=True, inline="always")
def _hash_byte(value, byte):  # type: ignore[no-untyped-def]
    """One step of fastText's FNV-1a over signed bytes."""
    return np.uint32((np.uint32(value) ^ np.uint32(np.int8(byte))) * np.uint32(16777619))


@njit(cache=True, nogil=True)
def add_row(vectors, row, total):  # type: ignore[no-untyped-def]
    """Adds a row of a `Matrix` to float32[dim]."""
    dim, quantised = vectors.shape[1], vectors.shape[2]
    if quantised == 0:
        numbers = vectors.data.view(np.float32)
        first = row * dim
        for d in range(dim):
            total[d] += numbers[first + d]
        return
    size, parts, last = vectors.shape[3], vectors.shape[4], vectors.shape[5]
    norm = np.float32(1.0)
    if vectors.norms.size > 0:
        norm = vectors.norms[vectors.norm_codes[row]]
    for part in range(parts):
        width = last if part == parts - 1 else size
        first = part * 256 * size + np.int64(vectors.data[row * parts + part]) * width
        for d in range(width):
            total[part * size + d] += norm * vectors.centroids[first + d]


@njit(cache=True, nogil=True, inline="always")
def _row_of(lexicon, bucket):  # type: ignore[no-untyped-def]
    """Row of a bucket of n-grams; -1 where it was pruned."""
    if lexicon.settings[5] == 0:
        return lexicon.settings[4] + bucket
    if lexicon.bits[bucket >> 3] >> (bucket & 7) & 1:
        return np.int64(lexicon.rows[bucket])
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _add_ngrams(data, start, end, lexicon, total):  # type: ignore[no-untyped-def]
    """Adds the vectors of all character n-grams of `<word>`; gives their number."""
    min_n, max_n, num_buckets = lexicon.settings[0], lexicon.settings[1], np.uint32(lexicon.settings[2])
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
                row = _row_of(lexicon, np.int64(value % num_buckets))
                if row >= 0:
                    add_row(lexicon.vectors, row, total)
                    count += 1
    return count


@njit(cache=True, nogil=True)
def _sum_word(data, start, end, value, lexicon, total):  # type: ignore[no-untyped-def]
    """Sets float32[dim] to what a word adds; gives the number of its vectors, or -1 for a label."""
    total[:] = 0.0
    entry = find_entry(data, start, end, value, lexicon.slots, lexicon.starts, lexicon.letters)
    if entry >= lexicon.settings[4]:
        return np.int64(-1)
    count = np.int64(0)
    if entry >= 0:
        add_row(lexicon.vectors, entry, total)
        count += 1
    elif end - start >= 9:
        is_label = True
        for i in range(9):
            is_label = is_label and data[start + i] == _LABEL[i]
        if is_label:
            return np.int64(-1)
    if lexicon.settings[1] > 0 and lexicon.settings[2] > 0:
        count += _add_ngrams(data, start, end, lexicon, total)
    return count


@njit(cache=True, nogil=True)
def _key(data, start, length, key):  # type: ignore[no-untyped-def]
    """Fills uint64[4] with the bytes of a word of up to 32, the rest zero."""
    at, left = start, length
    for i in range(4):
        if left >= 8:
            key[i] = load8(data, at)
        elif left > 0:
            key[i] = load_part(data, at, left)
        else:
            key[i] = 0
        at += 8
        left -= 8


@njit(cache=True, nogil=True)
def _end_of_word(data, at, end):  # type: ignore[no-untyped-def]
    """The first white space at or after `at`, or `end`; and the FNV-1a of the bytes before it."""
    value = np.uint32(2166136261)
    while at < end and not is_space(data[at]):
        value = _hash_byte(value, data[at])
        at += 1
    return at, value


@njit(cache=True, nogil=True)
def _add_word_ngrams(chains, seen, value, lexicon, total):  # type: ignore[no-untyped-def]
    """Adds the n-grams of words that end at this one, and keeps those that go on; gives their number.

    chains: uint64[n - 1], the running hash of the n-gram that began k + 1 words before, k from 0.
    seen: words before this one.
    """
    count = 0
    word = np.uint64(np.int64(np.int32(value)))  # fastText keeps hashes of words as signed numbers
    num_buckets = np.uint64(lexicon.settings[2])
    for k in range(min(seen, chains.size) - 1, -1, -1):
        chain = chains[k] * np.uint64(116049371) + word
        row = _row_of(lexicon, np.int64(chain % num_buckets))
        if row >= 0:
            add_row(lexicon.vectors, row, total)
            count += 1
        if k + 1 < chains.size:
            chains[k + 1] = chain
    chains[0] = word
    return count


@njit(cache=True, nogil=True)
def sum_words(data, start, end, lexicon, kept, chains, key, word, total):  # type: ignore[no-untyped-def]
    """Sums the vectors of a text, and of the end of its line; gives (vectors summed, words seen).

    Args:
        data: uint8; the text is `data[start:end]`.
        chains, key, word: room: uint64[max(1, longest word n-gram - 1)], uint64[4], float32[dim].
        total: float32[dim], for the sum.
    """
    total[:] = 0.0
    count, num_words, seen = np.int64(0), np.int64(0), np.int64(0)
    has_ngrams = lexicon.settings[3] > 1 and lexicon.settings[2] > 0
    slots = np.int64(kept.facts.shape[0] - 1)
    at = np.int64(start)
    while at < end:
        if is_space(data[at]):
            at += 1
            continue
        first = at
        at, value = _end_of_word(data, at, end)
        length = at - first
        num_words += 1
        if length == 4 and same_eos(data, first):
            break  # the end of the line for fastText too
        if length <= KEPT_BYTES:
            _key(data, first, length, key)
            slot = np.int64(value ^ (value >> np.uint32(16))) & slots
            keys, facts = kept.keys, kept.facts
            if (
                facts[slot, 0] != length
                or keys[slot, 0] != key[0]
                or keys[slot, 1] != key[1]
                or keys[slot, 2] != key[2]
                or keys[slot, 3] != key[3]
            ):
                facts[slot, 1] = _sum_word(data, first, at, value, lexicon, kept.sums[slot])
                facts[slot, 0] = length
                for i in range(4):
                    keys[slot, i] = key[i]
            num_vectors = np.int64(facts[slot, 1])
            for d in range(total.size):
                total[d] += kept.sums[slot, d]
        else:
            num_vectors = _sum_word(data, first, at, value, lexicon, word)
            for d in range(total.size):
                total[d] += word[d]
        if num_vectors < 0:
            continue
        count += num_vectors
        if has_ngrams:
            count += _add_word_ngrams(chains, seen, value, lexicon, total)
        seen += 1
    if lexicon.settings[6] >= 0:
        add_row(lexicon.vectors, lexicon.settings[6], total)
        count += 1
    if has_ngrams:
        count += _add_word_ngrams(chains, seen, fnv(_EOS, 0, 4), lexicon, total)
    return count, num_words


@njit(cache=True, nogil=True, inline="always")
def same_eos(data, first):  # type: ignore[no-untyped-def]
    """Whether four bytes are `</s>`."""
    return data[first] == 60 and data[first + 1] == 47 and data[first + 2] == 115 and data[first + 3] == 62
