"""Parts of attribute files: places of rows, and the rows before a wrong one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.io.attribute_part import BadRowError, Part, parts_until_fault
from dolma_pipeline.io.attribute_values import BadValueError

SCHEMA = pa.schema([("n", pa.int64())])
NOTHING = Part(SCHEMA.empty_table(), None, 100, None)


def test_a_row_is_named_by_file_line_row_and_id() -> None:
    table = pa.table({"n": [1, 2, 3]})
    ids = pa.array(["a", None, "c"])
    lines = np.array([7, 9, 10])
    path = Path("x/a.jsonl")
    assert Part(table, None, 5, None).place(path, 1) == "x/a.jsonl: row 6"
    assert Part(table, None, 5, None).place(path, 1, "d") == "x/a.jsonl: row 6 (id 'd')"
    whole = Part(table, ids, 5, lines)
    assert whole.place(path, 0, "d") == "x/a.jsonl:7: row 5 (id 'a')"
    assert whole.place(path, 1, "d") == "x/a.jsonl:9: row 6 (id 'd')"
    some = whole.slice(1, 2)
    assert some.table.column("n").to_pylist() == [2, 3]
    assert some.place(path, 1) == "x/a.jsonl:10: row 7 (id 'c')"


@given(st.integers(0, 9), st.lists(st.integers(0, 8), max_size=3))
def test_rows_before_the_first_wrong_one_are_given_out(num_rows: int, wrong: list[int]) -> None:
    """Faults of several columns are met in any order; the first row with one counts."""
    wrong = [row for row in wrong if row < num_rows]

    def convert(count: int) -> pa.Table:
        for row in wrong:
            if row < count:
                raise BadValueError(row, f"fault {row}")
        return pa.table({"n": range(count)}, schema=SCHEMA)

    found: list[int] = []
    parts = parts_until_fault(NOTHING, num_rows, convert)
    if wrong:
        with pytest.raises(BadRowError, match=rf"^row {100 + min(wrong)}: fault {min(wrong)}$"):
            for part in parts:
                found += part.table.column("n").to_pylist()
    else:
        for part in parts:
            found += part.table.column("n").to_pylist()
    assert found == [*range(min(wrong, default=num_rows))]
