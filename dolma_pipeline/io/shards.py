"""Shards: pieces of the input. A shard is a file, or a fixed range of one; where a file may be cut, its format says.

`shards.jsonl` at the run's root lists them; it is made once and obeyed by every stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import orjson

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.formats import endings, format_of
from dolma_pipeline.io.url_patterns import at_once
from dolma_pipeline.storage.inputs import NO_SETTINGS


@dataclass(frozen=True, slots=True)
class Shard:
    """A piece of the input that one task reads.

    name: `source/path`, unique in the run; with a row it makes an origin.
    path: of the file, below the fixed prefix of the pattern that finds it (of a list of files, as it stands there), so
        that a copied corpus is the same corpus; see `paths.located`. file_bytes: size of the whole file.
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
    file_bytes: int = 0


def plan_shards(
    documents: Mapping[str, Sequence[str]],
    *,
    split_bytes: int,
    known: Sequence[Shard] = (),
    settings: Mapping[str, str] = NO_SETTINGS,
) -> list[Shard]:
    """The shards of all sources: `known` ones as they are, and new ones for files that they do not cover.

    Args:
        documents: source -> patterns. settings: of object stores.
        split_bytes, known: as of `shards_of`.

    Raises:
        UsageError: a pattern that matches nothing, and as `shards_of`. DataError: as `shards_of`.
    """
    files = {source: paths.find(patterns, settings=settings) for source, patterns in documents.items()}
    return shards_of(files, split_bytes=split_bytes, known=known)


def shards_of(
    files: Mapping[str, Sequence[paths.Found]],
    *,
    split_bytes: int,
    known: Sequence[Shard] = (),
    is_gone: Callable[[str, str], bool] = lambda source, path: False,
) -> list[Shard]:
    """The shards of files that were found: `known` ones as they are, and new ones for files that they do not cover.

    Args:
        files: source -> its files.
        split_bytes: larger plain files and Parquet files are cut into ranges of about this size.
        known: shards of an earlier plan of this run.
        is_gone: whether a file, by source and path, is never opened again: of a known shard it is not looked at.

    Raises:
        UsageError: one file in two sources, a known shard that no pattern finds, or a new file that is gone.
        DataError: a known shard whose file has another size now.
    """
    _check_unchanged([one for one in known if not is_gone(one.source, one.path)], files)
    shards = list(known)
    names = {shard.name if shard.start is None else shard.name.rpartition("@")[0] for shard in known}
    covered = {(shard.source, shard.path) for shard in known}
    owners: dict[str, str] = {}
    named: list[tuple[str, str, paths.Found]] = []
    for source, found in files.items():
        new = [one for one in found if (source, one.relative) not in covered]
        stems = Counter(_stem(one.path, one.base) for one in new)
        for one in found:
            owner = owners.setdefault(paths.identity(one.path), source)
            if owner != source:
                raise UsageError(f"{one.path} is in two sources, {owner} and {source}. Give it to one of them.")
        for one in new:
            if is_gone(source, one.relative):
                raise UsageError(
                    f"{one.path}: `gone` of source {source} names it, but this run has not read it, and what is gone "
                    "is not opened. Narrow the pattern."
                )
            stem = _stem(one.path, one.base)
            name = f"{source}/{stem}"
            if stems[stem] > 1 or name in names:
                name = f"{source}/{_relative(one.path, one.base)}"
            if name in names:
                raise UsageError(
                    f"{one.path}: two files of source {source} would be called {name}. Put them in two sources."
                )
            names.add(name)
            named.append((name, source, one))
    for ranges in at_once(lambda one: _ranges(*one, split_bytes), named, are_urls=any(one.entry for *_, one in named)):
        shards.extend(ranges)
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


def _ranges(name: str, source: str, file: paths.Found, split_bytes: int) -> list[Shard]:
    size = file.size
    format_ = format_of(file.path)
    ranges = format_.plan(file.path, size, split_bytes)
    if ranges is None:
        return [Shard(name, source, file.relative, format_.name, bytes=size, file_bytes=size)]
    return [
        Shard(
            f"{name}@{i:05d}",
            source,
            file.relative,
            format_.name,
            one.start,
            one.end,
            one.bytes,
            one.lines_before,
            size,
        )
        for i, one in enumerate(ranges)
    ]


def _check_unchanged(known: Sequence[Shard], files: Mapping[str, Sequence[paths.Found]]) -> None:
    places = {(source, file.relative): file for source, found in files.items() for file in found}
    for shard in {(one.source, one.path): one for one in known}.values():
        file = places.get((shard.source, shard.path))
        if file is None:
            raise UsageError(
                f"this run reads {shard.path} as source '{shard.source}', and no pattern of this recipe finds "
                "it there. "
                "Put it back, use another output, or give --redo."
            )
        size = file.size
        if size != shard.file_bytes and (file.entry is None or size):  # 0: the place cannot tell
            raise DataError(
                f"{file.path}: {size} bytes now, {shard.file_bytes} when the run began. Put the old file back, or run "
                "with --redo."
            )


def shard_lines(shards: Sequence[Shard]) -> bytes:
    """The list, one JSON object a line, sorted by name."""
    lines = [orjson.dumps(asdict(s), option=orjson.OPT_SORT_KEYS) for s in sorted(shards, key=lambda s: s.name)]
    return b"".join(line + b"\n" for line in lines)


def read_shards(content: bytes, name: str) -> list[Shard]:
    """The shards of a list, in its order; `name` stands for it in errors.

    Raises:
        DataError: it is damaged, or not a list of shards.
    """
    try:
        return [Shard(**orjson.loads(line)) for line in content.splitlines()]
    except (orjson.JSONDecodeError, TypeError) as error:
        raise DataError(
            f"{name}: damaged, or not a run's list of shards ({error}). Use another output, or delete this folder."
        ) from error
