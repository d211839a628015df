"""Dolma's numbers for Gopher's rules: `gopher_v2` of its toolkit, digit for digit.

They are not the paper's (`kernels.gopher`, `kernels.repetition`): a median word length; words that hold `#` or `…`;
stop words in small letters only, each occurrence; lines that are not stripped, an empty one before a newline at the
start and behind one at the end; the first of several equal lines or n-grams counts with them; of 2- to 4-grams the
most frequent one, the first of several; overlaps of n-grams counted each time, over the characters of all n-grams.
Cost: ~60 ns a word on top of the word and line tables.
Source: Soldaini et al. 2024, "Dolma: an Open Corpus of Three Trillion Tokens"; allenai/dolma 1.2.1,
`taggers/gopher.py` (Apache-2.0), whose behaviour is described here and whose code is not used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.gopher import median_of
from dolma_pipeline.kernels.hashing import LENGTH_FACTOR, hash_bytes
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.repetition import number_of, repeated_words
from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN, TextBuffers, Tokens, read_only
from dolma_pipeline.kernels.words import ALPHA, ELLIPSIS, HASH, STOP_SHIFT, STOP_WORDS

COLUMNS = (
    "character_count",
    "word_count",
    "median_word_length",
    "symbol_to_word_ratio",
    "fraction_of_words_with_alpha_character",
    "required_word_count",
    "fraction_of_lines_starting_with_bullet_point",
    "fraction_of_lines_ending_with_ellipsis",
    "fraction_of_duplicate_lines",
    "fraction_of_characters_in_duplicate_lines",
    "fraction_of_characters_in_most_common_2grams",
    "fraction_of_characters_in_most_common_3grams",
    "fraction_of_characters_in_most_common_4grams",
    "fraction_of_characters_in_duplicate_5grams",
    "fraction_of_characters_in_duplicate_6grams",
    "fraction_of_characters_in_duplicate_7grams",
    "fraction_of_characters_in_duplicate_8grams",
    "fraction_of_characters_in_duplicate_9grams",
    "fraction_of_characters_in_duplicate_10grams",
)
"""Columns of `dolma_gopher_columns`, in order: the types of Dolma's spans."""

COUNTS = ("character_count", "word_count", "required_word_count")
"""Those that are whole numbers."""

_FIRST_NGRAM = COLUMNS.index("fraction_of_characters_in_most_common_2grams")
_LONGEST = 10
_LENGTHS = 256
_STOP_LENGTHS = np.array([0, *map(len, STOP_WORDS)], np.int64)


def dolma_gopher_columns(
    text: TextBuffers, words: Tokens, lines: Tokens, *, chars: NDArray[np.int64], over_words: bool
) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
    """Dolma's numbers of each document, 0 where it is too short for one.

    Args:
        text: n documents. words, lines: `split_words(text)`, `split_lines(text)`.
        chars: code points of each document, int64[n].
        over_words: `fraction_of_characters_in_duplicate_lines` is over the characters of all words, as in Dolma, so
            that it may be above 1; else over those of all lines.

    Returns:
        COLUMNS, each [n]; COUNTS are int64, the rest float64.
    """
    table = np.zeros((len(COLUMNS), len(words.rows) - 1), np.float64)
    table[0] = chars
    most = int(max(np.diff(words.rows).max(initial=0), np.diff(lines.rows).max(initial=0)))
    num_slots = 4
    while num_slots < 2 * most:
        num_slots *= 2
    slots = np.zeros(2 * num_slots, np.uint64)
    work = np.empty((4, most + 1), np.int32)  # places, numbers, counts, first places
    before = np.zeros(most + 1, np.int64)
    data = read_only(text.data)
    _words(table, data, *words)
    _lines(table, slots, work, data, over_words, words.rows, words.chars, *lines)
    _ngrams(table, slots, work, before, words.rows, words.hashes, words.chars)
    return {
        name: column.astype(np.int64) if name in COUNTS else column for name, column in zip(COLUMNS, table, strict=True)
    }


@njit(cache=True, nogil=True)
def _ends_in_ellipsis(data: Any, start: Any, end: Any) -> Any:
    """Whether `data[start:end]` ends with `…`."""
    return end - start >= 3 and data[end - 3] == 0xE2 and data[end - 2] == 0x80 and data[end - 1] == 0xA6


@njit(cache=True, nogil=True)
def _holds_ellipsis(data: Any, start: Any, end: Any) -> Any:
    holds = False
    for i in range(start + 3, end + 1):
        holds |= _ends_in_ellipsis(data, start, i)
    return holds


@njit(cache=True, nogil=True)
def _is_lower(data: Any, start: Any, end: Any) -> Any:
    """Whether no byte of a stop word is a capital."""
    lower = True
    for i in range(start, end):
        lower &= data[i] >= 0x61
    return lower


