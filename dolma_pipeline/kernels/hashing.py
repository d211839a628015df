"""A 64-bit hash of a stretch of bytes, for tables that live as long as a batch; never saved.

Eight bytes a step, as a little-endian number: `h = mix(h ^ chunk)` from h = 0; at the end, with the 0 to 7 bytes
that are left, `mix((h ^ chunk) + length * LENGTH_FACTOR)`. `mix` is a bijection, so two stretches of one length up
to 8 bytes never collide; others collide as random 64-bit numbers do (n^2 / 2^65 for n of them).
Not for adversaries. `mix` is the finalizer of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators"). Cost: a few ns for a word.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dolma_pipeline.kernels.jit import njit

LENGTH_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def mix(x: Any) -> Any:
    """A bijection of uint64 in which every output bit depends on every input bit."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True)
def load8(data: Any, i: Any) -> Any:
    """Bytes i to i + 7 of a uint8 array as a little-endian uint64; the compiler makes one load of it."""
    j = np.uint64(i)  # unsigned: no test for negative indices, which would keep the loads apart
    return (
        np.uint64(data[j])
        | np.uint64(data[j + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[j + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[j + np.uint64(3)]) << np.uint64(24)
        | np.uint64(data[j + np.uint64(4)]) << np.uint64(32)
        | np.uint64(data[j + np.uint64(5)]) << np.uint64(40)
        | np.uint64(data[j + np.uint64(6)]) << np.uint64(48)
        | np.uint64(data[j + np.uint64(7)]) << np.uint64(56)
    )


@njit(cache=True, nogil=True)
def load_part(data: Any, i: Any, count: Any) -> Any:
    """Bytes i to i + count - 1 (count 0 to 7) as a little-endian uint64, the rest of it zero."""
    if i + 8 <= len(data):
        return load8(data, i) & ((np.uint64(1) << np.uint64(8 * count)) - np.uint64(1))
    chunk = np.uint64(0)
    for k in range(count):
        chunk |= np.uint64(data[i + k]) << np.uint64(8 * k)
    return chunk


@njit(cache=True, nogil=True)
def hash_bytes(data: Any, start: Any, end: Any) -> Any:
    """Hash (uint64) of bytes start to end - 1 of a uint8 array; equal bytes give equal hashes wherever they lie."""
    h = np.uint64(0)
    i = start
    while end - i >= 8:
        h = mix(h ^ load8(data, i))
        i += 8
    return mix((h ^ load_part(data, i, end - i)) + np.uint64(end - start) * LENGTH_FACTOR)
