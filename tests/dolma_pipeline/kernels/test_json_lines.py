"""The kernel and orjson alone give the same rows, values and failures, on hostile, real and random lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline import documents
from dolma_pipeline.documents import MAX_BATCH_BYTES, MAX_BATCH_ROWS
from dolma_pipeline.io import jsonl
from dolma_pipeline.io.jsonl import Failure, parse_line, read_lines
from dolma_pipeline.io.streams import Damaged, Source, decompressed
from dolma_pipeline.kernels import json_lines
from dolma_pipeline.kernels.json_lines import COLUMNS, DONE, MAX_OTHERS, SLOW, LineColumns

NAMES = {name: name for name in COLUMNS[:6]}


class Outcome(NamedTuple):
    """Rows (values of COLUMNS, the JSON ones decoded), their lines, and (line, byte, reason) of each failure."""

    rows: list[tuple[Any, ...]]
    locs: list[int]
    failures: list[tuple[int | None, int | None, str]]
    batch_rows: list[int]


def decoded(row: Sequence[str | None]) -> tuple[Any, ...]:
    return (*row[:5], *(orjson.loads(value or "") for value in row[5:]))


def by_kernel(raw: bytes, names: dict[str, str] = NAMES, *, piece: int = 1 << 20, most: int = 1 << 30) -> Outcome:
    failures: list[Failure] = []
    pieces = (raw[i : i + piece] for i in range(0, len(raw), piece))
    options: dict[str, Any] = {"path": "p", "shard": "s", "report": failures.append, "fields": names}
    batches = list(read_lines(pieces, max_line_bytes=most, **options))
    for batch in batches:
        batch.table.validate(full=True)
    rows = [decoded(row) for batch in batches for row in zip(*batch.table.to_pydict().values(), strict=True)]
    locs = [loc for batch in batches for loc in batch.locs.tolist()]
    return Outcome(rows, locs, [(f.line, f.byte, f.reason) for f in failures], [len(batch) for batch in batches])


def by_orjson(raw: bytes, names: dict[str, str] = NAMES, *, most: int = 1 << 30) -> Outcome:
    """Every line by orjson, in plain Python."""
    found = Outcome([], [], [], [])
    byte, held = 0, 0
    for number, line in enumerate(raw.split(b"\n"), 1):
        content = line.removeprefix(b"\xef\xbb\xbf") if byte == 0 else line
        values = parse_line(content, names, most) if byte < len(raw) else None
        if isinstance(values, str):
            found.failures.append((number, byte, values))
        elif values is not None:
            found.rows.append(decoded(values))
            found.locs.append(number)
            if not found.batch_rows or held + len(content) > MAX_BATCH_BYTES or found.batch_rows[-1] == MAX_BATCH_ROWS:
                found.batch_rows.append(0)
                held = 0
            found.batch_rows[-1] += 1
            held += len(content)
        byte += len(line) + 1
    return found


def same(raw: bytes, names: dict[str, str] = NAMES, **options: int) -> Outcome:
    fast = by_kernel(raw, names, **options)
    slow = by_orjson(raw, names, most=options.get("most", 1 << 30))
    assert repr(fast) == repr(slow)  # as text: NaN-free, and -0.0 is not 0
    return fast


def is_fast(line: bytes, names: dict[str, str] = NAMES) -> bool:
    """Whether the kernel takes the line by itself."""
    columns = LineColumns([*names.values()], max_rows=10, max_bytes=1 << 30, max_line_bytes=1 << 30)
    block = np.frombuffer(line, np.uint8)
    status, _ = columns.read(block, 0, len(line))
    assert status in (DONE, SLOW)
    return bool(status == DONE)


def test_columns_are_those_of_the_data_model() -> None:
    assert COLUMNS == documents.COLUMNS


TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\/\b\f\n\r\t\0aé中😀'), max_size=90)
NUMBERS = st.one_of(st.integers(-(10**25), 10**25), st.floats(allow_nan=False, allow_infinity=False))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
KEYS = st.sampled_from([*COLUMNS, "zz", "ü", 'q"']) | TEXTS
STRINGS = ("id", "source", "added", "created", "metadata")


@st.composite
def good_lines(draw: st.DrawFn) -> bytes:
    """An object as some program might write it."""
    row: dict[str, Any] = {"text": draw(TEXTS)}
    for name in draw(st.lists(st.sampled_from(STRINGS), unique=True)):
        row[name] = draw(TEXTS | JSON) if name == "metadata" or draw(st.booleans()) else draw(TEXTS)
    row |= draw(st.dictionaries(KEYS, JSON, max_size=3))
    keys = draw(st.permutations(list(row)))
    blank = st.sampled_from(["", "", " ", "\t", "\r", "  "])
    separators = (draw(blank) + "," + draw(blank), draw(blank) + ":" + draw(blank))
    line = json.dumps({k: row[k] for k in keys}, ensure_ascii=draw(st.booleans()), separators=separators)
    return (draw(blank) + line + draw(blank)).encode()


@st.composite
def bad_lines(draw: st.DrawFn) -> bytes:
    """A line to which something happened."""
    line = bytearray(draw(good_lines()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(line)))
        what = draw(st.sampled_from(["cut", "delete", "insert", "change", "double"]))
        if what == "cut":
            del line[at:]
        elif what == "delete":
            del line[at : at + 1]
        elif what == "double":
            line[at:at] = line[at : at + draw(st.integers(1, 40))]
        else:
            new = draw(st.sampled_from([*b'"\\{}[],: 0-.eEn/u\x00\x1f\x7f\x80\xc0\xed\xff']) | st.integers(0, 255))
            line[at : at + (what == "change")] = bytes([new])
    return bytes(line).replace(b"\n", b" ")


ODD = st.sampled_from(
    [
        rb'{"text": "\ud83d\ude00 \uD83D\uDE00 \u0000\u00e9\u20ac\/"}',
        rb'{"text": "\ud83d"}',
        rb'{"text": "\ude00\ud83d"}',
        rb'{"text": "\ud83d\ud83d\ude00"}',
        rb'{"text": "a", "metadata": {"k\ud800": 1}}',
        rb'{"text": "a", "metadata": ["\ud83d\u0041"]}',
        rb'{"text": "\u12G4"}',
        rb'{"text": "\x"}',
        rb'{"te\u0078t": "by an escape"}',
        rb'{"text": "a", "text": "b", "zz": 1, "zz": 2}',
        rb'{"text": "a", "zz": 1, "zz": 2}',
        rb'{"text": "a", "metadata": {"n": [1e400]}}',
        rb'{"text": "a", "metadata": {"n": [1e-9, 1E+99, -0.0, -0, 12345678901234567890123]}}',
        rb'{"text": "a", "metadata": [01]}',
        rb'{"text": "a", "metadata": [1.]}',
        rb'{"text": "a", "metadata": [+1, .5]}',
        rb'{"text": "a", "metadata": [NaN]}',
        rb'{"text": "a", "metadata": [1,]}',
        rb'{"text": "a", "metadata": {"b": 1,}}',
        rb'{"text": "a", "metadata": {,}}',
        rb'{"text": "a", "metadata": [1 2]}',
        rb'{"text": "a", "metadata": {"a" 1}}',
        rb'{"text": "a", "metadata": {1: 1}}',
        rb'{"text": "a", "metadata": [1}}',
        rb'{"text": "a", "metadata": tru}',
        rb'{"text": "a", "metadata": nulll}',
        rb'{"text": "a", "metadata": "a string"}',
        rb'{"text": "a", "metadata": null, "id": null, "zz": null}',
        rb'{"text": "a",}',
        rb'{"text": "a"} x',
        rb'{"text": "a"}}',
        rb'{"text": "a" "id": "b"}',
        rb'{"text" "a"}',
        rb'{"id": "a"}',
        rb'{"text": null}',
        rb'{"text": 1}',
        rb'{"text": "a", "id": 7}',
        rb"{}",
        rb"{ }",
        rb"[]",
        rb'"text"',
        rb"",
        b" \t\r ",
        b"\x0b",
        b"\x0c ",
        b"\x00",
        b'{"text": "a\tb"}',
        b'{"text": "\xed\xa0\x80"}',
        b'{"text": "\xf4\x90\x80\x80"}',
        b'{"text": "\xc0\x80 \xe0\x80\x80"}',
        b'{"text": "ok", "zz\xff": 1}',
        b'{"text": "cut \xf0\x9f\x98',
    ]
)
LINES = st.one_of(
    good_lines(), good_lines(), bad_lines(), ODD, st.binary(max_size=30).map(lambda b: b.replace(b"\n", b""))
)
ENDINGS = st.sampled_from([b"\n", b"\r\n"])


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, max_size=6), ENDINGS, st.booleans(), st.integers(1, 200))
def test_the_kernel_and_orjson_agree(lines: list[bytes], ending: bytes, ends: bool, piece: int) -> None:
    raw = ending.join(lines) + (ending if ends else b"")
    if raw[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        same(raw, piece=piece)


@settings(max_examples=100, deadline=None)
@given(bad_lines(), st.integers(0, 200))
def test_they_agree_at_every_distance_from_the_end_of_a_block(line: bytes, padding: int) -> None:
    same(line)
    same(line + b"\n" + b" " * padding)


PLAIN_KEYS = st.text("abcxyzé中_", max_size=5)
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**18).map(lambda n: n / 1000), st.integers(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries({"text": TEXTS}, optional=dict.fromkeys(("id", "source", "added"), TEXTS | st.none())),
    st.dictionaries(PLAIN_KEYS, PLAIN, max_size=4),
    st.booleans(),
)
def test_usual_lines_are_read_by_the_kernel_alone(row: dict[str, Any], others: dict[str, Any], ascii: bool) -> None:
    row = {key: value for key, value in others.items() if not ascii or key.isascii()} | {"metadata": others} | row
    line = json.dumps(row, ensure_ascii=ascii).encode()
    assert is_fast(b" \t" + line + b" \r")
    assert same(line).failures == []


@pytest.mark.parametrize("size", [0, 1, 62, 63, 64, 65, 127, 128, 129, 130, 1000, 40_000])
@pytest.mark.parametrize("unit", ["a", "\n", '"', "\\", "é", "中", "😀", "abc\n", "\0", '\\\\\n"x'])
@pytest.mark.parametrize("ascii", [True, False], ids=["escaped", "raw"])
def test_strings_of_every_length_come_back(unit: str, size: int, ascii: bool) -> None:
    text = unit * size
    lines = [
        json.dumps({"id": "i", "text": text[cut:], "metadata": {"k": text[:cut]}, "zz": text}, ensure_ascii=ascii)
        for cut in (0, 1, 2, 3)
    ]
    raw = "\n".join(lines).encode()
    assert [row[1] for row in same(raw).rows] == [text[cut:] for cut in (0, 1, 2, 3)]
    assert all(is_fast(line.encode()) for line in lines)


def test_each_hostile_file_gives_the_same(data: Path) -> None:
    names = sorted(path for path in (data / "hostile").rglob("*") if path.is_file() and "jsonl" in path.name.lower())
    assert len(names) > 25
    for path in names:
        raw = content(path)
        if raw[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            same(raw)


def content(path: Path) -> bytes:
    """What can be decompressed of a file."""
    pieces = []
    with path.open("rb") as file:
        try:
            for piece in decompressed(Source(file)):
                pieces.append(piece)  # what came before a damage is kept
        except Damaged:
            pass
    return b"".join(pieces)


def test_each_real_file_gives_the_same_and_asks_orjson_for_no_line(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted((data / "documents").rglob("*.jsonl.*"))
    assert len(files) == 16
    for path in files:
        raw = content(path)
        expected = by_orjson(raw)
        with monkeypatch.context() as patch:
            patch.setattr(jsonl, "parse_line", lambda *_: pytest.fail("a slow line"))
            assert by_kernel(raw) == expected


def test_slow_lines_stand_between_fast_ones_in_one_batch() -> None:
    lines = [
        b'{"text": "a", "id": "1", "zz": 1}',
        b'{"text": "b", "id": 2.5, "source": "s"}',
        b'{"text": "c", "metadata": {"k": "v"}}',
        b'{"text": 1}',
        b'{"t\\u0065xt": "d", "metadata": {"k" : 1.50}}',
    ]
    assert [is_fast(line) for line in lines] == [True, False, True, False, False]
    found = same(b"\n".join(lines * 3))
    assert [row[1] for row in found.rows] == ["a", "b", "c", "d"] * 3
    assert [row[0] for row in found.rows][:4] == ["1", "2.5", None, None]
    assert found.batch_rows == [12]


@pytest.mark.parametrize("id_", ["0", "7", "-7", "120", "999999999999999999", "-999999999999999999"])
def test_plain_integers_are_read_by_the_kernel(id_: str) -> None:
    line = f'{{"id": {id_}, "text": "a", "source":{id_}}}'.encode()
    assert is_fast(line)
    assert [row[:3] for row in same(line).rows] == [(id_, "a", id_)]


@pytest.mark.parametrize(
    "id_", ["-0", "01", "00", "-01", "1.0", "1e5", "1E5", "-", "", "9" * 19, "9" * 25, "true", "[]", "+1", "1x"]
)
def test_other_values_of_ids_are_left_to_orjson(id_: str) -> None:
    line = f'{{"id": {id_}, "text": "a"}}'.encode()
    assert not is_fast(line)
    same(line)


def test_other_values_stand_as_they_were_written() -> None:
    columns = LineColumns(COLUMNS[:6], max_rows=9, max_bytes=999, max_line_bytes=999)
    block = np.frombuffer(b'{"a" : [1, 2.50], "text": "", "metadata": {"k":\t"\\u00e9"}  ,"b":null}', np.uint8)
    assert columns.read(block, 0, len(block))[0] == DONE
    arrays, locs = columns.take()
    assert [array.to_pylist() for array in arrays] == [
        [None],
        [""],
        [None],
        [None],
        [None],
        ['{"k":\t"\\u00e9"}'],
        ['{"a" : [1, 2.50],"b":null}'],
    ]
    assert locs.tolist() == [1]
    assert len(columns) == 0
    assert columns.take()[0][1].to_pylist() == []


@pytest.mark.parametrize(
    "names",
    [
        NAMES | {"text": "content", "id": "blob"},
        NAMES | {"text": "id"},
        NAMES | {"metadata": "text"},
        NAMES | {"source": "ü", "added": ""},
        NAMES | {"text": 'a"b', "id": "a\\b"},
    ],
    ids=["renamed", "text and id", "text and metadata", "not ASCII", "escaped"],
)
def test_renamed_keys(names: dict[str, str]) -> None:
    keys = ["content", "text", "id", "blob", "ü", "", 'a"b', "a\\b", "zz"]
    rows = [{key: f"<{key}>" for key in keys}, dict.fromkeys(keys, "x"), {"id": "t"}, {"text": "t", "content": "c"}]
    assert same(b"\n".join(orjson.dumps(row) for row in rows), names).rows


def test_many_other_keys_and_much_depth_are_left_to_orjson() -> None:
    def line(keys: int, depth: int) -> bytes:
        others = "".join(f', "k{i}": {i}' for i in range(keys))
        return f'{{"text": "a"{others}, "metadata": {"[" * depth}{"]" * depth}}}'.encode()

    assert is_fast(line(MAX_OTHERS, 60))
    assert not is_fast(line(MAX_OTHERS + 1, 60))
    assert not is_fast(line(MAX_OTHERS, 61))
    raw = b"\n".join([line(0, 1), line(MAX_OTHERS + 9, 1), line(1, 253), line(1, 254), line(1, 1100)])
    assert len(same(raw).failures) == 2


def test_batches_end_at_the_same_rows_by_either_way() -> None:
    fast, slow = b'{"text": "%s"}', b'{"text": "%s", "id": 1.5}'
    sizes = (6_000_000, 6_000_000, 6_000_000, 20_000_000, 1, 15_000_000, 999_980, 999_980)
    for pattern in ([fast, slow], [slow, fast], [slow], [fast]):
        lines = [pattern[i % len(pattern)] % (b"x" * size) for i, size in enumerate(sizes)]
        found = same(b"\n".join(lines))
        assert found.batch_rows == [2, 1, 1, 2, 2]
    assert same(b"\n".join([fast % b"a", slow % b"b"] * 1500)).batch_rows == [1000, 1000, 1000]


@pytest.mark.parametrize("most", [20, 30])
def test_a_line_that_is_too_long_is_none(most: int) -> None:
    raw = b'{"text": "a"}\n{"text": "bbbbbbbbb"}\n                          \n{"text": "c"}'
    found = same(raw, most=most, piece=10_000)
    assert [row[1] for row in found.rows] == (["a", "c"] if most == 20 else ["a", "bbbbbbbbb", "c"])
    assert [line for line, _, _ in found.failures] == ([2, 3] if most == 20 else [])


def test_a_long_line_makes_its_column_longer() -> None:
    raw = orjson.dumps({"text": "a" * 3_000_000, "metadata": {"k": "b" * 2_000_000}, "id": "c" * 1_000_000, "zz": 1})
    block = np.frombuffer(raw, np.uint8)
    columns = LineColumns(COLUMNS[:6], max_rows=9, max_bytes=999, max_line_bytes=1 << 30)
    assert columns.read(block, 0, len(block)) == (DONE, len(block) + 1)
    assert [len(array[0].as_py() or "") for array in columns.take()[0]] == [1_000_000, 3_000_000, 0, 0, 0, 2_000_008, 8]


def test_warm_compiles_what_reading_uses() -> None:
    json_lines.warm()
    before = len(json_lines._read_lines.signatures)
    same(b'{"text": "a", "id": []}\n')
    assert len(json_lines._read_lines.signatures) == before == 1
