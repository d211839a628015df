"""How many bits a model of byte n-grams needs for texts, straight from Arrow's buffers.

The model gives each byte a probability after the bytes before it; a text is read as if order - 1 newlines stood before
it. An n-gram's number is its bytes, the last one lowest, with its length in the top byte, so no two are mistaken for
each other. What is stored is the logarithm of the probability of its last byte after the others, and of the weight by
which it hands over to shorter n-grams where it is the context (Katz 1987; probabilities are interpolated when the model
is made, `fit/ngrams.py`). Every context of a stored n-gram is stored, so the longest one that ends at a byte is longer
by one byte at most than that of the byte before. Cost: one look-up a byte that the model expects, two for each order
that it must go down; 10 to 18 MB of text a second with a table of 34 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.kernels.hashing import mix
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import TextBuffers, Tokens, read_only

MAX_ORDER = 7
"""Bytes of the longest n-gram: with its length it fills 64 bits."""
_LENGTH_BIT = 56
_NEWLINE = 10


class Bits(NamedTuple):
    """What n texts and m stretches of them take: float64[n], float64[m]; 0.0 of nothing."""

    texts: NDArray[np.float64]
    stretches: NDArray[np.float64]


@dataclass(frozen=True)
class ByteNgrams:
    """A model, as the kernel reads it.

    order: bytes of the longest n-gram. keys: uint64[2^s, 2], numbers by open addressing, 0 where free, and behind each
    its two logarithms. values: the same memory as float32[2^s, 4]; columns 2 and 3 are log2 of probability and weight.
    """

    order: int
    keys: NDArray[np.uint64]
    values: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        order: int,
        numbers: NDArray[np.uint64],
        probabilities: NDArray[np.float32],
        weights: NDArray[np.float32],
    ) -> ByteNgrams:
        """A table of n-grams.

        Args:
            numbers: uint64[n], each once; those of all 256 single bytes are among them. probabilities, weights: log2,
                float32[n].
        """
        size = 1 << max(int(4 * len(numbers) / 3).bit_length(), 1)
        keys = np.zeros((size, 2), np.uint64)
        values = keys.view(np.float32)
        _insert(keys, values, read_only(numbers), read_only(probabilities), read_only(weights))
        keys.flags.writeable = values.flags.writeable = False
        return cls(order, keys, values)

    def bits(self, text: TextBuffers, stretches: Tokens) -> Bits:
        """The bits of each text, and of stretches of them (lines, paragraphs), each in its place in its text.

        Args:
            stretches: of these texts, in order; those of one text do not overlap.
        """
        return Bits(
            *_bits(
                read_only(text.offsets),
                read_only(text.data),
                stretches.rows,
                stretches.starts,
                stretches.ends,
                self.keys,
                self.values,
                self.order,
            )
        )


@njit(cache=True, nogil=True)
def _find(keys, number):  # type: ignore[no-untyped-def]
    """The slot of a number, or -1."""
    mask = np.uint64(keys.shape[0] - 1)
    slot = mix(number) & mask
    while keys[slot, 0] != 0:
        if keys[slot, 0] == number:
            return np.int64(slot)
        slot = (slot + np.uint64(1)) & mask
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _insert(keys, values, numbers, probabilities, weights):  # type: ignore[no-untyped-def]
    mask = np.uint64(keys.shape[0] - 1)
    for i in range(len(numbers)):
        slot = mix(numbers[i]) & mask
        while keys[slot, 0] != 0:
            slot = (slot + np.uint64(1)) & mask
        keys[slot, 0] = numbers[i]
        values[slot, 2] = probabilities[i]
        values[slot, 3] = weights[i]


@njit(cache=True, nogil=True)
def _number(history, length):  # type: ignore[no-untyped-def]
    """The number of the n-gram of the last `length` bytes of a history of 8."""
    bits = np.uint64(8 * length)
    return (history & ((np.uint64(1) << bits) - np.uint64(1))) | (np.uint64(length) << np.uint64(56))


@njit(cache=True, nogil=True)
def _longest(keys, history, most):  # type: ignore[no-untyped-def]
    """Length of the longest n-gram that is stored and ends a history, `most` at most; 0 for none."""
    for length in range(most, 0, -1):
        if _find(keys, _number(history, length)) >= 0:
            return length
    return 0


@njit(cache=True, nogil=True)
def _bits(offsets, data, rows, starts, ends, keys, values, order):  # type: ignore[no-untyped-def]
    num_texts = len(offsets) - 1
    texts = np.zeros(num_texts, np.float64)
    stretches = np.zeros(len(starts), np.float64)
    begin = np.uint64(0)
    for _ in range(order - 1):
        begin = (begin << np.uint64(8)) | np.uint64(_NEWLINE)
    longest_before = _longest(keys, begin, order - 1)
    for i in range(num_texts):
        history, longest = begin, longest_before
        stretch, last = rows[i], rows[i + 1]
        total = 0.0
        for at in range(offsets[i], offsets[i + 1]):
            before = history
            history = (history << np.uint64(8)) | np.uint64(data[at])
            length = min(longest + 1, order)
            logarithm = 0.0
            while True:  # single bytes are all stored
                slot = _find(keys, _number(history, length))
                if slot >= 0:
                    logarithm += values[slot, 2]
                    break
                length -= 1
                slot = _find(keys, _number(before, length))
                if slot >= 0:
                    logarithm += values[slot, 3]
            longest = length
            total -= logarithm
            while stretch < last and at >= ends[stretch]:
                stretch += 1
            if stretch < last and at >= starts[stretch]:
                stretches[stretch] -= logarithm
        texts[i] = total
    return texts, stretches


def warm() -> None:
    """Compiles the kernel on a model of single bytes and a text of one letter."""
    from dolma_pipeline.kernels.tables import ONE_TEXT, ONE_TOKEN

    numbers = np.arange(256, dtype=np.uint64) | np.uint64(1 << _LENGTH_BIT)
    flat = np.full(256, -8.0, np.float32)
    ByteNgrams.of(2, numbers, flat, np.zeros(256, np.float32)).bits(ONE_TEXT, ONE_TOKEN)