@njit(cache=True, nogil=True)
def _words(
    table: Any, data: Any, rows: Any, starts: Any, ends: Any, unused_hashes: Any, chars: Any, flags: Any
) -> None:
    histogram = np.zeros(_LENGTHS, np.int64)
    for row in range(len(rows) - 1):
        first, last = rows[row], rows[row + 1]
        if first == last:
            continue
        histogram[:] = 0
        symbols = letters = stops = np.int64(0)
        for w in range(first, last):
            flag = np.int64(flags[w])
            if chars[w] < _LENGTHS:
                histogram[chars[w]] += 1
            letters += flag & ALPHA
            symbols += flag & HASH != 0 or (flag & ELLIPSIS != 0 and _holds_ellipsis(data, starts[w], ends[w]))
            place = flag >> STOP_SHIFT
            if place != 0 and ends[w] - starts[w] == _STOP_LENGTHS[place]:
                stops += _is_lower(data, starts[w], ends[w])
        n = last - first
        table[1, row] = n
        table[2, row] = median_of(chars, first, last, histogram)
        table[3, row] = symbols / n
        table[4, row] = letters / n
        table[5, row] = stops


@njit(cache=True, nogil=True)
def _lines(
    table: Any, slots: Any, work: Any, data: Any, over_words: Any, word_rows: Any, word_chars: Any,
    rows: Any, starts: Any, ends: Any, unused_hashes: Any, chars: Any, unused_flags: Any,
) -> None:  # fmt: skip
    numbers, counts = work[1], work[2]
    for row in range(len(rows) - 1):
        first, last = rows[row], rows[row + 1]
        if table[0, row] == 0:
            continue
        mask = np.int64(4)
        while mask < 2 * (last - first):
            mask *= 2
        # A run of newlines parts lines: of empty lines there is one at the start, and one at the end.
        opened = np.int64(first + 1 < last and starts[first] == ends[first])
        closed = np.int64(first + 1 < last and starts[last - 1] == ends[last - 1])
        num_lines, size = opened + closed, np.int64(0)
        bullets = broken_off = all_chars = np.int64(0)
        for line in range(first, last):
            start, end = starts[line], ends[line]
            if start == end:
                continue
            num_lines += 1
            all_chars += chars[line]
            bullets += data[start] == 0x2A or data[start] == 0x2D
            broken_off += _ends_in_ellipsis(data, start, end)
            key = hash_bytes(data, np.int64(start), np.int64(end))
            number = number_of(slots, mask - 1, -1 - row, key, key, size)
            if number == size:
                counts[size] = 0
                size += 1
            counts[number] += 1
            numbers[line - first] = number
        repeated, covered = np.int64(2 * (opened + closed == 2)), np.int64(0)
        for line in range(first, last):
            if starts[line] != ends[line] and counts[numbers[line - first]] > 1:
                repeated += 1
                covered += chars[line]
        if over_words:
            all_chars = np.int64(0)
            for w in range(word_rows[row], word_rows[row + 1]):
                all_chars += word_chars[w]
        table[6, row] = bullets / num_lines
        table[7, row] = broken_off / num_lines
        table[8, row] = repeated / num_lines
        table[9, row] = covered / all_chars if all_chars > 0 else np.float64(covered)


@njit(cache=True, nogil=True)
def _ngrams(table: Any, slots: Any, work: Any, before: Any, rows: Any, hashes: Any, chars: Any) -> None:
    # As in `kernels.repetition`: a k-gram repeats only where its two (k-1)-grams do, so few places are left soon.
    places, numbers, counts, firsts = work[0], work[1], work[2], work[3]
    stamp = np.int64(0)
    for row in range(len(rows) - 1):
        first = rows[row]
        n = rows[row + 1] - first
        if n < 2:
            continue
        mask = np.int64(4)
        while mask < 2 * n:
            mask *= 2
        mask -= 1
        for w in range(n):
            before[w + 1] = before[w] + chars[first + w]
        total = before[n]
        for k in range(2, min(4, n) + 1):  # where nothing repeats, the first one is the most frequent
            table[_FIRST_NGRAM + k - 2, row] = before[k] / total
        stamp += 1
        m = repeated_words(hashes, first, n, slots, mask, stamp, places, numbers, counts)
        for k in range(2, min(_LONGEST, n) + 1):
            size, pairs = np.int64(0), 0
            stamp += 1
            for j in range(m - 1):
                place = np.int64(places[j])
                if places[j + 1] != place + 1:
                    continue
                key = np.uint64(numbers[j]) << np.uint64(32) | np.uint64(numbers[j + 1])
                spread = key * LENGTH_FACTOR
                number = number_of(slots, mask, stamp, spread ^ spread >> np.uint64(32), key, size)
                if number == size:
                    counts[size], firsts[size] = 0, place
                    size += 1
                counts[number] += 1
                places[pairs], numbers[pairs] = place, number
                pairs += 1
            m = covered = np.int64(0)
            for j in range(pairs):
                place = np.int64(places[j])
                if counts[numbers[j]] > 1:
                    covered += before[place + k] - before[place]
                    places[m], numbers[m] = place, numbers[j]
                    m += 1
            if m == 0:
                break
            if k <= 4:
                best = np.int64(0)
                for number in range(1, size):
                    if counts[number] > counts[best]:
                        best = np.int64(number)
                place = np.int64(firsts[best])
                table[_FIRST_NGRAM + k - 2, row] = counts[best] * (before[place + k] - before[place]) / total
            else:
                of_all = np.int64(0)
                for w in range(n - k + 1):
                    of_all += before[w + k] - before[w]
                table[_FIRST_NGRAM + k - 2, row] = covered / of_all


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    one = np.ones(1, np.int64)
    dolma_gopher_columns(ONE_TEXT, ONE_TOKEN, ONE_TOKEN, chars=one, over_words=True)
