"""Lines in, rows out: every hostile file, and the way back to lines."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import MAX_BATCH_ROWS, Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.jsonl import Failure, LinesWriter, document_lines, read_lines, write_lines
from dolma_pipeline.io.streams import Source, decompressed
from dolma_pipeline.io.written import text_or_none


class Read:
    """All batches of some bytes, and the failures."""

    def __init__(self, raw: bytes, **options: Any) -> None:
        self.failures: list[Failure] = []
        pieces = decompressed(Source(io.BytesIO(raw)))
        options = {"path": "f.jsonl", "shard": "s/f", **options}
        self.batches = list(read_lines(pieces, report=self.failures.append, **options))

    def column(self, name: str) -> list[Any]:
        return [value for batch in self.batches for value in batch.table.column(name).to_pylist()]

    @property
    def places(self) -> list[tuple[int | None, str]]:
        return [(failure.line, failure.reason) for failure in self.failures]

    @property
    def locs(self) -> list[int]:
        return [loc for batch in self.batches for loc in batch.locs.tolist()]


def lines(*rows: Mapping[str, Any]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


NO_TEXT = "'text' is missing or null; expected a string"

HOSTILE: dict[str, list[tuple[int | None, str]]] = {
    "truncated.jsonl.gz": [(9, "truncated: the file ends inside a gzip member")],
    "truncated.jsonl.zst": [(1, "truncated: the file ends inside a zstd frame")],
    "bad_crc.jsonl.gz": [(21, "crc: a gzip member says")],
    "trailing_garbage.jsonl.gz": [(21, "garbage after the last gzip member")],
    "utf16.jsonl": [(1, "encoding: this is UTF-16; convert the file to UTF-8")],
    "invalid_json_lines.jsonl": [
        (4, "invalid JSON: "),
        (6, "invalid JSON: "),
        (8, "invalid JSON: "),
        (11, "invalid JSON: "),
    ],
    "invalid_utf8.jsonl": [(line, "encoding: not valid UTF-8") for line in (3, 5, 7, 9)],
    "missing_or_wrong_fields.jsonl": [
        (3, NO_TEXT),
        (4, NO_TEXT),
        (6, "'text' is number; expected a string"),
        (7, "'text' is array; expected a string"),
        (9, "expected a JSON object, found array"),
        (10, "expected a JSON object, found string"),
        (21, "expected a JSON object, found number"),
        (22, "expected a JSON object, found null"),
        (23, NO_TEXT),
    ],
    "nul_and_control.jsonl": [(2, "invalid JSON: "), (4, "invalid JSON: ")],
    "lone_surrogates.jsonl": [*((line, "invalid JSON: ") for line in (1, 2, 3)), (5, "encoding: ")],
    "deep_nesting.jsonl": [(line, "objects or lists more than 253 levels deep") for line in (2, 3)],
    "numbers.jsonl": [(1, "invalid JSON: "), (2, "a number beyond the range of 64-bit floats")],
}
"""Expected failures of each hostile file: (line, beginning of the reason); the others have none."""

ALSO_READ = {
    "missing_or_wrong_fields.jsonl": [None, None, "7", "x1"],
    "numbers.jsonl": ["f2"],
}
"""Ids beyond `good_ids` that are accepted: missing, null and integer ids, no source; a number that loses digits."""


def manifest(data: Path) -> Iterator[dict[str, Any]]:
    for line in (data / "hostile" / "manifest.jsonl").read_bytes().splitlines():
        row = orjson.loads(line)
        if not row["file"].endswith("/"):
            yield row


def test_every_hostile_file_gives_its_good_documents_and_names_the_bad_lines(data: Path) -> None:
    seen = set()
    for row in manifest(data):
        name = row["file"]
        raw = (data / "hostile" / name).read_bytes()
        read = Read(raw, path=name)
        wanted = row.get("alt_good_ids", row["good_ids"])
        extra = [id_ for id_ in read.column("id") if id_ not in wanted]
        assert [id_ for id_ in read.column("id") if id_ in wanted] == wanted, name
        assert extra == ALSO_READ.get(name, []), name
        expected = HOSTILE.get(name, [])
        assert len(read.failures) == len(expected), (name, read.places)
        for failure, (line, reason) in zip(read.failures, expected, strict=True):
            assert (failure.path, failure.line) == (name, line)
            assert failure.reason.startswith(reason), (name, failure)
            assert failure.byte is not None
        seen.add(name)
    assert set(HOSTILE) <= seen


def test_the_lines_that_break_the_schema_are_nine_and_the_rest_are_documents(data: Path) -> None:
    read = Read((data / "hostile" / "missing_or_wrong_fields.jsonl").read_bytes())
    assert len(read.failures) == 9
    assert len(read.column("text")) == 15
    ids = read.column("id")
    assert ids.count(None) == 2
    good = [f"h{i:03d}" for i in (0, *range(10, 20))]
    assert [id_ for id_ in ids if id_ in good] == good
    assert read.column("source")[-1] is None


def test_a_failure_points_at_the_start_of_its_line(data: Path) -> None:
    for name in ("invalid_json_lines.jsonl", "missing_or_wrong_fields.jsonl", "nul_and_control.jsonl"):
        raw = (data / "hostile" / name).read_bytes()
        starts = [0]
        for line in raw.split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)
        for failure in Read(raw).failures:
            assert failure.line is not None
            assert failure.byte == starts[failure.line - 1]


BAD = st.sampled_from(
    [
        '{"text": "SECRET"',
        '{"text": ["SECRET"]}',
        '{"text": {"SECRET": 1}}',
        '["SECRET"]',
        '"SECRET"',
        '{"text": "SECRET" "b": 1}',
        '{"text": "SECRET\\ud800"}',
        '{"text": "SECRET\x01"}',
        "SECRET",
        '{"SECRET": NaN}',
        '{"body": "SECRET"}',
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(BAD, min_size=1, max_size=5), st.booleans())
def test_a_failure_never_holds_the_text(bad: list[str], broken_utf8: bool) -> None:
    raw = "\n".join(bad).encode() + (b'\n{"text": "SECRET\xff"}' if broken_utf8 else b"")
    read = Read(raw)
    assert len(read.failures) == len(bad) + broken_utf8
    assert "SECRET" not in repr(read.failures)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """A line that is, or nearly is, a document: blanks, escapes, repeated keys, values of any type, broken bytes."""
    keys = st.sampled_from(["id", "text", "source", "added", "created", "metadata", "other", "te\\u0078t", "é", ""])
    blank = st.sampled_from(["", " ", "\t", "\r"])
    pairs = []
    for key in [*(["text"] if draw(st.booleans()) else []), *draw(st.lists(keys, max_size=5))]:
        value = draw(st.one_of(TEXTS, JSON) if key != "metadata" else JSON)
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
        text = draw(
            st.sampled_from([text] * 8 + ["1e400", "-0", "01", "NaN", "1.", '"\\ud800"', '"\\x"', "truE", "1e5", "-"])
        )
        pairs.append(f'"{key}"{draw(blank)}:{draw(blank)}{text}')
    raw = (draw(blank) + "{" + f"{draw(blank)},{draw(blank)}".join(pairs) + "}" + draw(blank)).encode()
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(raw)))
        raw = (
            raw[:at]
            + draw(st.sampled_from([b"", b"\xff", b"\x00", b'"', b"\\", b"}", b","]))
            + raw[at + draw(st.integers(0, 2)) :]
        )
    return raw


def plain(line: bytes) -> dict[str, Any] | str | None:
    """What a line gives, by orjson and the rules: columns (JSON decoded), the kind of failure, or None for a blank."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "bad" if line.strip() else None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        return "bad"
    names = ("id", "text", "source", "added", "created")
    columns = {name: text_or_none(row.pop(name, None)) for name in names}
    metadata = row.pop("metadata", None)
    return {**columns, "metadata": {} if metadata is None else metadata, "extra": row}


