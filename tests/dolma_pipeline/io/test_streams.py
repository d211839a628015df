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


class Dribble(io.RawIOBase):
    """A file whose reads give fewer bytes than they are asked for."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._content, self._sizes, self._at, self._turn = content, sizes, 0, 0

    def read(self, size: int = -1, /) -> bytes:
        most = self._sizes[self._turn % len(self._sizes)]
        self._turn += 1
        data = self._content[self._at : self._at + min(size, most)]
        self._at += len(data)
        return data


def dribbled(raw: bytes, *sizes: int) -> tuple[bytes, str, bool | None, str]:
    """Content, damage, and hash of the raw bytes, of a file that is read in pieces of these sizes."""
    source = Source(Dribble(raw, [*sizes]))
    found, damage = [], None
    try:
        for piece in decompressed(source):
            found.append(piece)
    except Damaged as error:
        damage = error
    while source.read(1 << 16):
        pass
    return b"".join(found), str(damage), damage and damage.content_complete, source.sha256.hexdigest()


FILES = {
    "plain": CONTENT,
    "one byte": b"x",
    "empty": b"",
    "half a magic": b"\x1f\x8b",
    "half of zstd": b"\x28\xb5\x2f",
    "gzip": member(CONTENT),
    "gzip with a header": member(CONTENT, flags=4 | 8 | 16 | 2, fields=EXTRA + b"name\0" + b"comment\0" + b"\x12\x34"),
    "members": member(CONTENT[:700]) + member(b"") + member(CONTENT[700:]),
    "padded members": member(CONTENT[:700]) + bytes(700) + member(CONTENT[700:]) + b"\0",
    "padding alone": member(CONTENT) + bytes(512),
    "gzip garbage": member(CONTENT) + bytes(3) + b"garbage",
    "gzip garbage like a magic": member(CONTENT) + b"\x1f\x8c" + b"garbage",
    "half a member": member(CONTENT) + bytes(9) + b"\x1f",
    "wrong crc": member(CONTENT)[:-8] + b"abcd" + member(CONTENT)[-4:],
    "zstd": frame(CONTENT),
    "frames": skippable(b"about") + frame(CONTENT[:700]) + frame(b"") + skippable(b"", 15) + frame(CONTENT[700:]),
    "zstd garbage": frame(CONTENT) + b"garbage",
    "zstd short garbage": frame(CONTENT) + b"\x28\xb5x",
    "half a frame": frame(CONTENT) + frame(CONTENT)[:3],
    "cut frame": frame(CONTENT)[:-30],
    "cut skippable": frame(CONTENT) + skippable(b"about" * 9)[:-1],
}


@pytest.mark.parametrize("raw", FILES.values(), ids=FILES)
def test_a_short_read_is_not_the_end_of_a_file(raw: bytes) -> None:
    whole = dribbled(raw, 1 << 30)
    content, damage = read(raw)
    assert whole[:2] == (content, str(damage))
    for sizes in ((1,), (2,), (3,), (4,), (5,), (7, 1), (1, 300)):
        assert dribbled(raw, *sizes) == whole, sizes
    assert whole[3] == hashlib.sha256(raw).hexdigest()


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([*FILES]), st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_however_a_file_is_handed_out_it_is_the_same(name: str, sizes: list[int]) -> None:
    assert dribbled(FILES[name], *sizes) == dribbled(FILES[name], 1 << 30)


def test_every_file_of_the_table_is_what_it_is_called() -> None:
    said = {name: dribbled(raw, 1 << 30)[:3] for name, raw in FILES.items()}
    assert {said[name] for name in ("plain", "gzip", "gzip with a header", "members", "padded members")} | {
        said[name] for name in ("padding alone", "zstd", "frames")
    } == {(CONTENT, "None", None)}
    assert said["half a magic"][1:] == ("truncated: the file ends inside a gzip header or trailer", False)
    assert said["half of zstd"] == (b"\x28\xb5\x2f", "None", None)
    garbage = (CONTENT, "garbage after the last gzip member", True)
    assert said["gzip garbage"] == said["gzip garbage like a magic"] == garbage
    assert said["half a member"] == (CONTENT, "truncated: the file ends inside a gzip header or trailer", False)
    garbage = (CONTENT, "damaged zstd data: garbage after the last frame", True)
    assert said["zstd garbage"] == said["zstd short garbage"] == garbage
    cut = (CONTENT, "truncated: the file ends inside a zstd frame", False)
    assert said["half a frame"] == said["cut skippable"] == cut
    assert said["wrong crc"][0] == CONTENT
    assert said["wrong crc"][1].startswith("crc: ")
    assert said["cut frame"][1] == "truncated: the file ends inside a zstd frame"


@pytest.mark.parametrize("zeros", [1, 100, 262_143, 262_144, 262_145, 600_000, 3_000_000])
def test_padding_between_members_may_be_longer_than_any_buffer(zeros: int) -> None:
    first, second = CONTENT[:700], CONTENT[700:]
    raw = member(first) + bytes(zeros) + member(second) + bytes(zeros)
    assert gzip.decompress(raw) == CONTENT
    assert read(raw) == (CONTENT, None)


@pytest.mark.parametrize("distance", range(-24, 25))
def test_a_member_or_frame_may_begin_anywhere_in_a_buffer(distance: int) -> None:
    for pack, buffer_bytes in ((member, 1 << 18), (frame, 1 << 15)):
        filling = hashlib.shake_256(b"x").digest(buffer_bytes + distance - 100)
        head = pack(filling)
        head = pack(filling[: len(filling) + buffer_bytes + distance - len(head)])
        for tail in (pack(CONTENT), pack(b"") + pack(CONTENT)):
            content, damage = read(head + tail)
            assert damage is None
            assert content.endswith(CONTENT)
            assert hashlib.sha256(content[: -len(CONTENT)]).digest() == hashlib.sha256(unpacked(head)).digest()


def unpacked(raw: bytes) -> bytes:
    if raw.startswith(b"\x1f\x8b"):
        return gzip.decompress(raw)
    return zstandard.ZstdDecompressor().decompressobj().decompress(raw)


def test_a_long_name_in_a_gzip_header_is_not_held_in_memory() -> None:
    class LongName(io.RawIOBase):
        def __init__(self) -> None:
            self._pieces = iter([member(b"", flags=8)[:10], *[b"n" * 100_000] * 100])

        def read(self, size: int = -1, /) -> bytes:
            return next(self._pieces, b"")

    source = Source(LongName())
    tracemalloc.start()
    with pytest.raises(Damaged, match="truncated: the file ends inside a gzip header or trailer"):
        list(decompressed(source))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert source.num_bytes == 10_000_010
    assert peak < 3_000_000


def long_window(content: bytes, window_log: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, enable_ldm=True, compression_level=1)
    squeeze = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return squeeze.compress(content) + squeeze.flush()


@pytest.mark.parametrize("window_log", [27, 28, 29, 30, 31])
def test_frames_with_long_windows_are_read(window_log: int) -> None:
    raw = long_window(CONTENT, window_log)
    assert zstandard.get_frame_parameters(raw).window_size == 1 << window_log
    assert read(frame(b"first\n") + raw + frame(b"last\n")) == (b"first\n" + CONTENT + b"last\n", None)


@pytest.mark.parametrize("window", [(31, 1), (32, 0), (41, 7)])
def test_a_longer_window_is_told_as_a_limit_and_not_as_damage(window: tuple[int, int]) -> None:
    # RFC 8878, 3.1.1.1.2: exponent and mantissa in one byte; then a last raw block of three bytes.
    raw = b"\x28\xb5\x2f\xfd\0" + bytes([(window[0] - 10) << 3 | window[1]]) + bytes([1 | 3 << 3, 0, 0]) + b"abc"
    content, damage = read(frame(CONTENT) + raw)
    assert content == CONTENT
    assert str(damage) == (
        "a zstd frame has a window of more than 2147483648 bytes, the most that can be read. This is no damage: "
        "compress the file again with a window of at most 2 GiB (--long=31)"
    )


def test_a_missing_dictionary_is_told_as_that() -> None:
    dictionary = zstandard.train_dictionary(1_000, [b"a line of text, number %d" % i for i in range(500)])
    raw = zstandard.ZstdCompressor(dict_data=dictionary).compress(b"a line of text, number 7")
    content, damage = read(frame(CONTENT) + raw)
    assert content == CONTENT
    assert str(damage).startswith(
        "a zstd frame was compressed with a dictionary, which is not in the file. This is not "
    )


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
