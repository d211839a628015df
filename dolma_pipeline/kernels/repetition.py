"""Repetition inside a document: lines, paragraphs and n-grams of words that occur more than once.

A k-gram can repeat only where its (k-1)-gram and the next one repeat. So the words that repeat are numbered, then
only places where both neighbours repeat are looked at for 2-grams, and so on: ordinary text is out of candidates
after 4 words, and the nine columns cost as much as two. A k-gram is known by the numbers of the two (k-1)-grams
that it is made of, so nothing is hashed but words, lines and paragraphs, and no k-gram is taken for another.
Cost: ~40 ns a word on top of the word table (175 MB of text a second); 50 to 84 bytes a word of the longest
document, once a batch.
Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", A.1.1, Table A1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.hashing import LENGTH_FACTOR, hash_bytes
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN, TextBuffers, Tokens, read_only
from dolma_pipeline.kernels.words import LINE_START

REPETITION = (
    "duplicate_line_share",
    "duplicate_line_chars",
    "duplicate_paragraph_share",
    "duplicate_paragraph_chars",
    "top_2gram_chars",
    "top_3gram_chars",
    "top_4gram_chars",
    "duplicate_5gram_chars",
    "duplicate_6gram_chars",
    "duplicate_7gram_chars",
    "duplicate_8gram_chars",
    "duplicate_9gram_chars",
    "duplicate_10gram_chars",
)
"""Columns of `repetition_columns`, in order."""

_FIRST_NGRAM = REPETITION.index("top_2gram_chars")
_LONGEST = 10


def repetition_columns(text: TextBuffers, words: Tokens) -> dict[str, NDArray[np.float64]]:
    """Gopher's repetition numbers of each document, 0.0 where it is too short for one.

    Lines are those of `text.split("\\n")`, paragraphs those of `text.split("\\n\\n")`, stripped, blank ones left
    out. The first of several equal ones is not a duplicate, all later ones are. Characters are code points of
    words; their shares are of those of all words.

    Args:
        text: n documents.
        words: `split_words(text)`.

    Returns:
        Columns REPETITION, each float64[n]. `*_share` counts duplicate lines or paragraphs, `*_chars` what is in
        them. top_Ngram_chars is for the repeated n-gram that covers most: its characters times its occurrences,
        at most 1.0. duplicate_Ngram_chars counts characters of n-grams that stood earlier in the document,
        each character once.
    """
    table = np.zeros((len(REPETITION), len(words.rows) - 1), np.float64)
    most = int(np.diff(words.rows).max(initial=0))
    num_slots = 4
    while num_slots < 2 * most:
        num_slots *= 2
    slots = np.zeros(num_slots, np.int64)  # stamp of the set << 32 | number of the member; 0: never used
    keys = np.empty(num_slots, np.uint64)
    work = np.empty((3, most + 1), np.int32)  # places, numbers, counts
    before = np.zeros(most + 1, np.int64)  # characters of all earlier words
    _repetition(table, slots, keys, work, before, read_only(text.data), *words)
    return dict(zip(REPETITION, table, strict=True))


@njit(cache=True, nogil=True)
def number_in(slots: Any, keys: Any, mask: Any, stamp: Any, hash_: Any, key: Any, size: Any) -> Any:
    """The number of `key` in the set `stamp`; `size` if it was not in it and now is.

    One table serves all sets of a batch: a slot of another stamp is free, so nothing is ever cleared.
    """
    slot = np.int64(hash_ & np.uint64(mask))
    while slots[slot] >> 32 == stamp:
        if keys[slot] == key:
            return slots[slot] & 0xFFFFFFFF
        slot = (slot + 1) & mask
    slots[slot] = stamp << 32 | size
    keys[slot] = key
    return size


@njit(cache=True, nogil=True)
def _holds_empty_line(data: Any, end: Any, start: Any) -> Any:
    """Whether the white space `data[end:start]` between two words holds two newlines in a row."""
    holds = False
    for i in range(end + 1, start):
        holds |= data[i] == 0x0A and data[i - 1] == 0x0A
    return holds


@njit(cache=True, nogil=True)
def _repetition(
    table: Any, slots: Any, keys: Any, work: Any, before: Any, data: Any,
    rows: Any, starts: Any, ends: Any, hashes: Any, chars: Any, flags: Any,
) -> None:  # fmt: skip
    places, numbers, counts = work[0], work[1], work[2]
    stamp = np.int64(0)
    for row in range(len(rows) - 1):
        first = rows[row]
        n = rows[row + 1] - first
        if n == 0:
            continue
        mask = np.int64(4)
        while mask < 2 * n:
            mask *= 2
        mask -= 1
        for w in range(n):
            before[w + 1] = before[w] + chars[first + w]
        total = before[n]
        num_lines = num_paragraphs = 0  # where they end, the last ones at n
        line_ends, paragraph_ends = work[0], work[1]
        for w in range(1, n + 1):
            if w == n or flags[first + w] & LINE_START:
                line_ends[num_lines] = w
                num_lines += 1
                if w == n or _holds_empty_line(data, ends[first + w - 1], starts[first + w]):
                    paragraph_ends[num_paragraphs] = w
                    num_paragraphs += 1
        for kind, num_runs in enumerate((num_lines, num_paragraphs)):
            stamp += 1
            opened = size = covered = np.int64(0)
            for run in range(num_runs):
                end = np.int64(work[kind, run])
                key = hash_bytes(data, starts[first + opened], ends[first + end - 1])
                if number_in(slots, keys, mask, stamp, key, key, size) == size:
                    size += 1
                else:
                    covered += before[end] - before[opened]
                opened = end
            table[2 * kind, row], table[2 * kind + 1, row] = (num_runs - size) / num_runs, covered / total
        # Words that repeat: their places, and a number for each.
        size = np.int64(0)
        stamp += 1
        for w in range(n):
            key = hashes[first + w]
            number = number_in(slots, keys, mask, stamp, key, key, size)
            if number == size:
                counts[size] = 0
                size += 1
            counts[number] += 1
            numbers[w] = number
        m = 0
        for w in range(n):
            if counts[numbers[w]] > 1:
                places[m], numbers[m] = w, numbers[w]
                m += 1
        for k in range(2, _LONGEST + 1):
            # k-grams whose two (k-1)-grams repeat; written over what has been read.
            size, pairs, covered, until = np.int64(0), 0, np.int64(0), np.int64(0)
            stamp += 1
            for j in range(m - 1):
                place = np.int64(places[j])
                if places[j + 1] != place + 1:
                    continue
                key = np.uint64(numbers[j]) << np.uint64(32) | np.uint64(numbers[j + 1])
                spread = key * LENGTH_FACTOR
                number = number_in(slots, keys, mask, stamp, spread ^ spread >> np.uint64(32), key, size)
                if number == size:
                    counts[size] = 0
                    size += 1
                else:  # an n-gram seen before: its characters, less those already counted
                    covered += before[place + k] - before[max(place, until)]
                    until = place + k
                counts[number] += 1
                places[pairs], numbers[pairs] = place, number
                pairs += 1
            m, most = 0, np.int64(0)
            for j in range(pairs):
                place, count = np.int64(places[j]), np.int64(counts[numbers[j]])
                if count > 1:
                    most = max(most, count * (before[place + k] - before[place]))
                    places[m], numbers[m] = place, numbers[j]
                    m += 1
            if m == 0:
                break
            table[_FIRST_NGRAM + k - 2, row] = min(most, total) / total if k <= 4 else covered / total


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    repetition_columns(ONE_TEXT, ONE_TOKEN)