@settings(max_examples=300, deadline=None)
@given(st.lists(documents(), max_size=4), st.booleans())
def test_lines_are_read_as_orjson_reads_them(rows: list[bytes], final_newline: bool) -> None:
    read = Read(b"\n".join(rows) + (b"\n" if final_newline else b""))
    expected = [plain(row) for row in b"\n".join(rows).split(b"\n")]
    found = [row for batch in read.batches for row in batch.table.to_pylist()]
    for row in found:
        row["metadata"], row["extra"] = orjson.loads(row["metadata"]), orjson.loads(row["extra"])
    assert found == [one for one in expected if isinstance(one, dict)]
    assert read.locs == [i for i, one in enumerate(expected, 1) if isinstance(one, dict)]
    assert [f.line for f in read.failures] == [i for i, one in enumerate(expected, 1) if one == "bad"]


def test_a_line_that_is_too_long_is_reported_and_its_neighbours_are_read() -> None:
    raw = lines({"text": "a"}, {"text": "b" * 500}, {"text": "c"})
    read = Read(raw, max_line_bytes=100)
    assert read.column("text") == ["a", "c"]
    assert read.places == [(2, "a line of 511 bytes; at most 100 are read")]
    assert read.locs == [1, 3]


@pytest.mark.parametrize("start", [0, 3], ids=["whole", "range"])
def test_a_line_longer_than_a_block_keeps_the_count_of_bytes(start: int) -> None:
    long = b'{"text": "' + b"x" * 9_000_000 + b'"}\n'
    raw = (long if start else b"") + lines({"text": "a"}) + long + lines({"text": "b"}) + b"bad\n"
    end = raw.index(b"bad")
    pieces = (raw[i : i + 1_000_000] for i in range(max(0, start - 1), len(raw), 1_000_000))
    failures: list[Failure] = []
    options = {"path": "p", "shard": "s", "report": failures.append, "max_line_bytes": 2_000_000}
    batches = list(read_lines(pieces, start=start, end=end + 1, **options))
    assert [text for batch in batches for text in batch.strings] == ["a", "b"]
    reasons = [(failure.byte, failure.reason[:10]) for failure in failures]
    assert reasons == [(len(long) * bool(start) + len(lines({"text": "a"})), "a line of "), (end, "invalid JS")]


