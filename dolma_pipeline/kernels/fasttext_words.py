"""What a fastText model reads of a text: the sum of the vectors of its words, n-grams of words and of characters.

The same words, hashes and vectors as `Dictionary::getLine` of fastText 0.9.2. What a word adds (itself and its
character n-grams) depends on the word alone, is summed by itself, and is kept for words of up to `KEPT_BYTES` in a
table that a process keeps; so a text's sum is the same whether a word was met before or not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.fasttext_file import Matrix, aligned, find_entry, fnv
from dolma_pipeline.kernels.fasttext_header import HELD_BYTES
from dolma_pipeline.kernels.hashing import load8, load_part
from dolma_pipeline.kernels.intrinsics import WIDTH, add_sixteen, count_bits, fetch
from dolma_pipeline.kernels.jit import njit

KEPT_BYTES = 32
"""Words up to this length are kept."""
_EOS = np.frombuffer(b"</s>", np.uint8)
_LABEL = np.frombuffer(b"__label__", np.uint8)


class Lexicon(NamedTuple):
    """Where words and n-grams have their vectors; all arrays read-only.

    `slots`, `starts`, `letters`: as in `ModelFile`. Of pruned buckets, else empty: `filter` (uint8[2^k]) has the bit of
    each that is left, by its lower bits, and is small enough for a processor's first cache; `ranks` (int64[2 * k]) has
    for 64 buckets at a time their bits, and how many are left before them; `order` (int32) has the row of each that is
    left, and is empty where the rows stand in that order. `settings` is int64[7]: shortest and longest character
    n-gram, number of buckets (0: there are no n-grams at all), words of the longest word n-gram, number of words, 1
    where buckets are pruned, entry of `</s>` or -1.
    """

    slots: NDArray[np.int64]
    starts: NDArray[np.int64]
    letters: NDArray[np.uint8]
    filter: NDArray[np.uint8]
    ranks: NDArray[np.int64]
    order: NDArray[np.int32]
    settings: NDArray[np.int64]
    vectors: Matrix


class Kept(NamedTuple):
    """Words that were met, one a slot: a later one takes an earlier one's place. Three views of one memory, flat.

    A slot has `lines` times 64 bytes. It begins with the word's bytes and zeros, 4 `keys` (uint64); then come 4 `facts`
    (int32): its length (0: free), how many vectors it has (-1: it is a label, and adds nothing), where words have one
    vector at most, its row, and in the first of two slots which of them was looked up last. Else their sum follows from
    the second line on, `sums` (float32). The last slot is nobody's: for words that are too long to be kept.
    """

    keys: NDArray[np.uint64]
    facts: NDArray[np.int32]
    sums: NDArray[np.float32]
    lines: int


def kept_words(dim: int, *, sums: bool) -> Kept:
    """An empty table: 131,072 words, or what takes 17 MB. sums: words have more vectors than one."""
    width = 64 + -(-4 * dim // 64) * 64 * sums
    num_slots = 1 << min(17, max(8, (HELD_BYTES // width).bit_length() - 1))
    memory = aligned((num_slots + 1) * width)
    return Kept(memory.view(np.uint64), memory.view(np.int32), memory.view(np.float32), width // 64)


def bucket_tables(
    pairs: NDArray[np.int32], first_row: int, num_buckets: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """`Lexicon.filter`, `ranks` and `order` of the buckets that pruning left.

    Args:
        pairs: int32[k, 2], buckets and rows. first_row: added to the rows. num_buckets: of the model.
    """
    coarse = np.zeros(1 << max(12, (6 * len(pairs)).bit_length()), bool)
    coarse[pairs[:, 0] & (len(coarse) - 1)] = True
    left = np.zeros(num_buckets // 64 * 64 + 64, bool)
    left[pairs[:, 0]] = True
    bits = np.packbits(left, bitorder="little").view(np.int64)
    before = np.concatenate([[0], np.cumsum(left.reshape(-1, 64).sum(axis=1))[:-1]])
    order = np.zeros(num_buckets, np.int32)
    order[pairs[:, 0]] = first_row + pairs[:, 1]
    return (
        np.packbits(coarse, bitorder="little"),
        np.stack([bits, before], axis=1).reshape(-1),
        order[left[:num_buckets]],
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
def numbers_of(vectors):  # type: ignore[no-untyped-def]
    """The numbers of a plain `Matrix`, float32[rows * dim]; of a quantised one, its centroids."""
    return vectors.data.view(np.float32) if vectors.shape[2] == 0 else vectors.centroids


@njit(cache=True, nogil=True)
def _add_quantised(codes, numbers, norm_codes, norms, shape, row, total, at):  # type: ignore[no-untyped-def]
    """Adds a row of a quantised `Matrix` to `total[at:at + dim]`, float32."""
    size, parts, last = shape[3], shape[4], shape[5]
    norm = norms[norm_codes[row]] if norms.size > 0 else np.float32(1.0)
    for part in range(parts):
        width = last if part == parts - 1 else size
        first = part * 256 * size + np.int64(codes[row * parts + part]) * width
        for d in range(width):
            total[at + part * size + d] += norm * numbers[first + d]


@njit(cache=True, nogil=True, inline="always")
def _add_rows(numbers, codes, norm_codes, norms, shape, rows, count, total, at, dim):  # type: ignore[no-untyped-def]
    """Adds rows `rows[:count]` of a `Matrix` to `total[at:at + dim]`, float32."""
    wide = dim - dim % WIDTH
    if shape[2] != 0:
        for i in range(count):
            _add_quantised(codes, numbers, norm_codes, norms, shape, rows[i], total, at)
    else:
        for d in range(0, wide, WIDTH):
            for i in range(count):
                add_sixteen(total, at + d, numbers, rows[i] * dim + d)
        for d in range(wide, dim):
            number = total[at + d]
            for i in range(count):
                number += numbers[rows[i] * dim + d]
            total[at + d] = number


@njit(cache=True, nogil=True, inline="always")
def _add_numbers(numbers, first, total):  # type: ignore[no-untyped-def]
    """Adds `numbers[first:first + dim]` to float32[dim]."""
    wide = total.size - total.size % WIDTH
    for d in range(0, wide, WIDTH):
        add_sixteen(total, d, numbers, first + d)
    for d in range(wide, total.size):
        total[d] += numbers[first + d]


@njit(cache=True, nogil=True, inline="always")
def _rows_of(rows, first, count, settings, ranks, order):  # type: ignore[no-untyped-def]
    """Puts rows in the place of buckets `rows[first:count]`, without those that were pruned; gives the new count."""
    left = first
    for i in range(first, count):
        bucket = rows[i]
        if settings[5] == 0:
            rows[i] = bucket + settings[4]
            left += 1
        else:  # without a branch: which buckets are left cannot be foretold
            bits, bit = ranks[bucket >> 6 << 1], bucket & 63
            rank = ranks[(bucket >> 6 << 1) + 1] + count_bits(bits & ((np.int64(1) << bit) - 1))
            rows[left] = order[min(rank, order.size - 1)] if order.size > 0 else settings[4] + rank
            left += bits >> bit & 1
    return left


@njit(cache=True, nogil=True, inline="always")
def _ngram_rows(data, start, end, at, settings, filter, ranks, order, rows):  # type: ignore[no-untyped-def]
    """Rows of the character n-grams of `<word>` that begin at byte `at` (start - 1: at the `<`) or behind it.

    As many as `rows` has room for; gives their number, and where to go on (`end`: nowhere).
    """
    min_n, max_n, num_buckets = settings[0], settings[1], np.uint32(settings[2])
    is_pruned, mask = settings[5] != 0, np.uint32((filter.size << 3) - 1)
    count = np.int64(0)
    while at < end and count + max_n < rows.size:
        value, n, to = np.uint32(2166136261), 1, at
        if at < start:
            value, n, to = _hash_byte(value, np.uint8(60)), 2, start
        at = to
        while n <= max_n and to <= end:
            if to == end:
                value = _hash_byte(value, np.uint8(62))
                to += 1
            else:
                value = _hash_byte(value, data[to])
                to += 1
                while to < end and data[to] & 0xC0 == 0x80:
                    value = _hash_byte(value, data[to])
                    to += 1
                if n == 1:
                    at = to
            if n >= min_n:
                bucket = np.uint32(value % num_buckets)
                rows[count] = bucket
                left = np.int64(1)
                if is_pruned:  # one that is not left is written over, without a branch
                    bit = bucket & mask
                    left = np.int64(filter[bit >> np.uint32(3)] >> np.uint8(bit & np.uint32(7)) & 1)
                count += left
            n += 1
    return _rows_of(rows, np.int64(0), count, settings, ranks, order), at


@njit(cache=True, nogil=True, inline="always")
def _is_label(data, start, end):  # type: ignore[no-untyped-def]
    """Whether a word begins with `__label__`."""
    i = 0
    if end - start >= 9:
        while i < 9 and data[start + i] == _LABEL[i]:
            i += 1
    return i == 9


@njit(cache=True, nogil=True)
def _word_ngram_rows(chains, seen, value, settings, ranks, order, rows, first):  # type: ignore[no-untyped-def]
    """Fills `rows` from `first` on with those of the n-grams of words that end at this one; gives the new count.

    chains: uint64[n - 1], the running hash of the n-gram that began k + 1 words before, k from 0; kept up here.
    seen: words before this one. value: the word's hash.
    """
    word = np.uint64(np.int64(np.int32(value)))  # fastText keeps hashes of words as signed numbers
    num_buckets, count = np.uint64(settings[2]), first
    for k in range(min(seen, chains.size) - 1, -1, -1):
        chain = chains[k] * np.uint64(116049371) + word
        rows[count] = np.int64(chain % num_buckets)
        count += 1
        if k + 1 < chains.size:
            chains[k + 1] = chain
    chains[0] = word
    return _rows_of(rows, first, count, settings, ranks, order)


@njit(cache=True, nogil=True, inline="always")
def _chunk(data, at, left):  # type: ignore[no-untyped-def]
    """The next 8 of `left` bytes as a little-endian number, zeros behind them; 0 where none are left."""
    if left >= 8:
        return load8(data, at)
    return load_part(data, at, left) if left > 0 else np.uint64(0)


@njit(cache=True, nogil=True, inline="always")
def _first_slot(value, mask):  # type: ignore[no-untyped-def]
    """The first of the two slots of a word with the hash `value`."""
    return np.int64(value ^ (value >> np.uint32(15))) & mask & ~np.int64(1)


@njit(cache=True, nogil=True, inline="always")
def _slot_of(data, first, length, value, keys, facts, lines, mask):  # type: ignore[no-untyped-def]
    """The slot of a word with the hash `value`, and whether the word is in it; if not, its bytes are now.

    A word has two slots, one beside the other, and takes the place of the one that was not looked up last.
    """
    slot = _first_slot(value, mask)
    a, b = _chunk(data, first, length), _chunk(data, first + 8, length - 8)
    c, d = _chunk(data, first + 16, length - 16), _chunk(data, first + 24, length - 24)
    used, is_kept = 16 * lines * slot + 11, False
    way = np.int64(facts[used])
    for _ in range(2):
        key = 8 * lines * (slot + way)
        differ = (keys[key] ^ a) | (keys[key + 1] ^ b) | (keys[key + 2] ^ c) | (keys[key + 3] ^ d)
        is_kept = differ == 0 and facts[2 * key + 8] == length
        if is_kept:
            break
        way ^= 1
    if not is_kept:
        way ^= 1
        key = 8 * lines * (slot + way)
        keys[key], keys[key + 1], keys[key + 2], keys[key + 3] = a, b, c, d
    facts[used] = way
    return slot + way, is_kept


@njit(cache=True, nogil=True)
def sum_words(  # type: ignore[no-untyped-def]
    data, start, end, slots, starts, letters, settings, filter, ranks, order, numbers, codes, norm_codes, norms, shape,
    keys, facts, sums, lines, chains, rows, batch, ahead, total,
):  # fmt: skip
    """Sums the vectors of a text, and of the end of its line; gives (vectors summed, words seen).

    Args:
        data: uint8; the text is `data[start:end]`. Then the arrays of `Lexicon`, with `numbers_of` its vectors, and
            those of `Kept`.
        chains, rows, batch: room: uint64[max(1, longest word n-gram - 1)]; int64, longer than a word has character
            n-grams of one beginning, and 1,024 or so; int64, 4,096 longer than `chains`.
        ahead: room: int64[3, k], for k words that are read before the first of them is added.
        total: float32[dim], for the sum.
    """
    total[:] = 0.0
    count, num_words, seen, num_rows = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    has_ngrams, has_subwords = settings[3] > 1 and settings[2] > 0, settings[1] > 0 and settings[2] > 0
    fetched = np.int64(0)
    dim, mask = total.size, np.int64(facts.size // (16 * lines) - 2)
    at = np.int64(start)
    while at < end:
        num_ahead = np.int64(0)
        while at < end and num_ahead < ahead.shape[1]:
            if is_space(data[at]):
                at += 1
                continue
            first, value = at, np.uint32(2166136261)
            while at < end and not is_space(data[at]):
                value = _hash_byte(value, data[at])
                at += 1
            num_words += 1
            if (
                at - first == 4
                and data[first] == 60
                and data[first + 1] == 47
                and data[first + 2] == 115
                and data[at - 1] == 62
            ):
                end = at  # `</s>`, which is the end of the line for fastText too
                break
            slot = _first_slot(value, mask)
            for line in range(2 * lines):  # they are anywhere in megabytes: it looks for them while words are read
                fetch(sums, 16 * (lines * slot + line))
            ahead[0, num_ahead], ahead[1, num_ahead], ahead[2, num_ahead] = first, at, value
            num_ahead += 1
        for word in range(num_ahead):
            first, stop, value = ahead[0, word], ahead[1, word], np.uint32(ahead[2, word])
            length = stop - first
            slot, is_kept = mask + 1, False  # the last is nobody's: for words that are too long to be kept
            if length <= KEPT_BYTES:
                slot, is_kept = _slot_of(data, first, length, value, keys, facts, lines, mask)
            facts_at = 16 * lines * slot + 8
            sum_at = facts_at + 8
            if not is_kept:
                facts[facts_at] = length
                entry = find_entry(data, first, stop, value, slots, starts, letters)
                num_vectors = np.int64(0)
                if entry >= settings[4] or (entry < 0 and _is_label(data, first, stop)):
                    num_vectors = np.int64(-1)
                elif not has_subwords:
                    facts[facts_at + 2] = entry
                    num_vectors = np.int64(entry >= 0)
                else:
                    for d in range(dim):
                        sums[sum_at + d] = 0.0
                    there = first - 1
                    while there < stop or entry >= 0:
                        found, there = _ngram_rows(data, first, stop, there, settings, filter, ranks, order, rows)
                        if entry >= 0:
                            rows[found] = entry
                            found += 1
                            entry = np.int64(-1)
                        _add_rows(numbers, codes, norm_codes, norms, shape, rows, found, sums, sum_at, dim)
                        num_vectors += found
                facts[facts_at + 1] = num_vectors
            num_vectors = np.int64(facts[facts_at + 1])
            if num_vectors < 0:
                continue
            if has_subwords:
                _add_numbers(sums, sum_at, total)
                count += num_vectors
            elif num_vectors > 0:
                batch[num_rows] = facts[facts_at + 2]
                num_rows += 1
            if has_ngrams:
                num_rows = _word_ngram_rows(chains, seen, value, settings, ranks, order, batch, num_rows)
            seen += 1
            if shape[2] == 0:  # they are far apart in memory: it looks for all of them while words are hashed
                for i in range(fetched, num_rows):
                    for d in range(0, dim, WIDTH):
                        fetch(numbers, batch[i] * dim + d)
            fetched = num_rows
            if num_rows + chains.size + 2 > batch.size:
                _add_rows(numbers, codes, norm_codes, norms, shape, batch, num_rows, total, 0, dim)
                count += num_rows
                num_rows = fetched = np.int64(0)
    if settings[6] >= 0:
        batch[num_rows] = settings[6]
        num_rows += 1
    if has_ngrams:
        num_rows = _word_ngram_rows(chains, seen, fnv(_EOS, 0, 4), settings, ranks, order, batch, num_rows)
    _add_rows(numbers, codes, norm_codes, norms, shape, batch, num_rows, total, 0, dim)
    return count + num_rows, num_words
