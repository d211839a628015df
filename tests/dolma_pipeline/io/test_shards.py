"""Which files make which shards: names, ranges, what an earlier plan decided, and files that changed."""

from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.shards import Shard, plan_shards, read_shards, shard_lines

BIG = 1 << 40


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(name: str, content: bytes = b'{"text": "a"}\n') -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content)
    return name


def names(*patterns: str, split_bytes: int = BIG) -> list[str]:
    return [shard.name for shard in plan_shards({"web": list(patterns)}, split_bytes=split_bytes)]


@pytest.mark.parametrize(
    ("file", "pattern", "name"),
    [
        ("data/2024/part-1.jsonl.gz", "data/**/*.gz", "web/2024/part-1"),
        ("data/2024/part-1.jsonl.gz", "data/2024/*", "web/part-1"),
        ("data/2024/part-1.jsonl.zst", "data/2024/part-1.jsonl.zst", "web/part-1"),
        ("deep/a/x.json", "**/x.json", "web/deep/a/x"),
        ("x.jsonl", "*.jsonl", "web/x"),
        ("x.jsonl", "./*.jsonl", "web/x"),
        ("d/UPPER.JSONL", "d/*", "web/UPPER"),
        ("d/double.ext.json.gz", "d/*", "web/double.ext"),
        ("d/no_extension", "d/*", "web/no_extension"),
        ("d/with space.ndjson", "d/*", "web/with space"),
        ("d/ünïcödé.jsonl", "d/*", "web/ünïcödé"),
        ("d/.jsonl", "d/.json*", "web/.jsonl"),
        ("d/.hidden.jsonl", "d/.h*", "web/.hidden"),
        ("d/a@b.jsonl", "d/*", "web/a@b"),
        ("d/x.gz", "d/*", "web/x"),
    ],
)
def test_a_shard_is_called_after_its_source_and_the_path_behind_the_wildcard(
    file: str, pattern: str, name: str
) -> None:
    put(file)
    (shard,) = plan_shards({"web": [pattern]}, split_bytes=BIG)
    assert (shard.name, shard.source, shard.format) == (name, "web", "jsonl")
    assert Path(paths.located([pattern], shard.path)) == Path(file)
    assert (shard.start, shard.end, shard.bytes) == (None, None, 14)


def test_every_odd_name_of_the_data_is_one_shard(data: Path) -> None:
    folder = data / "hostile" / "names"
    assert names(f"{folder}/*", f"{folder}/.h*") == [
        "web/.hidden",
        "web/UPPER",
        "web/double.ext",
        "web/no_extension",
        "web/with space",
        "web/ünïcödé",
    ]


def test_files_of_one_stem_keep_their_whole_names() -> None:
    for ending in ("jsonl", "jsonl.gz", "jsonl.zst"):
        put(f"d/ok.{ending}")
    put("d/other.jsonl")
    assert names("d/*") == ["web/ok.jsonl", "web/ok.jsonl.gz", "web/ok.jsonl.zst", "web/other"]
    assert names("d/ok.jsonl") == ["web/ok"]


def test_two_files_of_one_name_in_a_source_are_an_error() -> None:
    put("a/x.jsonl")
    put("b/x.jsonl")
    with pytest.raises(UsageError) as error:
        names("a/*", "b/*")
    assert str(error.value) == (
        "b/x.jsonl: two files of source web would be called web/x.jsonl. Put them in two sources."
    )
    assert names("*/x.jsonl") == ["web/a/x", "web/b/x"]


def test_a_file_in_two_sources_is_an_error_however_it_is_written() -> None:
    put("d/x.jsonl")
    for other in ("d/x.jsonl", "./d/*", f"{Path.cwd()}/d/x.jsonl"):
        with pytest.raises(UsageError, match=r"x\.jsonl is in two sources, web and more\. Give it to one of them\.$"):
            plan_shards({"web": ["d/*"], "more": [other]}, split_bytes=BIG)