def test_columns_come_from_their_keys_and_everything_else_is_extra() -> None:
    row = {
        "id": "d1",
        "text": "t",
        "source": "web",
        "added": "2024",
        "created": "2020",
        "metadata": {"url": "u", "n": [1, 2.5, None]},
        "version": "v1",
        "attributes": {"a": [[0, 1, 0.5]]},
    }
    read = Read(lines(row))
    table = read.batches[0].table.to_pylist()[0]
    assert {name: table[name] for name in ("id", "text", "source", "added", "created")} == {
        name: row[name] for name in ("id", "text", "source", "added", "created")
    }
    assert json.loads(table["metadata"]) == row["metadata"]
    assert json.loads(table["extra"]) == {"version": "v1", "attributes": {"a": [[0, 1, 0.5]]}}
    bare = Read(lines({"text": "t"})).batches[0].table.to_pylist()[0]
    assert bare == {"id": None, "text": "t", "source": None, "added": None, "created": None} | {
        "metadata": "{}",
        "extra": "{}",
    }


def test_fields_name_other_keys() -> None:
    rows = [{"content": "c", "blob": 7, "text": "not this"}]
    read = Read(lines(*rows), fields={"text": "content", "id": "blob", "metadata": "about"})
    assert (read.column("text"), read.column("id")) == (["c"], ["7"])
    assert json.loads(read.column("extra")[0]) == {"text": "not this"}
    missing = Read(lines({"text": "x"}), fields={"text": "content"})
    assert missing.places == [(1, "'content' is missing or null; expected a string")]


