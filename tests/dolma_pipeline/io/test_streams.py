"""Compressed bytes in, content out; whatever is wrong with a file, whole lines before the damage come through."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError
from dolma_pipeline.io.streams import Damaged, Overlong, Source, decompressed, is_zstd, line_blocks

CONTENT = b"".join(b'{"id": "%d", "text": "%s"}\n' % (i, b"word " * (i % 7)) for i in range(60))


def member(content: bytes, *, flags: int = 0, fields: bytes = b"", method: int = 8) -> bytes:
    """A gzip member after RFC 1952, written by hand."""
    squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
    header = b"\x1f\x8b" + bytes([method, flags]) + b"\0\0\0\0\0\xff" + fields
    body = squeeze.compress(content) + squeeze.flush()
    return header + body + struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)


def frame(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def skippable(content: bytes, number: int = 0) -> bytes:
    return bytes([0x50 + number]) + b"\x2a\x4d\x18" + struct.pack("<I", len(content)) + content


def read(raw: bytes) -> tuple[bytes, Damaged | None]:
    """All content that is given out, and the damage that ends it."""
    found = []
    try:
        for piece in decompressed(Source(io.BytesIO(raw))):
            found.append(piece)
    except Damaged as damage:
        return b"".join(found), damage
    return b"".join(found), None


def read_lines(raw: bytes) -> tuple[bytes, Damaged | None]:
    found: list[bytes] = []
    try:
        for block in line_blocks(decompressed(Source(io.BytesIO(raw))), block_bytes=256):
            assert isinstance(block, bytes)
            found.append(block)
    except Damaged as damage:
        return b"".join(found), damage
    return b"".join(found), None


EXTRA = struct.pack("<H", 6) + b"AB\x02\0xy"

HEADERS = {
    "FNAME": (8, b"na\xefve.jsonl\0"),
    "FEXTRA": (4, EXTRA),
    "FCOMMENT": (16, b"a comment\0"),
    "FHCRC": (2, b"\x12\x34"),
    "all": (4 | 8 | 16 | 2, EXTRA + b"name\0" + b"comment\0" + b"\x12\x34"),
    "long name": (8, b"n" * 300_000 + b"\0"),
}


@pytest.mark.parametrize(("flags", "fields"), HEADERS.values(), ids=HEADERS)
def test_every_field_of_a_gzip_header_is_skipped(flags: int, fields: bytes) -> None:
    assert read(member(CONTENT, flags=flags, fields=fields)) == (CONTENT, None)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6), st.integers(0, 600))
def test_members_and_frames_are_joined_and_zero_padding_is_no_content(parts: list[bytes], zeros: int) -> None:
    content = b"".join(parts)
    assert read(b"".join(map(member, parts)) + b"\0" * zeros) == (content, None)
    assert read((b"\0" * zeros).join(map(member, parts))) == (content, None)
    assert read(b"".join(map(gzip.compress, parts))) == (content, None)
    assert read(b"".join(map(frame, parts))) == (content, None)
    assert read(b"".join(skippable(b"about", i) + frame(part) for i, part in enumerate(parts))) == (content, None)


def test_the_content_decides_not_the_name() -> None:
    assert read(CONTENT) == (CONTENT, None)
    assert read(b"") == (b"", None)
    assert read(b"\x1f") == (b"\x1f", None)
    assert read(member(b"")) == (b"", None)
    assert read(frame(b"")) == (b"", None)
    assert is_zstd(frame(b"x")[:4])
    assert is_zstd(skippable(b"", 15)[:4])
    assert not is_zstd(b"P*M")
    assert not is_zstd(b"")


def test_a_member_larger_than_any_buffer_and_pieces_of_any_size() -> None:
    content = b"".join(hashlib.sha256(b"%d" % i).hexdigest().encode() + b"\n" for i in range(60_000))
    for raw in (member(content), frame(content), frame(content[:3_000_000]) + frame(content[3_000_000:])):
        source = Source(io.BytesIO(raw))
        assert b"".join(decompressed(source)) == content
        assert source.sha256.hexdigest() == hashlib.sha256(raw).hexdigest()
        assert source.num_bytes == len(raw)


def test_a_wrong_crc_is_said_after_all_content_is_given_out() -> None:
    raw = bytearray(member(CONTENT))
    raw[-8] ^= 1
    content, damage = read(bytes(raw))
    assert content == CONTENT
    assert damage is not None
    assert damage.content_complete
    right, wrong = zlib.crc32(CONTENT), zlib.crc32(CONTENT) ^ 1
    assert str(damage) == f"crc: a gzip member says {wrong:08x}, its content has {right:08x}"
    size = bytearray(member(CONTENT))
    size[-1] ^= 1
    assert str(read(bytes(size))[1]).startswith("crc: ")
    first = read(bytes(raw) + member(CONTENT))
    assert first[0] == CONTENT
    assert str(first[1]).startswith("crc: ")


def test_other_damage_is_named() -> None:
    garbage = read(member(CONTENT) + b"garbage")
    assert garbage[0] == CONTENT
    assert garbage[1] is not None
    assert garbage[1].content_complete
    assert str(garbage[1]) == "garbage after the last gzip member"
    assert str(read(member(CONTENT, method=7))[1]) == "damaged gzip header: compression method 7, only 8 exists"
    broken = bytearray(gzip.compress(CONTENT))
    broken[10:14] = b"\xff\xff\xff\xff"
    assert str(read(bytes(broken))[1]).startswith("damaged gzip data: ")
    flipped = bytearray(frame(CONTENT))
    flipped[-1] ^= 1
    assert str(read(bytes(flipped))[1]).startswith("damaged zstd data: ")
    content, damage = read(frame(CONTENT) + b"garbage")
    assert content == CONTENT
    assert str(damage).startswith("damaged zstd data: ")
    assert isinstance(damage, DataError)


def zlib_reads(raw: bytes) -> bytes:
    """What another library can still make of a gzip file, member by member."""
    content = b""
    while raw:
        inflate = zlib.decompressobj(31)
        content += inflate.decompress(raw)
        raw = inflate.unused_data
    return content


def test_a_gzip_file_cut_at_any_byte_gives_its_whole_lines_and_says_so() -> None:
    first = member(CONTENT[:1500], flags=8, fields=b"name\0")
    raw, seam = first + member(CONTENT[1500:]), len(first)
    for cut in range(4, len(raw)):
        content, damage = read(raw[:cut])
        assert content == zlib_reads(raw[:cut]), cut
        if cut == seam:
            assert damage is None
        else:
            assert str(damage).startswith("truncated: the file ends inside a gzip ")
        lines, again = read_lines(raw[:cut])
        assert lines == (content if damage is None else content[: content.rfind(b"\n") + 1])
        assert str(again) == str(damage)
    assert read(raw) == (CONTENT, None)


def test_a_zstd_file_cut_at_any_byte_gives_its_whole_blocks_and_says_so() -> None:
    first, second = CONTENT[:1500], CONTENT[1500:]
    raw = frame(first) + frame(second)
    seam = len(frame(first))
    for cut in range(4, len(raw)):
        content, damage = read(raw[:cut])
        assert CONTENT.startswith(content)
        assert content.startswith(first) == (cut >= seam - 4)  # the last 4 bytes are the checksum
        if cut == seam:
            assert damage is None
        else:
            assert str(damage) == "truncated: the file ends inside a zstd frame"


def test_a_bomb_takes_little_memory() -> None:
    num_bytes = 300_000_000
    for raw in (_gzip_bomb(num_bytes), _zstd_bomb(num_bytes)):
        assert len(raw) < num_bytes // 500
        tracemalloc.start()
        total = most = 0
        for piece in decompressed(Source(io.BytesIO(raw))):
            total, most = total + len(piece), max(most, len(piece))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert total == num_bytes
        assert most <= 1 << 25
        assert peak < 150_000_000


def _gzip_bomb(num_bytes: int) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [squeeze.compress(b"a" * 1_000_000) for _ in range(num_bytes // 1_000_000)]
    return b"".join(pieces) + squeeze.flush()


def _zstd_bomb(num_bytes: int) -> bytes:
    squeeze = zstandard.ZstdCompressor().compressobj()
    pieces = [squeeze.compress(b"a" * 1_000_000) for _ in range(num_bytes // 1_000_000)]
    return b"".join(pieces) + squeeze.flush()


def test_the_bomb_of_the_data_is_read_with_its_neighbours(data: Path) -> None:
    with open(data / "hostile" / "bomb_30MB.jsonl.gz", "rb") as file:
        blocks = list(line_blocks(decompressed(Source(file))))
    lines = b"".join(block for block in blocks if isinstance(block, bytes)).splitlines()
    assert [len(line) > 30_000_000 for line in lines] == [False, True, False]


def chunked(content: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield content[at : at + size]
        at += size
    yield content[at:]


LINES = st.lists(st.sampled_from([b"", b"a", b"bb\r", b"longer line", b"x" * 40]), max_size=30)


@settings(max_examples=200, deadline=None)
@given(LINES, st.booleans(), st.lists(st.integers(0, 30), max_size=40), st.integers(1, 60))
def test_any_chunking_gives_the_same_lines_in_blocks_that_end_at_newlines(
    lines: list[bytes], final_newline: bool, sizes: list[int], block_bytes: int
) -> None:
    content = b"\n".join(lines) + (b"\n" if final_newline and lines else b"")
    blocks = list(line_blocks(chunked(content, sizes), block_bytes=block_bytes))
    assert b"".join(block for block in blocks if isinstance(block, bytes)) == content
    assert all(isinstance(block, bytes) and block for block in blocks)
    assert all(isinstance(block, bytes) and block.endswith(b"\n") for block in blocks[:-1])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 80), max_size=25),
    st.booleans(),
    st.lists(st.integers(1, 9), max_size=90),
    st.integers(1, 20),
)
def test_a_line_that_grows_too_long_is_passed_over_and_counted(
    lengths: list[int], final_newline: bool, sizes: list[int], block_bytes: int
) -> None:
    lines = [bytes([97 + i % 26]) * length for i, length in enumerate(lengths)]
    content = b"\n".join(lines) + (b"\n" if final_newline and lines else b"")
    found = b""
    for block in line_blocks(chunked(content, sizes), block_bytes=block_bytes, max_line_bytes=30):
        if isinstance(block, Overlong):
            start = len(found)
            end = content.find(b"\n", start) + 1 or len(content)
            assert found.endswith(b"\n") or not found
            assert block.num_bytes == end - start > 30
            found += content[start:end]
        else:
            found += block
    assert found == content


def test_an_endless_line_takes_no_more_memory_than_a_line_may_have() -> None:
    def endless() -> Iterator[bytes]:
        yield b"first\n"
        for _ in range(2_000):
            yield b"x" * 100_000
        yield b"\nlast"

    tracemalloc.start()
    blocks = list(line_blocks(endless(), block_bytes=1_000, max_line_bytes=1_000_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert blocks == [b"first\n", Overlong(200_000_001), b"last"]
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("content_complete", "expected"), [(False, b"one\ntwo\n"), (True, b"one\ntwo\nthr")], ids=["inside", "behind"]
)
def test_damage_comes_after_the_whole_lines(content_complete: bool, expected: bytes) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one\ntw"
        yield b"o\nthr"
        raise Damaged("broken", content_complete=content_complete)

    blocks: list[bytes | Overlong] = []
    with pytest.raises(Damaged, match="broken"):
        for block in line_blocks(pieces()):
            blocks.append(block)
    assert blocks == [expected]
