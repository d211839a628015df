"""Eight bytes at once against one after the other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.kernels.lanes import all_ascii, below_first, count_tops, each, holds_zero, num_bytes_in, zeros
from dolma_pipeline.kernels.tables import read_only
from dolma_pipeline.kernels.unicode import count_code_points

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


@given(EIGHT | st.lists(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]), min_size=8, max_size=8).map(bytes))
def test_what_is_before_the_first_zero(content: bytes) -> None:
    first = content.find(0)
    if first >= 0:
        below = np.uint64(below_first(np.uint64(holds_zero(number(content)))))
        assert int(below).to_bytes(8, "little") == b"\xff" * first + bytes(8 - first)
        assert num_bytes_in(below) == first


@given(st.text(st.sampled_from("a\x7fé𝄞"), max_size=30), st.integers(0, 3), st.integers(0, 3))
def test_ascii_and_code_points_of_a_stretch(text: str, before: int, behind: int) -> None:
    content = text.encode()
    data = read_only(np.frombuffer(b"\xff" * before + content + b"\xff" * behind, np.uint8))
    assert all_ascii(data, before, before + len(content)) == text.isascii()
    assert count_code_points(data, before, before + len(content)) == len(text)


def test_a_byte_eight_times() -> None:
    assert int(each(0x20)).to_bytes(8, "little") == b" " * 8
