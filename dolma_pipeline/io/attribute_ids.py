"""Ids of attributes and of documents, compared: equal whatever their types were (`7`, `"7"`, `7.0`)."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_WHOLE = r"^(-?[0-9]+)\.0+$"
"""A whole number that was a double or decimal, such as the ids of a column with nulls that pandas wrote."""


def first_difference(ours: pa.StringArray, theirs: pa.StringArray) -> tuple[int, int | None]:
    """How many rows have an id on both sides, and the first of them whose ids differ; None if all are equal.

    Cost: one comparison of columns; as text once more where they differ.
    """
    different = pc.not_equal(ours, theirs)
    compared = len(different) - different.null_count
    if not pc.any(different).as_py():
        return compared, None
    different = pc.not_equal(*(pc.replace_substring_regex(ids, _WHOLE, r"\1") for ids in (ours, theirs)))
    return compared, int(pc.index(different, True).as_py()) if pc.any(different).as_py() else None
