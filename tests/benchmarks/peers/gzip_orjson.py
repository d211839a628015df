"""The plain way to read .jsonl.gz in Python: the gzip module and orjson, every line to a dict.

Arguments: the files. The dicts of one file at a time are kept, as batches would be.
"""

from __future__ import annotations

import gzip
import sys
from typing import Any

import orjson
import timing


def read(path: str) -> list[dict[str, Any]]:
    """All lines of a file."""
    with gzip.open(path, "rb") as lines:
        return [orjson.loads(line) for line in lines]


megabytes = seconds = 0.0
num_rows = 0
for path in sys.argv[1:]:
    rows: list[dict[str, Any]] = []
    seconds += timing.cpu_seconds(lambda path=path, rows=rows: rows.extend(read(path)))
    megabytes += timing.megabytes(row["text"] for row in rows)
    num_rows += len(rows)
timing.report(megabytes, seconds, rows=num_rows)
