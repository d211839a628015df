"""Ids of attributes and documents are held against each other, column by column."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.io.arrow_values import id_column
from dolma_pipeline.io.attribute_ids import first_difference

ID = st.none() | st.sampled_from(["a", "b", "7", "7.0", ""])


@given(st.lists(st.tuples(ID, ID), max_size=8))
def test_the_first_row_with_two_ids_that_differ(rows: list[tuple[str | None, str | None]]) -> None:
    ours, theirs = (pa.array([row[side] for row in rows], pa.string()) for side in (0, 1))

    def same(one: str | None, other: str | None) -> bool:
        return one is None or other is None or one.removesuffix(".0") == other.removesuffix(".0")

    expected = next((i for i, row in enumerate(rows) if not same(*row)), None)
    assert first_difference(ours, theirs) == (sum(None not in row for row in rows), expected)


@pytest.mark.parametrize(
    ("ids", "texts"),
    [
        (pa.array([7, -8], pa.int8()), ["7", "-8"]),
        (pa.array([7, 2**64 - 1], pa.uint64()), ["7", "18446744073709551615"]),
        (pa.array([7.0, 8.0]), ["7", "8.0"]),
        (pa.array([Decimal(7), Decimal(-8)], pa.decimal128(38, 0)), ["7", "-8"]),
        (pa.array([Decimal("7.00")], pa.decimal128(9, 2)), ["7"]),
        (pa.array([uuid.UUID(int=5).bytes], pa.uuid()), ["00000000-0000-0000-0000-000000000005"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array(["a"], pa.string_view()), ["a"]),
        (pa.array([b"a"]), ["a"]),
    ],
    ids=str,
)
def test_ids_of_every_type_equal_their_text(ids: Any, texts: list[str]) -> None:
    assert first_difference(id_column(ids), pa.array(texts)) == (len(texts), None)
    assert first_difference(id_column(ids), pa.array([*texts[:-1], "other"])) == (len(texts), len(texts) - 1)
