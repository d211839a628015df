"""MinHash signatures straight from UTF-8 text: one pass, no Python strings, no word table.

A word is a maximal run of `\\w` code points (Python's `re`), lower-cased a code point at a time: `str.lower`
without its one rule that looks around (the final sigma), so that a word's hash never depends on its place.
Scripts that set no blanks have no such runs. Each letter of theirs (`unicode.UNSPACED_LETTER`) is a word, with the
marks of these scripts (UNSPACED_MARK) that follow it; it ends the word before it. Other marks are not part of a word.
Word hashes are `hashing.hash_bytes` of the lower-case UTF-8; `shingle` of them in a row make a polynomial,
rolled from word to word (order matters), and the upper half of its mixed value is the 32-bit shingle. Shingles
are minimised under the permutations of datasketch 2 (`affine32`): a * fmix32(x) + b mod 2^32. A repeated shingle
does not lower a minimum, so the shingles count as a set without being made one.

Cost: 250 MB of text a CPU-second with 112 permutations (330 with 1, 180 with 256): ASCII words are folded eight
bytes at a time, and the inner loop over shingles is vectorised (the other order is 30 times slower). The table
takes ~70 ms once a process and 4.4 MB. In scripts where each letter is a word it is 110 MB a CPU-second.
The values are saved in run directories: a change of any constant here, or of `hash_bytes`, is a new format.
Sources: Broder 1997, On the resemblance and containment of documents (shingles, minima); Karp and Rabin 1987
(rolling); fmix32 is the finalizer of MurmurHash3 (Appleby).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.hashing import hash_bytes, load8, mix
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.lanes import CASE, ONES, TOPS
from dolma_pipeline.kernels.tables import TextBuffers, read_only
from dolma_pipeline.kernels.unicode import (
    NUM_CODE_POINTS,
    UNSPACED_LETTER,
    UNSPACED_MARK,
    WORD,
    class_table,
    decode,
    unspaced_table,
)

ONE = np.uint64(1)
SCRATCH_SHINGLES = 4096  # 16 kB: stays in the first-level cache while all permutations pass over it
LENGTH_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # as in `hashing.hash_bytes`
ROLL_FACTOR = np.uint64(0xA0761D6478BD642F)  # odd: no word of a shingle is ever multiplied away
ALONE = 1 << 24
"""In `fold_table`, of a letter that is a word of its own; above what all other word characters have."""
JOINS = 1 << 25
"""In `fold_table`, of a mark that belongs to such a letter before it, and else ends a word."""
BAND_SEED = np.uint64(0x8EBC6AF09C88C6E3)


@cache
def fold_table() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """What each code point is inside a word, from this Python's own Unicode tables.

    Returns:
        fold: int32[0x110000]: 0 for what ends a word, else the lower-case code point; from 0x110000 on: 0x110000
            plus a row of `several`; ALONE or JOINS.
        several: int32[k, 3]: lower-case code points of those that have more than one (U+0130), padded with 0.
    """
    everything = np.arange(NUM_CODE_POINTS, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    fold = np.zeros(NUM_CODE_POINTS, np.int32)
    several: list[list[int]] = []
    is_word = class_table() & WORD != 0
    for start, end in np.flatnonzero(np.diff(is_word, prepend=False, append=False)).reshape(-1, 2).tolist():
        run = everything[start:end]
        lower = run.replace("Σ", "σ").lower()  # by itself Σ becomes σ, at the end of a word another letter
        if len(lower) == len(run):
            fold[start:end] = np.frombuffer(lower.encode("utf-32-le"), "<i4")
            continue
        for code_point, char in enumerate(run, start):
            lower = char.lower()
            if len(lower) == 1:
                fold[code_point] = ord(lower)
            else:
                fold[code_point] = NUM_CODE_POINTS + len(several)
                several.append([ord(c) for c in lower.ljust(3, "\0")])
    unspaced = unspaced_table()
    fold[unspaced == UNSPACED_LETTER] = ALONE
    fold[unspaced == UNSPACED_MARK] = JOINS
    return read_only(fold), read_only(np.array(several, np.int32).reshape(len(several), 3))


@njit(cache=True, nogil=True, inline="always")
def _fold8(x: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Eight bytes at once: their lower-case form, and the top bit of each byte that is not an ASCII word character.

    Bytes are compared with their top bit clear, so that no sum carries into the next one (Mycroft's trick).
    """
    y = x & ~TOPS
    z = y | CASE  # capitals fall on small letters, nothing else does
    letters = (z + ONES * np.uint64(0x80 - 0x61)) & ~(z + ONES * np.uint64(0x7F - 0x7A)) & TOPS
    digits = (y + ONES * np.uint64(0x80 - 0x30)) & ~(y + ONES * np.uint64(0x7F - 0x39))
    underscores = (y + ONES * np.uint64(0x80 - 0x5F)) & ~(y + ONES * np.uint64(0x7F - 0x5F))
    return y | (letters >> np.uint64(2)), (~(letters | digits | underscores) | x) & TOPS


