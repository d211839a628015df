"""JSON that manifests are made of: its one form, its hash, differences, and counts that add up."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import orjson

SHAPING_LIBRARIES = ("duckdb", "numpy", "pyarrow", "tokenizers", "zstandard")
"""Libraries whose version can change the bytes that are written."""


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no blanks: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def digest(value: object) -> str:
    """`sha256:` and the hex hash of a JSON value's canonical form."""
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()


def pretty(value: object) -> bytes:
    """JSON for people: sorted keys, two blanks, a final newline."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def differences(old: Any, new: Any, key: str = "") -> list[str]:
    """`key: old -> new` for each difference of two nested values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for name in sorted({*old, *new}):
            place = f"{key}.{name}" if key else str(name)
            if name not in old:
                lines.append(f"{place}: (nothing) -> {new[name]!r}")
            elif name not in new:
                lines.append(f"{place}: {old[name]!r} -> (nothing)")
            else:
                lines += differences(old[name], new[name], place)
        return lines
    return [] if old == new else [f"{key}: {old!r} -> {new!r}"]


class Counts(SimpleNamespace):
    """Counts of one source in one artifact, as attributes: `counts.dropped`, `counts.rules`."""

    def get(self, name: str, default: Any = None) -> Any:
        """A count, or `default`."""
        return getattr(self, name, default)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __contains__(self, name: str) -> bool:
        return hasattr(self, name)


def made_by() -> dict[str, str]:
    """Versions of this library and of those that shape bytes."""
    from dolma_pipeline import __version__

    return {"dolma_pipeline": __version__, **{name: _version(name) for name in SHAPING_LIBRARIES}}


@functools.cache
def _version(name: str) -> str:
    """Of an installed library, which no process changes: looking costs 4 ms."""
    return version(name)


def total_counts(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts by source: the sums of the records' `counts`, rule by rule."""
    totals: dict[str, Any] = {}
    for record in records:
        if "counts" in record:
            source = str(record["shard"]).split("/", 1)[0]
            totals[source] = add_counts(totals.get(source, {}), record["counts"])
    return totals


def add_counts(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """The sum of two nested mappings of numbers."""
    out = dict(a)
    for key, value in b.items():
        out[key] = add_counts(out.get(key, {}), value) if isinstance(value, Mapping) else out.get(key, 0) + value
    return out
