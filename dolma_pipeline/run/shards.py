"""The run's list of shards, streamed: nobody holds it whole. Each has its place, and what the index knows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.gone import Gone
from dolma_pipeline.io.shards import Shard
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import read_lines
from dolma_pipeline.run.run import Run


@dataclass(frozen=True, slots=True)
class ShardAt:
    """A shard and where its file is: what a task carries.

    shard: as `shards.jsonl` has it. location: the path or URL to open.
    number: its place in the list, from 0. Known once the shard is indexed, else 0 and "":
    rows: documents. failed: lines that gave none. first: number of its first document over all shards (dense).
    first_in_file: the same over the ranges of its file. rows_in_file: documents of all of them.
    sha256: of the content that the index saw, hex. num_bytes: of text.
    gone: its file is never opened again (`sources.NAME.gone`).
    """

    shard: Shard
    location: str
    number: int = 0
    rows: int = 0
    failed: int = 0
    first: int = 0
    first_in_file: int = 0
    rows_in_file: int = 0
    sha256: str = ""
    num_bytes: int = 0
    gone: bool = False

    @property
    def name(self) -> str:
        """`source/path`, unique in the run."""
        return self.shard.name

    @property
    def source(self) -> str:
        """The recipe's source."""
        return self.shard.source

    def input(self, sha256: str = "") -> dict[str, Any]:
        """What a record says of the file that it was made from; sha256: of what was read, default as indexed."""
        return {"path": self.shard.path, "bytes": self.shard.bytes, "sha256": sha256 or self.sha256}


def listed(run: Run) -> Iterator[ShardAt]:
    """The run's shards, sorted by name, each with its location.

    Raises:
        DataError: the list is damaged, or names a source that the recipe does not have.
    """
    locate = Locations(run)
    for number, shard in enumerate(_shards(run)):
        yield ShardAt(shard, locate(shard), number, gone=locate.is_gone(shard))


def _shards(run: Run) -> Iterator[Shard]:
    name = f"{run.folder.url}/{layout.SHARDS}"
    with run.folder.stream(layout.SHARDS) as lines:
        for line in lines:
            try:
                yield Shard(**orjson.loads(line))
            except (orjson.JSONDecodeError, TypeError) as error:
                raise DataError(
                    f"{name}: damaged, or not a run's list of shards ({error}). Use another output, or delete this "
                    "folder."
                ) from error


class Locations:
    """Where shards' files are: their paths below the fixed prefix of the source's pattern that finds them.

    Raises:
        DataError (from a call): a source that the recipe does not have.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._locators: dict[str, paths.Locator] = {}
        self._gone: dict[str, Gone] = {}

    def __call__(self, shard: Shard) -> str:
        """The place of a shard's file."""
        locator = self._locators.get(shard.source)
        if locator is None:
            source = self._run.recipe.sources.get(shard.source)
            if source is None:
                raise DataError(
                    f"{self._run.folder.url}/{layout.SHARDS} has a shard of source '{shard.source}', which the recipe "
                    "does not have. Put the source back, use another output, or give --redo."
                )
            locator = self._locators[shard.source] = paths.Locator(source.documents, self._run.recipe.input_settings())
        return locator(shard.path)

    def is_gone(self, shard: Shard) -> bool:
        """Whether a shard's file is never opened again."""
        source = self._run.recipe.sources[shard.source]
        if not source.gone:
            return False
        if shard.source not in self._gone:
            self._gone[shard.source] = Gone(source.gone, source.documents, self._run.recipe.input_settings())
        return self._gone[shard.source](shard.path)


def names(run: Run) -> list[str]:
    """The names of all shards, sorted: what a closing phase expects."""
    return [shard.name for shard in _shards(run)]


def indexed(run: Run) -> Iterator[ShardAt]:
    """The run's shards with what the index knows of each; for phases that need the finished index.

    Raises:
        DataError: the index has no record of a shard.
    """
    records = read_lines(run.folder, "index")  # sorted by name, as the list is
    first = 0
    for _, ranges in itertools.groupby(listed(run), key=lambda one: (one.source, one.shard.path)):
        of_file = [_with_counts(one, records) for one in ranges]
        rows_in_file, first_in_file = sum(one.rows for one in of_file), 0
        for one in of_file:
            yield replace(one, first=first, first_in_file=first_in_file, rows_in_file=rows_in_file)
            first, first_in_file = first + one.rows, first_in_file + one.rows


def _with_counts(one: ShardAt, records: Iterator[Mapping[str, Any]]) -> ShardAt:
    record = next((found for found in records if found["shard"] >= one.name), None)
    if record is None or record["shard"] != one.name:
        raise DataError(f"index: no record of shard {one.name}. Run again: it is made.")
    counts = record["counts"]
    return replace(
        one,
        rows=counts["kept"],
        failed=counts["failed"],
        sha256=record["inputs"][0]["sha256"],
        num_bytes=counts["bytes_in"],
    )


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive shards of one source: what a task over columns takes, so that small files cost little.

    key: `<source>/<number>`.
    """

    key: str
    shards: tuple[ShardAt, ...]

    @property
    def rows(self) -> int:
        """Documents."""
        return sum(one.rows for one in self.shards)


BLOCK_ROWS = 131_072
BLOCK_SHARDS = 1_000


def blocks(shards: Iterator[ShardAt]) -> Iterator[Block]:
    """Shards in blocks of about `BLOCK_ROWS` documents, at most `BLOCK_SHARDS` files, never of two sources."""
    held: list[ShardAt] = []
    number = rows = 0
    for one in shards:
        if held and (one.source != held[0].source or rows + one.rows > BLOCK_ROWS or len(held) >= BLOCK_SHARDS):
            yield Block(f"{held[0].source}/{number:05d}", tuple(held))
            number = number + 1 if one.source == held[0].source else 0
            held, rows = [], 0
        held.append(one)
        rows += one.rows
    if held:
        yield Block(f"{held[0].source}/{number:05d}", tuple(held))
