"""Eight bytes at once against one after the other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.kernels.lanes import count_tops, each, holds_zero, zeros

EIGHT = st.binary(min_size=8, max_size=8)


def number(content: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(content, "little"))


@given(EIGHT | st.lists(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]), min_size=8, max_size=8).map(bytes))
def test_some_byte_is_zero(content: bytes) -> None:
    assert bool(holds_zero(number(content))) == (0 in content)
    low = bytes(byte & 0x7F for byte in content)
    found = zeros(number(low))
    assert int(found).to_bytes(8, "little") == bytes(0x80 * (byte == 0) for byte in low)
    assert count_tops(np.uint64(found)) == low.count(0)


def test_a_byte_eight_times() -> None:
    assert int(each(0x20)).to_bytes(8, "little") == b" " * 8
