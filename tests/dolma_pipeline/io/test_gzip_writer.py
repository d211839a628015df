"""Gzip that depends on the content alone, and is read by everyone."""

from __future__ import annotations

import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.io.gzip_writer import GzipWriter


def packed(*pieces: bytes) -> bytes:
    file = io.BytesIO()
    with GzipWriter(file) as writer:
        for piece in pieces:
            writer.write(piece)
    return file.getvalue()


@given(st.lists(st.binary(max_size=2000) | st.integers(0, 9000).map(lambda n: b"a,b\n" * n), max_size=6))
@settings(max_examples=50, deadline=None)
def test_the_pieces_do_not_matter(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    assert packed(*pieces) == packed(content)
    assert gzip.decompress(packed(*pieces)) == content


def test_neither_a_name_nor_a_time_is_in_it() -> None:
    assert packed(b"x")[:8] == b"\x1f\x8b\x08\0\0\0\0\0"


def test_after_an_error_no_end_is_written() -> None:
    file = io.BytesIO()

    def fail() -> None:
        with GzipWriter(file) as writer:
            writer.write(b"x" * 100_000)
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    with pytest.raises(EOFError):
        gzip.decompress(file.getvalue())