def test_sources_are_sorted_with_their_shards_and_lists_are_followed() -> None:
    put("d/b.jsonl")
    put("d/a.jsonl")
    put("e/c.jsonl")
    put("files.txt", b"d/b.jsonl\n# d/a.jsonl\n")
    shards = plan_shards({"z": ["@files.txt"], "a": ["e/*", "d/a.jsonl"]}, split_bytes=BIG)
    assert [(shard.name, shard.path) for shard in shards] == [
        ("a/a", "a.jsonl"),
        ("a/c", "c.jsonl"),
        ("z/b", "d/b.jsonl"),
    ]
    with pytest.raises(UsageError, match=r"^d/\*\.parquet: no such file\. In d/ there is: a\.jsonl, b\.jsonl\.$"):
        names("d/*.parquet")


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 5_000), split_bytes=st.integers(1, 6_000))
def test_a_plain_file_is_cut_into_ranges_that_cover_it(size: int, split_bytes: int) -> None:
    put("d/x.jsonl", b"x" * size)
    shards = plan_shards({"web": ["d/x.jsonl"]}, split_bytes=split_bytes)
    if size <= split_bytes:
        assert [(s.name, s.start, s.end, s.bytes) for s in shards] == [("web/x", None, None, size)]
        return
    assert [shard.name for shard in shards] == [f"web/x@{i:05d}" for i in range(len(shards))]
    assert [shard.start for shard in shards] == [0, *(shard.end for shard in shards[:-1])]
    assert shards[-1].end == size
    assert all(shard.bytes == (shard.end or 0) - (shard.start or 0) <= split_bytes for shard in shards)
    assert sum(shard.bytes for shard in shards) == size


@settings(max_examples=100, deadline=None)
@given(raw=st.text(st.sampled_from("ab\n"), min_size=1, max_size=60).map(str.encode), split_bytes=st.integers(1, 60))
def test_a_range_knows_how_many_lines_start_before_it(raw: bytes, split_bytes: int) -> None:
    put("d/x.jsonl", raw)
    shards = plan_shards({"web": ["d/x.jsonl"]}, split_bytes=split_bytes)
    starts = [0, *(i + 1 for i, byte in enumerate(raw) if byte == 10)]
    for shard in shards:
        assert shard.lines_before == sum(start < (shard.start or 0) for start in starts)


def test_lines_are_counted_through_a_file_longer_than_a_piece() -> None:
    put("d/x.jsonl", b"1234567\n" * 400_000)
    shards = plan_shards({"web": ["d/*"]}, split_bytes=1_600_000)
    assert [(shard.start, shard.lines_before) for shard in shards] == [(0, 0), (1_600_000, 200_000)]


def test_a_file_that_becomes_shorter_while_it_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    put("d/x.jsonl", b"x\n" * 100)
    monkeypatch.setattr(paths.Found, "size", 300)
    with pytest.raises(DataError, match=r"^d/x\.jsonl: became shorter while it was read; 225 bytes were expected\.$"):
        plan_shards({"web": ["d/*"]}, split_bytes=80)


def test_compressed_files_are_one_shard_by_their_content() -> None:
    lines = b'{"text": "a"}\n' * 1_000
    put("d/a.jsonl", gzip.compress(lines, 0))
    put("d/b.jsonl", zstandard.ZstdCompressor(level=1).compress(lines))
    put("d/c.jsonl", b"\x50\x2a\x4d\x18\x01\0\0\0." + zstandard.compress(lines))
    put("d/d.jsonl.gz", lines)
    found = names("d/*", split_bytes=20)
    assert [name for name in found if "@" not in name] == ["web/a", "web/b", "web/c"]
    assert len([name for name in found if name.startswith("web/d@")]) == 700


def test_utf16_is_one_shard_since_no_range_of_it_can_be_read() -> None:
    put("d/x.jsonl", '{"text": "a"}\n'.encode("utf-16") * 50)
    assert names("d/*", split_bytes=20) == ["web/x"]


def test_parquet_is_cut_between_row_groups() -> None:
    table = pa.table({"text": [f"text number {i}" for i in range(100)]})
    Path("d").mkdir()
    pq.write_table(table, "d/x.PARQUET", row_group_size=10, compression="none", use_dictionary=False)
    size = Path("d/x.PARQUET").stat().st_size
    groups = [pq.read_metadata("d/x.PARQUET").row_group(i).total_byte_size for i in range(10)]
    shards = plan_shards({"web": ["d/*"]}, split_bytes=2 * max(groups))
    assert [(s.name, s.format, s.start, s.end) for s in shards] == [
        (f"web/x@{i:05d}", "parquet", 2 * i, 2 * i + 2) for i in range(5)
    ]
    assert [shard.bytes for shard in shards] == [sum(groups[2 * i : 2 * i + 2]) for i in range(5)]
    assert len(names("d/*", split_bytes=1)) == 10
    assert names("d/*", split_bytes=size) == ["web/x"]
    put("d/bad.parquet", b"no parquet")
    assert plan_shards({"web": ["d/bad.parquet"]}, split_bytes=1) == [
        Shard("web/bad", "web", "bad.parquet", "parquet", bytes=10, file_bytes=10)
    ]  # its reading says what is wrong


