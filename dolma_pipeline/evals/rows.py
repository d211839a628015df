"""JSON lines of a task's or a domain's file: an object a line, each with the place that errors name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.evals.views import item_id
from dolma_pipeline.io.streams import Source, decompressed


class Row(NamedTuple):
    """An object of a file. place: `file:line`. values: its keys."""

    place: str
    values: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its own `id` (or `task_id`), else the number of its line."""
        return item_id(self.values) or self.place.rpartition(":")[2]


def read_rows(path: Path, *, key: str) -> list[Row]:
    """The rows of a file of JSON lines, plain, gzip or zstd, in order; blank lines are left out.

    Args:
        key: of the recipe or task file that names the path; errors begin with it.

    Raises:
        UsageError: no such file.
        DataError: a line that is not an object, or no lines at all; names file and line.
    """
    if not path.is_file():
        raise UsageError(f"{key}: {path}: no such file.")
    rows = []
    with open(path, "rb") as file:
        content = b"".join(decompressed(Source(file)))
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            values = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DataError(f"{place}: not JSON: {error}") from None
        if not isinstance(values, dict):
            raise DataError(f"{place}: not a JSON object: {line[:60]!r}")
        rows.append(Row(place, values))
    if not rows:
        raise DataError(f"{path}: no items. Each line of it is to be a JSON object.")
    return rows
