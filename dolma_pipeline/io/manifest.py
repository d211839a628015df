"""What is done: a record a shard, then a list of them, then a manifest.

A unit is a folder that is done or redone as a whole (`attributes/gopher_v1`, `mix`, `tokens`). While it is
worked on, each finished shard leaves `.done/<shard>.json` after its outputs. At the end the records, sorted,
become `shards.jsonl`, then `manifest.json` is written and `.done` goes. Nothing here holds a time, host or process.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths

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
        found = []
        for name in sorted({*old, *new}):
            place = f"{key}.{name}" if key else str(name)
            if name not in old:
                found.append(f"{place}: (nothing) -> {new[name]!r}")
            elif name not in new:
                found.append(f"{place}: {old[name]!r} -> (nothing)")
            else:
                found += differences(old[name], new[name], place)
        return found
    return [] if old == new else [f"{key}: {old!r} -> {new!r}"]


def output_record(folder: Path, path: Path, *, rows: int) -> dict[str, Any]:
    """What a record says of one output file: path within the unit, rows, bytes, sha256."""
    return {
        "path": path.relative_to(folder).as_posix(),
        "rows": rows,
        "bytes": path.stat().st_size,
        "sha256": paths.sha256_file(path),
    }


class Counts(SimpleNamespace):
    """Counts of one source in one unit, as attributes: `counts.dropped`, `counts.rules`."""

    def get(self, name: str, default: Any = None) -> Any:
        """A count, or `default`."""
        return getattr(self, name, default)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __contains__(self, name: str) -> bool:
        return hasattr(self, name)


class Records:
    """The done records of a unit's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done_folder = folder / ".done"
        self.manifest_path = folder / "manifest.json"

    def start(self, unit: Mapping[str, Any]) -> None:
        """Note with which settings the work began; a restart compares them."""
        paths.write_bytes(self.done_folder / "unit.json", pretty(unit))

    def started(self) -> dict[str, Any] | None:
        """The settings with which unfinished work began; None if there is none."""
        path = self.done_folder / "unit.json"
        return orjson.loads(path.read_bytes()) if path.is_file() else None

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of finished work; None if there is none."""
        if not self.manifest_path.is_file():
            return None
        try:
            found: dict[str, Any] = orjson.loads(self.manifest_path.read_bytes())
        except orjson.JSONDecodeError as error:
            raise DataError(
                f"{self.manifest_path}: damaged ({error}). Delete {self.folder} and run again; it will be made anew."
            ) from error
        return found

    def write(self, shard: str, record: Mapping[str, Any]) -> None:
        """Leave the record of a finished shard."""
        paths.write_bytes(self._path(shard), canonical({"shard": shard, **record}))

    def has(self, shard: str) -> bool:
        """Whether a shard has a record."""
        return self._path(shard).is_file()

    def forget(self, shard: str) -> None:
        """Take a record of unfinished work away."""
        self._path(shard).unlink(missing_ok=True)

    def one(self, shard: str) -> dict[str, Any]:
        """The record of a finished shard, while the unit is not finished."""
        found: dict[str, Any] = orjson.loads(self._path(shard).read_bytes())
        return found

    def _path(self, shard: str) -> Path:
        return self.done_folder / "shards" / f"{shard}.json"

    def read(self) -> list[dict[str, Any]]:
        """All records, sorted by shard; of finished work from its `shards.jsonl`."""
        finished = self.folder / "shards.jsonl"
        if self.manifest_path.is_file() and finished.is_file():
            return [orjson.loads(line) for line in finished.read_bytes().splitlines()]
        found = [orjson.loads(p.read_bytes()) for p in (self.done_folder / "shards").rglob("*.json")]
        return sorted(found, key=lambda record: str(record["shard"]))

    def reopen(self) -> None:
        """Turn finished work back into records, so that new shards can be added to it."""
        for record in self.read():
            shard = record.pop("shard")
            self.write(shard, record)
        self.manifest_path.unlink(missing_ok=True)
        (self.folder / "shards.jsonl").unlink(missing_ok=True)

    def finish(self, unit: Mapping[str, Any], *, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Write `shards.jsonl` (if the work was done by shards), then `manifest.json`, then drop `.done`.

        Args:
            unit: stage, digest, config and needs of the unit.
            extra: other keys of the manifest, such as plan.
        """
        records = self.read()
        manifest = {"format": 1, "made_by": made_by(), **unit, "counts": total_counts(records), **(extra or {})}
        if records:
            content = b"".join(canonical(record) + b"\n" for record in records)
            paths.write_bytes(self.folder / "shards.jsonl", content)
            sha256 = hashlib.sha256(content).hexdigest()
            manifest["shards"] = {"file": "shards.jsonl", "num_shards": len(records), "sha256": sha256}
        paths.write_bytes(self.manifest_path, pretty(manifest))
        shutil.rmtree(self.done_folder, ignore_errors=True)
        return manifest


def made_by() -> dict[str, str]:
    """Versions of this library and of those that shape bytes."""
    from dolma_pipeline import __version__

    return {"dolma_pipeline": __version__, **{name: version(name) for name in SHAPING_LIBRARIES}}


def total_counts(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
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