@njit(cache=True, nogil=True, inline="always")
def _absorb(h: np.uint64, chunk: np.uint64, num_bytes: int, byte: int) -> tuple[np.uint64, np.uint64, int]:
    """Takes the next byte of a word into its hash (see `hashing.hash_bytes`): (hash, open chunk, bytes so far)."""
    chunk |= np.uint64(byte) << np.uint64(8 * (num_bytes & 7))
    num_bytes += 1
    if num_bytes & 7 == 0:
        return mix(h ^ chunk), np.uint64(0), num_bytes
    return h, chunk, num_bytes


@njit(cache=True, nogil=True)
def _absorb_wide(h: np.uint64, chunk: np.uint64, num_bytes: int, code_point: int) -> tuple[np.uint64, np.uint64, int]:
    """Takes the UTF-8 bytes of any code point into a word's hash, as `_absorb` does."""
    if code_point < 0x80:
        return _absorb(h, chunk, num_bytes, code_point)
    if code_point < 0x800:
        shift, lead = 6, 0xC0
    elif code_point < 0x10000:
        shift, lead = 12, 0xE0
    else:
        shift, lead = 18, 0xF0
    h, chunk, num_bytes = _absorb(h, chunk, num_bytes, lead | (code_point >> shift))
    while shift > 0:
        shift -= 6
        h, chunk, num_bytes = _absorb(h, chunk, num_bytes, 0x80 | ((code_point >> shift) & 0x3F))
    return h, chunk, num_bytes


@njit(cache=True, nogil=True)
def _letter_end(data: NDArray[np.uint8], at: int, stop: int, fold: NDArray[np.int32]) -> int:
    """The byte after the letter at byte `at` and its marks, if it is a word of its own; else `at`."""
    code_point, length = decode(data, at)
    if fold[code_point] != ALONE:
        return at
    at += length
    while at < stop and data[at] >= 0xE0 and not 0xE4 <= data[at] <= 0xE9:  # there are no marks of these scripts there
        code_point, length = decode(data, at)
        if fold[code_point] != JOINS:
            break
        at += length
    return at


@njit(cache=True, nogil=True)
def _lower_minima(
    shingles: NDArray[np.uint32], count: int, a: NDArray[np.uint32], b: NDArray[np.uint32], minima: NDArray[np.uint32]
) -> None:
    """Lowers the minima of one text by its next `count` shingles; uses up `shingles`."""
    for i in range(count):  # fmix32
        x = shingles[i]
        x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B))
        x = np.uint32((x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35))
        shingles[i] = x ^ (x >> np.uint32(16))
    for p in range(a.size):
        factor, addend, least = a[p], b[p], minima[p]
        for i in range(count):
            least = min(least, np.uint32(factor * shingles[i] + addend))
        minima[p] = least


