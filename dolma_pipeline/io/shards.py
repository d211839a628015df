"""Shards: the units of work. A shard is a file, or a fixed range of one; where a file may be cut, its format says.

`shards.jsonl` at the run's root lists them; it is made once and obeyed by every stage.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.formats import document_format, endings, format_of


@dataclass(frozen=True, slots=True)
class Shard:
    """A unit of work.

    name: `source/path`, unique in the run; with a row it makes an origin. path: of the file, as the recipe found it.
    format: the name of its `DocumentFormat`.
    start, end: bytes (lines) or row groups (Parquet), end exclusive; None: the whole file. bytes: of the range.
    lines_before: lines of the file that start before byte `start`; 0 where the range is not one of bytes.
    """

    name: str
    source: str
    path: str
    format: str
    start: int | None = None
    end: int | None = None
    bytes: int = 0
    lines_before: int = 0


def plan_shards(
    documents: Mapping[str, Sequence[str]], *, split_bytes: int, known: Sequence[Shard] = ()
) -> list[Shard]:
    """The shards of all sources: `known` ones as they are, and new ones for files that they do not cover.

    Args:
        documents: source -> patterns.
        split_bytes: larger plain files and Parquet files are cut into ranges of about this size.
        known: shards of an earlier plan of this run.

    Raises:
        UsageError: a pattern that matches nothing, or one file in two sources.
        DataError: a known shard whose file is gone or has another size now.
    """
    _check_unchanged(known)
    shards = list(known)
    names = {shard.name if shard.start is None else shard.name.rpartition("@")[0] for shard in known}
    owners = {paths.identity(shard.path): shard.source for shard in known}
    covered = set(owners)
    for source, patterns in documents.items():
        found = paths.find(patterns)
        stems = Counter(_stem(path, base) for path, base in found if paths.identity(path) not in covered)
        for path, base in found:
            owner = owners.setdefault(paths.identity(path), source)
            if owner != source:
                raise UsageError(f"{path} is in two sources, {owner} and {source}. Give it to one of them.")
            if paths.identity(path) in covered:
                continue
            stem = _stem(path, base)
            name = f"{source}/{stem}"
            if stems[stem] > 1 or name in names:
                name = f"{source}/{_relative(path, base)}"
            if name in names:
                raise UsageError(
                    f"{path}: two files of source {source} would be called {name}. Put them in two sources."
                )
            names.add(name)
            shards.extend(_ranges(name, source, path, split_bytes))
    _check_names(shards)
    return sorted(shards, key=lambda shard: shard.name)


def _check_names(shards: Sequence[Shard]) -> None:
    (name, count), *_ = Counter(shard.name for shard in shards).most_common(1) or [("", 0)]
    if count > 1:
        files = " and ".join(sorted({shard.path for shard in shards if shard.name == name}))
        raise UsageError(f"{files}: two shards would be called {name}. Rename one of the files.")


def _relative(path: str, base: str) -> str:
    """What follows the folder before the pattern's first wildcard."""
    return path[len(base) :].lstrip("/") if path.startswith(base) else path.rsplit("/", 1)[-1]


def _stem(path: str, base: str) -> str:
    name = _relative(path, base)
    for ending in endings():
        if name.lower().endswith(ending) and len(name.rsplit("/", 1)[-1]) > len(ending):
            name = name[: -len(ending)]
    return name


def _ranges(name: str, source: str, path: str, split_bytes: int) -> list[Shard]:
    size = paths.storage_of(path).size(path)
    found = format_of(path)
    ranges = found.plan(path, size, split_bytes)
    if ranges is None:
        return [Shard(name, source, path, found.name, bytes=size)]
    return [
        Shard(f"{name}@{i:05d}", source, path, found.name, one.start, one.end, one.bytes, one.lines_before)
        for i, one in enumerate(ranges)
    ]


def _check_unchanged(known: Sequence[Shard]) -> None:
    by_path: dict[str, list[Shard]] = {}
    for shard in known:
        by_path.setdefault(shard.path, []).append(shard)
    for path, shards in by_path.items():
        if paths.is_url(path):
            continue
        if not os.path.isfile(path):
            raise DataError(f"{path}: this input of the run is gone. Put it back, or run with --redo.")
        parts = [shard for shard in shards if shard.start is not None]
        was = sum(shard.bytes for shard in shards)
        is_now = document_format(parts[0].format).range_bytes(path) if parts else paths.storage_of(path).size(path)
        if is_now != was:
            raise DataError(
                f"{path}: {is_now} bytes now, {was} when the run began. Put the old file back, or run with --redo."
            )


def write_shards(path: Path, shards: Sequence[Shard]) -> None:
    """Commit the list, one JSON object a line, sorted by name."""
    lines = [orjson.dumps(asdict(s), option=orjson.OPT_SORT_KEYS) for s in sorted(shards, key=lambda s: s.name)]
    paths.write_bytes(path, b"".join(line + b"\n" for line in lines))


def read_shards(path: Path) -> list[Shard]:
    """The shards of a list, in its order.

    Raises:
        DataError: it is damaged, or no list of shards.
    """
    try:
        return [Shard(**orjson.loads(line)) for line in path.read_bytes().splitlines()]
    except (orjson.JSONDecodeError, TypeError) as error:
        raise DataError(
            f"{path}: damaged, or no run's list of shards ({error}). Use another output, or delete this folder."
        ) from error
