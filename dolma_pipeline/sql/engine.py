"""DuckDB, locked up: the one file that imports it.

One connection a process (25 ms to make, 1 to 2 ms a question), in memory, on one thread. It cannot read
files, load extensions or see Python's variables, and its settings cannot be changed. Where DuckDB's defaults would
let a row depend on the computer, or a filter mean something else than it says, they are set:

- the time zone is UTC, so that `TIMESTAMPTZ` means the same everywhere;
- a division by zero is NULL: by default DuckDB 2.0 stops, and 1.x gave NaN, which is above every number.
"""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MAX_MEMORY_BYTES = 1_000_000_000
"""Memory of DuckDB in each process; beyond it a query fails, it does not spill to disk."""

ROWS = "_rows"
"""Name of the table that expressions are evaluated over."""

SETTINGS: dict[str, Any] = {
    "threads": 1,
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,
    "temp_directory": "",
    "error_on_division_by_zero": False,
    "ieee_floating_point_ops": False,
    "default_null_order": "nulls_last",
    "preserve_insertion_order": True,
}

SCORE = """
CREATE MACRO score(spans) AS
CASE WHEN spans IS NULL THEN NULL WHEN len(spans) = 0 THEN 0.0::FLOAT ELSE spans[1].score END
"""
"""`score(spans)`: score of the first span, 0.0 of an empty list. Dolma keeps a document's number in such a list."""


ARROW_ADVICE = "`x -> ...` is no longer SQL; write `lambda x: ...`, or `[x for x in list if ...]`"


class Function(NamedTuple):
    """What DuckDB knows of a function's name: kinds and stabilities of all that carry it, and texts of macros."""

    kinds: frozenset[str]
    stabilities: frozenset[str]
    macros: tuple[str, ...]


class Engine:
    """A locked connection. Its methods may be called from any thread; one runs at a time.

    Args:
        max_memory_bytes: DuckDB's memory limit.
    """

    def __init__(self, max_memory_bytes: int) -> None:
        import duckdb

        self.Error: type[Exception] = duckdb.Error
        self.ConversionError: type[Exception] = duckdb.ConversionException
        settings = {**SETTINGS, "memory_limit": f"{max_memory_bytes}B"}
        self._connection = duckdb.connect(":memory:", config=settings)
        for statement in ("SET TimeZone='UTC'", SCORE, "SET lock_configuration=true"):
            self._connection.execute(statement)
        self._lock = threading.Lock()

    def select(self, expressions: str, rows: pa.Table | pa.RecordBatch, *, then: str = "") -> pa.Table:
        """`SELECT expressions FROM rows then`, in the order of the rows unless `then` orders.

        Raises:
            Engine.Error: DuckDB refuses it.
        """
        with self._lock:
            self._connection.register(ROWS, rows)
            try:
                return self._connection.sql(f"SELECT {expressions} FROM {ROWS} {then}").to_arrow_table()
            finally:
                self._connection.unregister(ROWS)

    def booleans(self, expressions: str, rows: pa.Table) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Of each BOOLEAN expression: where it is TRUE and where it is NULL, bool[num_rows] each.

        NumPy and not Arrow, which takes DuckDB 1.6 times as long here.

        Raises:
            Engine.Error: DuckDB refuses it, or a value.
        """
        with self._lock:
            self._connection.register(ROWS, rows)
            try:
                answers = self._connection.execute(f"SELECT {expressions} FROM {ROWS}").fetchnumpy()
            finally:
                self._connection.unregister(ROWS)
        none = np.zeros(rows.num_rows, np.bool_)
        none.flags.writeable = False
        return [
            (column.data & ~np.ma.getmaskarray(column), np.ma.getmaskarray(column))
            if isinstance(column, np.ma.MaskedArray)
            else (column, none)
            for column in answers.values()
        ]

    def types(self, expressions: str, rows: pa.Table, *, evaluate: bool = False) -> list[str]:
        """DuckDB's types of the expressions, by binding them to these columns; with `evaluate` for every row too.

        Raises:
            Engine.Error: they do not bind, or (with `evaluate`) cannot take a value.
        """
        with self._lock:
            self._connection.register(ROWS, rows)
            try:
                done = self._connection.execute(f"SELECT {expressions} FROM {ROWS} {'' if evaluate else 'LIMIT 0'}")
                types = [str(column[1]) for column in done.description]
                done.fetchall()
                return types
            finally:
                self._connection.unregister(ROWS)

    def tree(self, query: str) -> dict[str, Any]:
        """The syntax tree of a SELECT, as `json_serialize_sql` gives it; on a syntax error its `error` is true."""
        ((text,),) = self._ask("SELECT json_serialize_sql(?)", query)
        return dict(json.loads(text))

    def trees(self, queries: Sequence[str]) -> list[dict[str, Any]]:
        """The syntax trees of many SELECTs: 1 ms and not one each."""
        rows = self._ask("SELECT json_serialize_sql(query) FROM (SELECT unnest(?) AS query)", list(queries))
        return [dict(json.loads(text)) for (text,) in rows]

    def text(self, tree: dict[str, Any]) -> str:
        """The SELECT of a syntax tree."""
        ((text,),) = self._ask("SELECT json_deserialize_sql(?::JSON)", json.dumps(tree))
        return str(text)

    @functools.cached_property
    def functions(self) -> dict[str, Function]:
        """Every function by its name."""
        rows = self._ask(
            "SELECT function_name, list(DISTINCT function_type), list(DISTINCT stability), "
            "list(DISTINCT macro_definition) FROM duckdb_functions() GROUP BY function_name"
        )
        return {
            str(name): Function(
                frozenset(kinds),
                frozenset(stability for stability in stabilities if stability),
                tuple(sorted(m for m in macros if m)),
            )
            for name, kinds, stabilities, macros in rows
        }

    def _ask(self, query: str, *parameters: str | list[str]) -> list[tuple[Any, ...]]:
        with self._lock:  # to the last row: DuckDB 2.0 takes no further question before that
            return list(self._connection.execute(query, list(parameters)).fetchall())


def first_paragraph(error: Exception) -> str:
    """DuckDB's message on one line, without the query and the arrow that it draws below."""
    text = " ".join(str(error).partition("\n\nLINE")[0].split())
    if "Deprecated lambda arrow" in text:  # its own advice is a setting, which is locked
        return ARROW_ADVICE
    return text


def engine(max_memory_bytes: int = MAX_MEMORY_BYTES) -> Engine:
    """The engine of this process; a forked child makes its own."""
    return _engine(os.getpid(), max_memory_bytes)


@functools.cache
def _engine(_process: int, max_memory_bytes: int) -> Engine:
    return Engine(max_memory_bytes)