@njit(cache=True, nogil=True)
def _shingles_of(
    data: NDArray[np.uint8],
    at: int,
    stop: int,
    fold: NDArray[np.int32],
    several: NDArray[np.int32],
    window: NDArray[np.uint64],
    found: NDArray[np.uint32],
) -> tuple[int, int, np.uint64, np.uint64]:
    """Writes the shingles of one text to `found`: (shingles, words, upper and lower half of the hash of the words)."""
    size = window.size  # hashes of the last `size` words, in a ring
    leaving_factor = np.uint64(1)
    for _ in range(size):
        leaving_factor *= ROLL_FACTOR
    window[:] = np.uint64(0)
    slot, num_words, count = 0, 0, 0
    rolled, h, chunk, num_bytes = np.uint64(0), np.uint64(0), np.uint64(0), 0
    hi, lo = np.uint64(0), np.uint64(0)
    while at < stop:
        if data[at] < 0x80 and fold[data[at]] == 0:
            at += 1
            continue
        while at < stop:  # the bytes of one word, and the code point that ends it
            if num_bytes & 7 == 0 and at + 8 <= stop:  # nearly all of a word in ASCII
                lower, ends = _fold8(load8(data, at))
                if ends == 0:
                    h = mix(h ^ lower)
                    num_bytes += 8
                    at += 8
                    continue
                before = ((ends & (~ends + ONE)) >> np.uint64(7)) - ONE
                chunk = lower & before
                length = int(np.int64(((before & ONES) * ONES) >> np.uint64(56)))
                num_bytes += length
                at += length
            byte = data[at]
            if byte < 0x80:
                at += 1
                low = fold[byte]
                if low == 0:
                    break
                h, chunk, num_bytes = _absorb(h, chunk, num_bytes, low)
            else:
                code_point, length = decode(data, at)
                low = fold[code_point]
                if low == ALONE:  # the next word; never the first character here
                    break
                at += length
                if low == 0 or low == JOINS:  # a mark after none of its letters
                    break
                if low < NUM_CODE_POINTS:
                    h, chunk, num_bytes = _absorb_wide(h, chunk, num_bytes, low)
                else:
                    for part in several[low - NUM_CODE_POINTS]:
                        if part:
                            h, chunk, num_bytes = _absorb_wide(h, chunk, num_bytes, part)
        if num_bytes == 0:
            end = _letter_end(data, at, stop, fold) if at < stop else at
            if end == at:
                continue
            word = hash_bytes(data, at, end)
            at = end
        else:
            word = mix((h ^ chunk) + np.uint64(num_bytes) * LENGTH_FACTOR)
            h, chunk, num_bytes = np.uint64(0), np.uint64(0), 0
        rolled = rolled * ROLL_FACTOR + word - window[slot] * leaving_factor
        window[slot] = word
        slot = slot + 1 if slot + 1 < size else 0
        hi = mix(hi ^ word)
        lo = mix((lo + word) * ROLL_FACTOR)
        num_words += 1
        if num_words >= size:
            found[count] = np.uint32(mix(rolled) >> np.uint64(32))
            count += 1
    if 0 < num_words < size:
        found[0] = np.uint32(mix(rolled) >> np.uint64(32))
        count = 1
    return count, num_words, mix(hi + np.uint64(num_words)), mix(lo ^ np.uint64(num_words))


@njit(cache=True, nogil=True)
def most_words(offsets: NDArray[np.int32]) -> int:
    """More words, and shingles, than any of these texts has: a word has a byte, and no two runs of letters touch."""
    most = 0
    for row in range(offsets.size - 1):
        most = max(most, int(offsets[row + 1]) - int(offsets[row]))
    return most // 2 + 2


@njit(cache=True, nogil=True)
def _sign(
    offsets: NDArray[np.int32],
    data: NDArray[np.uint8],
    fold: NDArray[np.int32],
    several: NDArray[np.int32],
    size: int,
    a: NDArray[np.uint32],
    b: NDArray[np.uint32],
    minima: NDArray[np.uint32],
    signed: NDArray[np.bool_],
    same: NDArray[np.uint64],
    num_shingles: NDArray[np.int32],
) -> None:
    found = np.empty(most_words(offsets), np.uint32)  # what is not written takes no memory
    window = np.empty(size, np.uint64)
    for row in range(signed.size):
        count, num_words, hi, lo = _shingles_of(
            data, int(offsets[row]), int(offsets[row + 1]), fold, several, window, found
        )
        signed[row] = num_words > 0
        same[row, 0], same[row, 1] = hi, lo
        num_shingles[row] = count
        for start in range(0, count, SCRATCH_SHINGLES):
            some = min(SCRATCH_SHINGLES, count - start)
            _lower_minima(found[start : start + some], some, a, b, minima[row])