def test_ids_that_are_no_text_are_carried_as_their_json_and_a_repeated_key_counts_last() -> None:
    read = Read(
        b'{"id": 12, "text": "a"}\n{"id": [1], "text": "b"}\n{"id": "x", "id": "y", "text": "c", "text": "d"}\n'
    )
    assert read.column("id") == ["12", "[1]", "y"]
    assert read.column("text") == ["a", "b", "d"]
    assert (text_or_none(None), text_or_none("s"), text_or_none(1.5), text_or_none({"a": 1})) == (
        None,
        "s",
        "1.5",
        '{"a":1}',
    )


METADATA_TEXTS = {
    '{"a": 1}': {"a": 1},
    ' {"a": {"b": [1, "x"]}} ': {"a": {"b": [1, "x"]}},
    "{}": {},
    "plain": "plain",
    "": "",
    "[1, 2]": "[1, 2]",
    "7": "7",
    "null": "null",
    "{not JSON}": "{not JSON}",
    '{"a": NaN}': '{"a": NaN}',
    "line\n{}": "line\n{}",
    '\n{"a": "\\u00e9"}': {"a": "é"},
    "é\t": "é\t",
}


def test_metadata_that_is_a_text_is_the_object_that_it_spells_or_itself() -> None:
    for ascii_only in (True, False):
        raw = [json.dumps({"text": "t", "metadata": text}, ensure_ascii=ascii_only) for text in METADATA_TEXTS]
        read = Read("\n".join(raw).encode())
        assert read.failures == []
        assert [orjson.loads(about) for about in read.column("metadata")] == [*METADATA_TEXTS.values()]
    escaped = b'{"text": "t", "metadata": "\\u007b\\u0022a\\u0022:1\\u007d"}'
    assert Read(escaped).column("metadata") == ['{"a":1}']
    assert Read(b'{"text": "t", "metadata": null}\n{"text": "t"}').column("metadata") == ["{}", "{}"]
    deep = json.dumps({"text": "t", "metadata": '{"a":' * 254 + "1" + "}" * 254}).encode()
    assert Read(deep).places == [(1, "objects or lists more than 253 levels deep")]


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=8),
        st.text(st.sampled_from(' \t\n{}[]":,a1\\'), max_size=8),
        JSON.map(json.dumps),
        st.dictionaries(st.text(max_size=3), JSON, max_size=2).map(lambda value: f" {json.dumps(value)}"),
    ),
    st.booleans(),
)
def test_the_kernel_and_the_parser_take_a_metadata_text_alike(text: str, ascii_only: bool) -> None:
    try:
        value = orjson.loads(text.encode())
    except ValueError:  # surrogates are not text, the rest is invalid JSON
        value = None
    line = json.dumps({"text": "t", "metadata": text}, ensure_ascii=ascii_only).encode()
    slow = line.replace(b'"text"', b'"\\u0074ext"')  # an escaped key is left to the parser
    assert slow != line
    expected = value if isinstance(value, dict) else text
    for raw in (line, slow):
        (about,) = Read(raw).column("metadata")
        assert orjson.loads(about) == expected


def test_what_goes_beyond_a_limit_is_not_called_invalid() -> None:
    read = Read(b'{"text": "t", "n": 1e999}\n{"text": "t", "n": [-1E+400]}\n{"text": "t", "n": 1e308}')
    assert read.places == [(line, "a number beyond the range of 64-bit floats") for line in (1, 2)]
    assert [orjson.loads(extra) for extra in read.column("extra")] == [{"n": 1e308}]


