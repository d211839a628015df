"""Sizes mean what they say, exactly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.config.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("7", 7),
        ("20M", 20_000_000),
        ("1.5G", 1_500_000_000),
        ("64k", 64_000),
        ("64K", 64_000),
        ("4GB", 4_000_000_000),
        ("4 GB", 4_000_000_000),
        ("256MiB", 268_435_456),
        ("64Ki", 65_536),
        ("1.5KiB", 1536),
        ("2T", 2 * 10**12),
        ("1P", 10**15),
        ("100B", 100),
        ("0.001k", 1),
        ("9007199254740993", 2**53 + 1),  # a float could not hold it
        ("9007199.254740993G", 9007199254740993),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "20m", "20 M B", "-1k", "+1k", "1_000", "1e3", "0x10", "20MM", "20iB", "k20", " 20M", "1.M", "٣M"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="may follow a number"):
        parse_size(text)


def test_a_part_of_one_is_no_size() -> None:
    with pytest.raises(ValueError, match="no whole number"):
        parse_size("0.0001k")
    with pytest.raises(ValueError, match="no whole number"):
        parse_size("1.5")


@pytest.mark.parametrize("text", ["1B", "4GB", "4GiB"])
def test_bytes_where_none_are_counted(text: str) -> None:
    with pytest.raises(ValueError, match="a billion is 1G"):
        parse_size(text, of_bytes=False)


@given(st.integers(0, 10**9), st.sampled_from(["", "k", "M", "G", "T", "P"]), st.sampled_from(["", "i"]))
@settings(max_examples=100, deadline=None)
def test_whole_numbers_are_multiplied(number: int, letter: str, binary: str) -> None:
    binary = binary if letter else ""
    power = " kMGTP".index(letter) if letter else 0
    assert parse_size(f"{number}{letter}{binary}") == number * (1024 if binary else 1000) ** power
