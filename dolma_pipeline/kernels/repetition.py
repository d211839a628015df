"""Repetition inside a document: lines, paragraphs and n-grams of words that occur more than once.

A k-gram can repeat only where its (k-1)-gram and the next one repeat. So the words that repeat are numbered, then
only places where both neighbours repeat are looked at for 2-grams, and so on: ordinary text is out of candidates
after 4 words, and the nine columns cost as much as two. A k-gram is known by the numbers of the two (k-1)-grams
that it is made of, so nothing is hashed but words, lines and paragraphs, and no k-gram is taken for another.
Cost: ~28 ns a word on top of the word table (250 MB of text a second); 68 to 100 bytes a word of the longest
document, once a batch.
Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", A.1.1, Table A1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.hashing import LENGTH_FACTOR, hash_bytes, mix
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
_LONGEST_TOP, _LONGEST = 4, 10


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
    slots = np.zeros(2 * num_slots, np.uint64)  # pairs, see `number_of`; 0: never used
    run_keys = np.empty((2, most + 1), np.uint64)  # of lines, of paragraphs
    work = np.empty((3, most + 1), np.int32)  # places, numbers, counts; before: ends of lines, of paragraphs
    before = np.empty(most + 1, np.int64)  # characters of all earlier words
    once, twice = np.empty((2, num_slots), np.uint8)  # bits of n-grams that were met, once and more often
    _repetition(table, slots, run_keys, work, before, once, twice, read_only(text.data), *words)
    return dict(zip(REPETITION, table, strict=True))


@njit(cache=True, nogil=True)
def number_of(slots: Any, mask: Any, stamp: Any, hash_: Any, key: Any, size: Any) -> Any:
    """The number of `key` in the set `stamp`; `size` if it was not in it and now is.

    A slot is two numbers that lie together: stamp of the set << 32 | number of the member, and its key. One table
    serves all sets of a batch: a slot of another stamp is free, so nothing is ever cleared.
    """
    slot = np.int64(hash_ & np.uint64(mask))
    state = np.int64(slots[2 * slot])
    # free or the key's own: which one cannot be foretold, so both are written to, and one jump tells them from the rest
    while not ((state >> 32 != stamp) | (slots[2 * slot + 1] == key)):
        slot = (slot + 1) & mask
        state = np.int64(slots[2 * slot])
    number = state & 0xFFFFFFFF if state >> 32 == stamp else size
    slots[2 * slot] = np.uint64(stamp << 32 | number)
    slots[2 * slot + 1] = key
    return number


@njit(cache=True, nogil=True)
def _joined(hash_: Any, more: Any) -> Any:
    """A hash and the next word's or gap's made one; order counts."""
    hash_ = (hash_ ^ more) * LENGTH_FACTOR
    return hash_ << np.uint64(29) | hash_ >> np.uint64(35)


@njit(cache=True, nogil=True)
def _is_paragraph_break(data: Any, end: Any, start: Any) -> Any:
    """Whether the white space `data[end:start]` between two words holds two newlines in a row."""
    found = False
    for i in range(end + 1, start):
        found |= data[i] == 0x0A and data[i - 1] == 0x0A
    return found


@njit(cache=True, nogil=True)
def _find_runs(
    runs: Any, run_keys: Any, before: Any, data: Any, first: Any, last: Any, starts: Any, ends: Any, hashes: Any,
    chars: Any, flags: Any,
) -> Any:  # fmt: skip
    """The lines and paragraphs of the words `first:last`: how many, and in `runs` and `run_keys` where each ends and a
    hash of its bytes; in `before` the characters of all earlier words.

    The hash is made of its words' hashes and of the white space between them.
    """
    num_lines = num_paragraphs = 0
    total = np.int64(0)
    line_key = paragraph_key = np.uint64(0)
    for w in range(first, last):
        if w > first:
            end, start = ends[w - 1], starts[w]
            if flags[w] & LINE_START:
                runs[0, num_lines], run_keys[0, num_lines] = w - first, mix(line_key)
                num_lines += 1
                paragraph_key = _joined(paragraph_key, line_key)
                line_key = np.uint64(0)
                if start - end == 1:
                    pass  # one newline, the most frequent gap between lines, counts as none
                elif _is_paragraph_break(data, end, start):
                    runs[1, num_paragraphs], run_keys[1, num_paragraphs] = w - first, mix(paragraph_key)
                    num_paragraphs += 1
                    paragraph_key = np.uint64(0)
                else:
                    paragraph_key = _joined(paragraph_key, hash_bytes(data, end, start))
            elif start - end > 1 or data[end] != 0x20:  # one blank, the most frequent gap in lines, counts as none
                line_key = _joined(line_key, hash_bytes(data, end, start))
        line_key = _joined(line_key, hashes[w])
        before[w - first] = total
        total += chars[w]
    before[last - first] = total
    runs[0, num_lines], run_keys[0, num_lines] = last - first, mix(line_key)
    runs[1, num_paragraphs], run_keys[1, num_paragraphs] = last - first, mix(_joined(paragraph_key, line_key))
    return num_lines + 1, num_paragraphs + 1


@njit(cache=True, nogil=True)
def repeated_words(
    hashes: Any, first: Any, n: Any, slots: Any, mask: Any, stamp: Any, places: Any, numbers: Any, counts: Any
) -> Any:
    """How many of the n words from `first` on repeat; writes where they are, and a number for each of equal ones.

    Args:
        slots, mask, stamp: a set that nothing is in, see `number_of`.
        places, numbers, counts: written, int32[n] at least.
    """
    size = m = np.int64(0)
    for w in range(n):
        key = hashes[first + w]
        number = number_of(slots, mask, stamp, key, key, size)
        count = counts[number]
        counts[number] = 1 + (count if number < size else 0)
        size += number == size
        numbers[w] = number
    for w in range(n):  # which repeats is as good as random: written always, stepped forward where it counts
        number = numbers[w]
        places[m], numbers[m] = w, number
        m += counts[number] > 1
    return m


@njit(cache=True, nogil=True, inline="always")
def _bit_of(key: Any, mask: Any) -> Any:
    """A byte of `mask + 1` and a bit in it that stand for a key."""
    spread = key * LENGTH_FACTOR
    return np.int64(spread >> np.uint64(32)) & mask, np.uint8(1) << np.uint8(spread >> np.uint64(29) & np.uint64(7))


@njit(cache=True, nogil=True)
def _repetition(
    table: Any, slots: Any, run_keys: Any, work: Any, before: Any, once: Any, twice: Any, data: Any,
    rows: Any, starts: Any, ends: Any, hashes: Any, chars: Any, flags: Any,
) -> None:  # fmt: skip
    places, numbers, counts, keys = work[0], work[1], work[2], run_keys[0]
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
        nums = _find_runs(work, run_keys, before, data, first, first + n, starts, ends, hashes, chars, flags)
        total = before[n]
        for kind in range(2):
            stamp += 1
            opened = size = covered = np.int64(0)
            for run in range(nums[kind]):
                end, key = np.int64(work[kind, run]), run_keys[kind, run]
                if number_of(slots, mask, stamp, key, key, size) == size:
                    size += 1
                else:
                    covered += before[end] - before[opened]
                opened = end
            table[2 * kind, row], table[2 * kind + 1, row] = (nums[kind] - size) / nums[kind], covered / total
        stamp += 1
        m = repeated_words(hashes, first, n, slots, mask, stamp, places, numbers, counts)
        for k in range(2, _LONGEST + 1):
            # k-grams whose two (k-1)-grams repeat; written over what has been read. Most of them occur once, and those
            # of which nothing of the same hash's lower bits was met are sorted out before they are numbered.
            size = pairs = left = covered = until = np.int64(0)
            stamp += 1
            once[: mask + 1], twice[: mask + 1] = 0, 0
            for j in range(m - 1):
                place = places[j]
                key = np.uint64(numbers[j]) << np.uint64(32) | np.uint64(numbers[j + 1])
                keys[pairs] = key
                is_pair = places[j + 1] == place + 1
                places[pairs] = place
                pairs += is_pair
                at, bit = _bit_of(key, mask)
                bit *= np.uint8(is_pair)
                twice[at] |= once[at] & bit
                once[at] |= bit
            for j in range(pairs):
                key = keys[j]
                at, bit = _bit_of(key, mask)
                keys[left], places[left] = key, places[j]
                left += twice[at] & bit != 0
            for j in range(left):
                place, key = np.int64(places[j]), keys[j]
                spread = key * LENGTH_FACTOR
                number = number_of(slots, mask, stamp, spread ^ spread >> np.uint64(32), key, size)
                is_new = number == size
                if k > _LONGEST_TOP and not is_new:  # an n-gram seen before: its characters, less those counted
                    covered += before[place + k] - before[max(place, until)]
                    until = place + k
                count = counts[number]
                counts[number] = 1 + (0 if is_new else count)
                size += is_new
                numbers[j] = number
            m = most = np.int64(0)
            for j in range(left):
                place, number = places[j], numbers[j]
                count = np.int64(counts[number])
                places[m], numbers[m] = place, number
                m += count > 1
                if k <= _LONGEST_TOP and count > 1:
                    most = max(most, count * (before[place + k] - before[place]))
            if m == 0:
                break
            table[_FIRST_NGRAM + k - 2, row] = min(most, total) / total if k <= _LONGEST_TOP else covered / total


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    repetition_columns(ONE_TEXT, ONE_TOKEN)
