"""Attribute files that a source brings along: which one is a shard's, on this machine's disk or elsewhere.

A folder elsewhere is listed once a process; a file of it is copied to scratch for as long as it is read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from dolma_pipeline.errors import ConfigError, DataError, RunError
from dolma_pipeline.io.attributes import ENDINGS, find_attributes
from dolma_pipeline.io.paths import expanded
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.storage.inputs import is_url, local_copy, location, name_of, scheme_of


def check_folder(process: Process, source: str, folder: str) -> None:
    """Refuse a folder of attributes that is not there, or cannot be listed.

    Raises:
        ConfigError: so it is.
    """
    try:
        is_there = bool(_listed(process, folder)) if is_url(folder) else Path(expanded(folder)).is_dir()
    except RunError as error:
        raise ConfigError(f"sources.{source}.attributes: {error}") from None
    if not is_there:
        raise ConfigError(f"sources.{source}.attributes: {folder}: no such folder")


def given_place(process: Process, folder: str, shard: ShardAt) -> str:
    """Where a shard's attribute file is, in a folder that its source names; of a range, maybe that of the whole file.

    Raises:
        ConfigError: there is none.
    """
    whole = shard.name if shard.shard.start is None else shard.name.rpartition("@")[0]
    names = [each for full in dict.fromkeys((shard.name, whole)) for each in (full.split("/", 1)[1], full)]
    for name in names:
        if place := _found(process, folder, name):
            return place
    bare = names[0::2]
    raise ConfigError(
        f"sources.{shard.source}.attributes: {folder} has no file for shard {shard.name} "
        f"(looked for {' and '.join(f'{each}.parquet and {each}.jsonl.gz' for each in bare)}). Attribute files are "
        "called like their documents."
    )


def _found(process: Process, folder: str, name: str) -> str | None:
    if not is_url(folder):
        path = find_attributes(Path(expanded(folder)), name)
        return None if path is None else str(path)
    files = _listed(process, folder)
    place = next((url for ending in ENDINGS if (url := f"{folder.rstrip('/')}/{name}{ending}") in files), None)
    return None if place is None else location(place, process.run.recipe.input_settings())


def _listed(process: Process, folder: str) -> Mapping[str, int]:
    """URL -> size of the files below a folder elsewhere."""

    def look() -> Mapping[str, int]:
        scheme = scheme_of(folder)
        entries = scheme.entries(folder.rstrip("/"), process.run.recipe.input_settings())
        return {entry.url: entry.size for entry in entries}

    return process.kept(("given folder", folder), look)


def given_size(process: Process, folder: str, place: str) -> tuple[str, int]:
    """Name and size of an attribute file."""
    return name_of(place), _listed(process, folder)[place] if is_url(place) else os.stat(place).st_size


@contextlib.contextmanager
def copied(process: Process, place: str) -> Iterator[Path]:
    """An attribute file on this machine's disk, for the block; what is wrong with a copy is told of the file itself."""
    with local_copy(place, process.scratch) as path, told_of(place, path):
        yield path


@contextlib.contextmanager
def told_of(place: str, path: Path) -> Iterator[None]:
    """Errors that name a copy name what it is a copy of."""
    try:
        yield
    except DataError as error:
        raise type(error)(str(error).replace(str(path), place)) from error
