"""What is done: a record a shard, then a list of them, then a manifest.

A unit is a folder that is done or redone as a whole (`attributes/gopher_v1`, `mix`, `tokens`). While it is
worked on, each finished shard leaves `.done/<shard>.json` after its outputs. At the end the records, sorted,
become `shards.jsonl`, then `manifest.json` is written. Nothing here holds a time, host or process.

Whatever writes here may be repeated, late, or in two copies at once: a record is written again with the same
bytes, a manifest is written once, and what exists is read from records, never found by looking. Nothing is deleted
but by the launcher (`reopen`, `forget`, and `.done` when all is over).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from dolma_pipeline.errors import DataError, RunError
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


def work_record(folder: Path, path: Path) -> dict[str, Any]:
    """What a record says of a file that only later steps of the unit need: path within the unit, bytes."""
    return {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size}


def output_record(folder: Path, path: Path, *, rows: int) -> dict[str, Any]:
    """What a record says of one output file: path within the unit, rows, bytes, sha256."""
    return {**work_record(folder, path), "rows": rows, "sha256": paths.sha256_file(path)}


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
    """The done records of a unit's folder, or of one step's work within it.

    Args:
        folder: where the records are. files: what the paths of outputs start from; None: `folder`.
    """

    def __init__(self, folder: Path, *, files: Path | None = None) -> None:
        self.folder, self.files = folder, files or folder
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

    def closed(self, unit: Mapping[str, Any]) -> bool:
        """Whether the unit has its manifest.

        Args:
            unit: digest and needs of the unit as it is to be made.

        Raises:
            RunError: there is a manifest, of other settings or other shards.
        """
        manifest = self.manifest()
        if manifest is None:
            return False
        there, wanted = ({key: one[key] for key in ("digest", "needs")} for one in (manifest, unit))
        if other := differences(there, wanted):
            raise RunError(self._another(other))
        return True

    def write(self, shard: str, record: Mapping[str, Any]) -> None:
        """Leave the record of a finished shard."""
        paths.write_bytes(self._path(shard), canonical({"shard": shard, **record}))

    def has(self, shard: str) -> bool:
        """Whether a shard has a record."""
        return self._path(shard).is_file()

    def forget(self, shard: str) -> None:
        """Take a record of unfinished work away. For the launcher."""
        self._path(shard).unlink(missing_ok=True)

    def one(self, shard: str) -> dict[str, Any]:
        """The record of a finished shard, while the unit is not finished.

        Raises:
            DataError: there is none.
        """
        path = self._path(shard)
        try:
            found: dict[str, Any] = orjson.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise DataError(
                f"{path}: this done record of the run is gone, and with it what was made. "
                "The same command makes again what is missing."
            ) from error
        return found

    def outputs(self, shard: str) -> list[Path]:
        """The files that a finished shard left, while the unit is not finished."""
        return [self.files / output["path"] for output in self.one(shard)["outputs"]]

    def _path(self, shard: str) -> Path:
        return self.done_folder / "shards" / f"{shard}.json"

    def all(self, expected: Collection[str]) -> list[dict[str, Any]]:
        """The records of these shards, sorted; of finished work from its `shards.jsonl`.

        Raises:
            RunError: one of them has none.
        """
        listed = self._listed()
        found = {record["shard"]: record for record in listed or ()}
        missing = [shard for shard in sorted(expected) if not (self.has(shard) if listed is None else shard in found)]
        if missing:
            names = ", ".join(missing[:3])
            raise RunError(
                f"{self.folder}: {len(missing)} of {len(expected)} done records are missing: {names}. "
                "The same command goes on from there."
            )
        return [found[shard] if listed is not None else self.one(shard) for shard in sorted(expected)]

    def read(self) -> list[dict[str, Any]]:
        """All records that are there, sorted by shard: for the launcher, which looks at what an earlier run left."""
        if (listed := self._listed()) is not None:
            return listed
        found = [orjson.loads(p.read_bytes()) for p in (self.done_folder / "shards").rglob("*.json")]
        return sorted(found, key=lambda record: str(record["shard"]))

    def _listed(self) -> list[dict[str, Any]] | None:
        """The records of finished work; None if it is not finished, or has no list."""
        finished = self.folder / "shards.jsonl"
        if not (self.manifest_path.is_file() and finished.is_file()):
            return None
        return [orjson.loads(line) for line in finished.read_bytes().splitlines()]

    def reopen(self) -> None:
        """Turn finished work back into records, so that new shards can be added to it. For the launcher."""
        for record in self.read():
            shard = record.pop("shard")
            self.write(shard, record)
        self.manifest_path.unlink(missing_ok=True)
        (self.folder / "shards.jsonl").unlink(missing_ok=True)

    def finish(
        self, unit: Mapping[str, Any], *, expected: Collection[str] = (), extra: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Write `shards.jsonl` (if the work was done by shards), then `manifest.json`, once.

        To do it again, at any time and in two processes at once, changes nothing.

        Args:
            unit: stage, digest, config and needs of the unit.
            expected: the shards that must have records.
            extra: other keys of the manifest, such as plan.

        Raises:
            RunError: a record is missing; or there is another manifest.
        """
        if self.closed(unit) and (before := self.manifest()) is not None:
            return before
        records = self.all(expected)
        manifest = {"format": 1, "made_by": made_by(), **unit, "counts": total_counts(records), **(extra or {})}
        if records:
            content = b"".join(canonical(record) + b"\n" for record in records)
            paths.write_bytes(self.folder / "shards.jsonl", content)
            sha256 = hashlib.sha256(content).hexdigest()
            manifest["shards"] = {"file": "shards.jsonl", "num_shards": len(records), "sha256": sha256}
        written = pretty(manifest)
        if not paths.create(self.manifest_path, written) and self.manifest_path.read_bytes() != written:
            raise RunError(self._another(differences(self.manifest(), orjson.loads(written))))
        return manifest

    def _another(self, other: Sequence[str]) -> str:
        return (
            f"{self.manifest_path}: another manifest is there already ({'; '.join(other[:3])}). Two runs have worked "
            "in this folder at once. Wait until the other one has ended, then give the same command again."
        )


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