@pytest.mark.parametrize("depth", [1, 200, 252, 253, 254, 255, 300, 1000, 1023, 1024, 1100])
@pytest.mark.parametrize("key", ["metadata", "id", "other"])
def test_deep_nesting_is_read_and_can_be_written_or_is_refused(depth: int, key: str) -> None:
    raw = b'{"text": "t", "%s": %s}\n{"text": "next"}\n' % (key.encode(), b"[" * depth + b"]" * depth)
    read = Read(raw)
    assert read.column("text")[-1] == "next"
    assert len(read.column("text")) + len(read.failures) == 2
    assert len(read.failures) == (depth > (254 if key == "id" else 253))
    if read.failures:
        assert read.places == [(1, "objects or lists more than 253 levels deep")]
    written = b"".join(line for batch in read.batches for line in document_lines(batch))
    assert len(written.splitlines()) == len(read.column("text"))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"id": TEXTS, "text": TEXTS, "source": TEXTS, "added": TEXTS, "created": TEXTS},
            optional={"metadata": st.dictionaries(TEXTS, JSON, min_size=1, max_size=3), "zz": JSON, "text2": JSON},
        ),
        max_size=5,
    )
)
def test_what_was_read_is_written_as_it_was(rows: list[dict[str, Any]]) -> None:
    rows = [{key: value for key, value in row.items() if value is not None} for row in rows]
    read = Read(lines(*rows))
    assert read.failures == []
    written = [orjson.loads(line) for batch in read.batches for line in document_lines(batch)]
    assert written == [orjson.loads(orjson.dumps(row)) for row in rows]
    again = Read(b"".join(line for batch in read.batches for line in document_lines(batch)))
    assert [batch.table for batch in again.batches] == [batch.table for batch in read.batches]


def test_a_batch_holds_at_most_a_thousand_documents_and_16_mb() -> None:
    many = Read(lines(*({"text": str(i)} for i in range(2 * MAX_BATCH_ROWS + 1))))
    assert [len(batch) for batch in many.batches] == [1000, 1000, 1]
    assert [batch.first_row for batch in many.batches] == [0, 1000, 2000]
    assert many.batches[2].origins() == ["s/f#2000"]
    big = Read(lines(*({"text": "é" * 3_000_000} for _ in range(5)), {"text": "y" * 20_000_000}, {"text": "z"}))
    assert "".join(text[0] for batch in big.batches for text in batch.strings) == "éééééyz"
    sizes = [sum(len(text.encode()) for text in batch.strings) for batch in big.batches]
    assert all(size <= 16_000_000 or len(batch) == 1 for size, batch in zip(sizes, big.batches, strict=True))
    assert len(sizes) <= 7


def test_rows_count_documents_and_lines_count_lines() -> None:
    read = Read(b'\n{"text": "a"}\nbad\n{"text": "b"}\n')
    assert read.locs == [2, 4]
    assert read.batches[0].origins() == ["s/f#0", "s/f#1"]
    assert read.places[0][0] == 3


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_written_files_depend_on_their_lines_alone(tmp_path: Path, ending: str) -> None:
    batch = Batch.of(["one", "two 😀"])
    first, second = tmp_path / f"a{ending}", tmp_path / "deeper" / f"b{ending}"
    write_lines(first, document_lines(batch))
    write_lines(second, document_lines(batch))
    assert first.read_bytes() == second.read_bytes()
    read = Read(first.read_bytes())
    assert (read.column("text"), read.failures) == (["one", "two 😀"], [])
    write_lines(first, [])
    assert Read(first.read_bytes()).batches == []


def test_an_unknown_compression_is_an_error() -> None:
    with pytest.raises(DataError, match="no compression named 'bz2'; there are zst and gz"):
        LinesWriter(io.BytesIO(), "bz2")


def test_lines_in_many_blocks_are_counted_through() -> None:
    raw = bytearray()
    starts = []
    for i in range(30_000):
        starts.append(len(raw))
        raw += b"bad\n" if i % 7_000 == 6_999 else b'{"id": "%d", "text": "%s"}\n' % (i, b"x" * (i % 1_400))
    read = Read(bytes(raw))
    bad = [i for i in range(30_000) if i % 7_000 == 6_999]
    good = [i for i in range(30_000) if i % 7_000 != 6_999]
    assert len(raw) > 2 * 8_000_000
    assert read.column("id") == [str(i) for i in good]
    assert [len(text) for text in read.column("text")] == [i % 1_400 for i in good]
    assert read.locs == [i + 1 for i in good]
    assert [(failure.line, failure.byte) for failure in read.failures] == [(i + 1, starts[i]) for i in bad]
    assert [batch.first_row for batch in read.batches] == list(range(0, len(good), 1_000))