def test_known_shards_are_obeyed_and_new_files_are_added() -> None:
    put("d/a.jsonl", b"x" * 100)
    put("d/b.jsonl", b"x" * 10)
    known = plan_shards({"web": ["d/*"]}, split_bytes=30)
    assert [shard.name for shard in known] == [*(f"web/a@{i:05d}" for i in range(4)), "web/b"]
    assert plan_shards({"web": ["d/*"]}, split_bytes=7, known=known) == known
    assert plan_shards({"web": [f"{Path.cwd()}/d/*"]}, split_bytes=BIG, known=known) == known
    put("d/c.jsonl")
    put("d/b.jsonl.gz", gzip.compress(b""))
    put("d/a.jsonl.gz", gzip.compress(b""))
    grown = plan_shards({"web": ["d/*"]}, split_bytes=BIG, known=known)
    assert set(known) < set(grown)
    assert [shard.name for shard in grown if shard not in known] == ["web/a.jsonl.gz", "web/b.jsonl.gz", "web/c"]


def test_a_name_with_an_at_sign_is_never_given_twice() -> None:
    put("d/a@b.jsonl")
    known = plan_shards({"web": ["d/*"]}, split_bytes=BIG)
    put("d/a@b.jsonl.gz", gzip.compress(b""))
    put("d/a.jsonl")
    grown = plan_shards({"web": ["d/*"]}, split_bytes=BIG, known=known)
    assert [shard.name for shard in grown] == ["web/a", "web/a@b", "web/a@b.jsonl.gz"]
    put("e/x.jsonl", b"x" * 100)
    put("e/x@00001.jsonl")
    words = r"^x\.jsonl and x@00001\.jsonl: two shards would be called web/x@00001\. Rename one of the files\.$"
    with pytest.raises(UsageError, match=words):
        names("e/*", split_bytes=50)


@pytest.mark.parametrize("split_bytes", [BIG, 30], ids=["whole", "ranges"])
def test_an_input_that_changed_or_is_gone_stops_the_run(split_bytes: int) -> None:
    put("d/a.jsonl", b"x" * 100)
    put("d/b.jsonl")
    known = plan_shards({"web": ["d/*"]}, split_bytes=split_bytes)
    put("d/a.jsonl", b"x" * 101)
    with pytest.raises(DataError) as error:
        plan_shards({"web": ["d/*"]}, split_bytes=split_bytes, known=known)
    assert str(error.value) == (
        "d/a.jsonl: 101 bytes now, 100 when the run began. Put the old file back, or run with --redo."
    )
    Path("d/a.jsonl").unlink()
    with pytest.raises(
        UsageError,
        match=r"^this run reads a\.jsonl as source 'web', and no pattern of this recipe finds it",
    ):
        plan_shards({"web": ["d/*"]}, split_bytes=split_bytes, known=known)


def test_a_parquet_file_in_ranges_that_changed_stops_the_run() -> None:
    Path("d").mkdir()
    pq.write_table(pa.table({"text": [str(i) for i in range(100)]}), "d/x.parquet", row_group_size=10)
    known = plan_shards({"web": ["d/*"]}, split_bytes=100)
    assert len(known) > 1
    assert plan_shards({"web": ["d/*"]}, split_bytes=100, known=known) == known
    pq.write_table(pa.table({"text": [str(i) for i in range(120)]}), "d/x.parquet", row_group_size=10)
    with pytest.raises(DataError, match=r"^d/x\.parquet: \d+ bytes now, \d+ when the run began\."):
        plan_shards({"web": ["d/*"]}, split_bytes=100, known=known)


def test_the_list_of_shards_survives_and_its_bytes_do_not_depend_on_the_order(tmp_path: Path) -> None:
    shards = [
        Shard("web/b@00001", "web", "data/b.jsonl", "jsonl", 10, 20, 10, 3),
        Shard("code/ü", "code", "https://host/ü.parquet", "parquet", bytes=0),
        Shard("web/b@00000", "web", "data/b.jsonl", "jsonl", 0, 10, 10),
    ]
    written = shard_lines(shards)
    assert shard_lines(shards[::-1]) == written
    assert read_shards(written, "shards.jsonl") == [shards[1], shards[2], shards[0]]
    assert orjson.loads(written.splitlines()[1]) == {
        "name": "web/b@00000",
        "source": "web",
        "path": "data/b.jsonl",
        "format": "jsonl",
        "start": 0,
        "end": 10,
        "bytes": 10,
        "lines_before": 0,
        "file_bytes": 0,
    }
