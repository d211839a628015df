"""Attribute lines, Dolma's and others': what is read, and what is told by file, line, id and field."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.io.attribute_lines import PART_ROWS, SHAPE, Blocks, lines_parts, lines_schema, whole_blocks
from dolma_pipeline.io.attribute_part import BadRowError


def write(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows))
    return path


def line(number: int, **attributes: Any) -> dict[str, Any]:
    return {"id": f"i{number}", "attributes": attributes, "source": "s"}


def parts(path: Path, schema: pa.Schema | None = None) -> list[Any]:
    return [*lines_parts(path, schema or lines_schema(path), Blocks(0, 0, whole_blocks(path)), None)]


def test_wide_numbers_doubles_and_spans_without_a_score(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        line(0, e__t__n=[[0.0, 5.0, 0.25]]),
        line(1, e__t__n=[[0, 5, 2**60], [1, 2]]),
        line(2, e__t__n=[[0, 5, True], [0, 5, None]]),
        line(3, e__t__n=None),
        line(4),
    )
    (part,) = parts(path)
    rows = [row["e"]["t__n"] for row in part.table.to_pylist()]
    assert [None if r is None else [tuple(s.values()) for s in r] for r in rows] == [
        [(0, 5, 0.25)],
        [(0, 5, float(2**60)), (1, 2, 1.0)],
        [(0, 5, 1.0), (0, 5, None)],
        None,
        [],
    ]
    assert part.ids.to_pylist() == ["i0", "i1", "i2", "i3", "i4"]


def test_ids_of_any_json_become_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *({"id": id_, "attributes": {"e__n": []}} for id_ in (7, "7", None, 7.5, True)))
    assert parts(path)[0].ids.to_pylist() == ["7", "7", None, "7.5", "true"]
    path = write(tmp_path / "b.jsonl", {"attributes": {"e__n": []}})
    assert parts(path)[0].ids.to_pylist() == [None]


def test_blank_lines_are_no_rows_and_are_counted_as_lines(tmp_path: Path) -> None:
    rows = [line(n, e__n=[[0, n, 1]]) for n in range(PART_ROWS + 5)]
    path = write(tmp_path / "a.jsonl", b"", *rows[:3], b"  ", b"\t", *rows[3:])
    first, second = parts(path)
    assert (first.row, second.row) == (0, PART_ROWS)
    assert first.lines.tolist() == [2, 3, 4, *range(7, PART_ROWS + 4)]
    assert second.lines.tolist() == [*range(PART_ROWS + 4, PART_ROWS + 9)]
    assert [row["e"]["n"][0]["end"] for row in second.table.to_pylist()] == [*range(PART_ROWS, PART_ROWS + 5)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"{not json", "invalid JSON: "),
        (b"[1]", "expected a JSON object, found an array. "),
        (b'"a"', "expected a JSON object, found a string. "),
        (b"NaN", "invalid JSON: "),
        (b"7", "expected a JSON object, found a number. "),
        (b'{"id": "a"}', "expected an object 'attributes', there are: id. "),
        (b"{}", "expected an object 'attributes', there are: no keys. "),
        (b'{"id": "a", "attributes": null}', "expected an object 'attributes', found null. "),
        (b'{"id": "a", "attributes": [1]}', "expected an object 'attributes', found an array. "),
    ],
)
def test_a_line_that_is_no_attribute_line_is_named(tmp_path: Path, text: bytes, what: str) -> None:
    path = write(tmp_path / "a.jsonl", line(0, e__n=[]), b"", text)
    for read in (lines_schema, lambda path: parts(path, pa.schema([]))):
        with pytest.raises(DataError) as error:
            read(path)
        assert str(error.value).startswith(f"{path}:3: {what}")
        assert str(error.value).endswith(SHAPE)


def test_a_wrong_span_is_named_after_the_rows_before_it(tmp_path: Path) -> None:
    rows = [line(n, e__a=[[0, 1, 1]], e__b=[[0, 1, 1]]) for n in range(PART_ROWS + 100)]
    rows[PART_ROWS + 50]["attributes"]["e__a"] = [[0, 1, 1], [0, 1, "high"]]
    rows[PART_ROWS + 40]["attributes"]["e__b"] = [[9, 1, 1]]
    path = write(tmp_path / "a.jsonl", *rows[:10], b"", *rows[10:])
    found = 0
    with pytest.raises(BadRowError) as error:
        for part in lines_parts(path, lines_schema(path), Blocks(0, 0, whole_blocks(path)), None):
            found += part.table.num_rows
    row = PART_ROWS + 40
    assert found == row
    assert error.value.part.place(path, error.value.index) == f"{path}:{row + 2}: row {row} (id 'i{row}')"
    assert error.value.what == "e.b: span [9, 1]: 0 <= start <= end must hold"
    only = pa.schema([("e", pa.struct([lines_schema(path).field("e").type.field("a")]))])
    with pytest.raises(BadRowError, match=r'e\.a: span .0,1,"high".: the score must be a number, true, false or null'):
        parts(path, only)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + orjson.dumps(line(0, e__n=[[0, 1]])), line(1))
    assert [len(row["e"]["n"]) for row in parts(path)[0].table.to_pylist()] == [1, 0]


def test_two_names_of_one_attribute_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line(0, bff=[[0, 1]]), line(1, bff=[], bff__bff=[]))
    with pytest.raises(
        DataError, match=rf"^{path}:2: bff and bff__bff mean the same attribute\. Rename one of them\.$"
    ):
        parts(path)


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"attributes": {}}\n' * 999)[:-9])
    with pytest.raises(DataError, match=rf"^{path}: truncated: the file ends inside a gzip member$"):
        lines_schema(path)
