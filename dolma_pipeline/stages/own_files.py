"""Files that one step of a run leaves for another. One that is gone is an error that names it, never fewer rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dolma_pipeline.errors import DataError
from dolma_pipeline.stages.context import RunContext

_UNITS_BELOW = ("attributes", "dedupe")
"""Folders of a run that hold units; its other folders are one each."""


def present(context: RunContext, path: Path) -> Path:
    """A file of the run that a step before has made.

    Raises:
        DataError: it is gone.
    """
    if not path.is_file():
        raise gone(context, path)
    return path


def gone(context: RunContext, path: Path) -> DataError:
    """The error of a file that should be there: what to delete so that it is made again."""
    parts = path.relative_to(context.path).parts
    unit = context.path.joinpath(*parts[: 2 if parts[0] in _UNITS_BELOW else 1])
    return DataError(
        f"{path}: this file of the run is gone, although the step that makes it was done. "
        f"Delete {unit} and give the same command again; then it is made anew."
    )


def read_table(
    context: RunContext, path: Path, *, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
) -> pa.Table:
    """A Parquet file of the run; all columns, or these; all rows, or those of a filter.

    Raises:
        DataError: it is gone.
    """
    try:
        return pq.read_table(path, columns=columns and list(columns), filters=filters)
    except FileNotFoundError as error:
        raise gone(context, path) from error


def read_json(context: RunContext, path: Path) -> Any:
    """A JSON file of the run.

    Raises:
        DataError: it is gone.
    """
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise gone(context, path) from error