@njit(cache=True, nogil=True)
def _all_shingles(
    offsets: NDArray[np.int32],
    data: NDArray[np.uint8],
    fold: NDArray[np.int32],
    several: NDArray[np.int32],
    size: int,
    starts: NDArray[np.int64],
    values: NDArray[np.uint32],
) -> None:
    window = np.empty(size, np.uint64)
    at = 0
    for row in range(offsets.size - 1):
        count, _, _, _ = _shingles_of(
            data, int(offsets[row]), int(offsets[row + 1]), fold, several, window, values[at:]
        )
        at += count
        starts[row + 1] = at


@njit(cache=True, nogil=True)
def _hash_bands(minima: NDArray[np.uint32], num_rows: int, keys: NDArray[np.uint64]) -> None:
    for i in range(keys.shape[0]):
        for band in range(keys.shape[1]):
            key = mix(BAND_SEED + np.uint64(band))
            for p in range(band * num_rows, (band + 1) * num_rows):
                key = mix(key ^ np.uint64(minima[i, p]))
            keys[i, band] = key


class Signed(NamedTuple):
    """What is known of n texts.

    minima: uint32[n, num_perm]; 2^32 - 1 throughout (datasketch's empty set) where there is no word.
    signed: bool[n], False where there is no word. same: uint64[n, 2], a hash of the sequence of folded words.
    num_shingles: int32[n], repeats included.
    """

    minima: NDArray[np.uint32]
    signed: NDArray[np.bool_]
    same: NDArray[np.uint64]
    num_shingles: NDArray[np.int32]


def sign_all(text: TextBuffers, a: NDArray[np.uint32], b: NDArray[np.uint32], *, shingle: int) -> Signed:
    """The MinHash signature of each of n texts, and a 128-bit hash of its words.

    Two halves, each a chain over the words' 64-bit hashes: texts of equal words have equal halves. That two texts
    which differ have them takes a collision of both chains, or of two words' hashes in the same place.

    Args:
        text: n texts.
        a: factors of the permutations, odd, uint32[num_perm], as datasketch's `MinHash.permutations`.
        b: addends of the permutations, uint32[num_perm].
        shingle: words a shingle, at least 1; a text with fewer words is one shingle of them all.
    """
    num_rows = len(text.offsets) - 1
    minima = np.full((num_rows, len(a)), 0xFFFFFFFF, np.uint32)
    signed = np.zeros(num_rows, np.bool_)
    same, num_shingles = np.zeros((num_rows, 2), np.uint64), np.zeros(num_rows, np.int32)
    offsets, data = read_only(text.offsets), read_only(text.data)
    _sign(offsets, data, *fold_table(), shingle, read_only(a), read_only(b), minima, signed, same, num_shingles)
    return Signed(minima, signed, same, num_shingles)


def sign(
    text: TextBuffers, a: NDArray[np.uint32], b: NDArray[np.uint32], *, shingle: int
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """`minima` and `signed` of `sign_all`."""
    found = sign_all(text, a, b, shingle=shingle)
    return found.minima, found.signed


def shingles(text: TextBuffers, *, shingle: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """The shingles of each of n texts, in their order, repeats included.

    Args:
        text: n texts. shingle: as in `sign_all`.

    Returns:
        starts: int64[n + 1]; those of text i are `values[starts[i]:starts[i + 1]]`.
        values: uint32[k], writable.
    """
    offsets, data = read_only(text.offsets), read_only(text.data)
    starts = np.zeros(len(offsets), np.int64)
    values = np.empty(int(offsets[-1] - offsets[0]) // 2 + 2 * len(offsets), np.uint32)
    _all_shingles(offsets, data, *fold_table(), shingle, starts, values)
    return starts, values[: starts[-1]]


def hash_bands(minima: NDArray[np.uint32], *, bands: int, rows: int) -> NDArray[np.uint64]:
    """One hash for each `rows` minima, the band's number in it: uint32[n, bands * rows] -> uint64[n, bands]."""
    keys = np.empty((len(minima), bands), np.uint64)
    contiguous = np.ascontiguousarray(minima).view()
    contiguous.setflags(write=False)
    _hash_bands(contiguous, rows, keys)
    return keys


def warm() -> None:
    """Compiles this module's kernels, or loads them from numba's cache."""
    one = np.ones(1, np.uint32)
    text = TextBuffers(np.array([0, 1], np.int32), np.array([97], np.uint8))
    minima, _ = sign(text, one, one, shingle=1)
    shingles(text, shingle=1)
    hash_bands(minima, bands=1, rows=1)
