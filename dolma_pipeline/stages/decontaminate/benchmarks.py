"""The benchmarks of a recipe: their files, wherever they are, and the items in them.

A file of JSON lines whose first row has no `text` holds items (`evals.views`); every other one is read as documents
are, and each document is an item. An evaluation set is read whole or not at all: a line that gives no item is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import orjson

from dolma_pipeline.errors import ConfigError, DataError, DolmaError
from dolma_pipeline.evals.views import View, item_id, item_views
from dolma_pipeline.io.documents import ShardReader, normalized
from dolma_pipeline.io.formats import format_of
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.shards import Shard
from dolma_pipeline.io.streams import Damaged, Source, decompressed
from dolma_pipeline.run.process import Process
from dolma_pipeline.stages.fixed_files import fixed_files
from dolma_pipeline.storage.inputs import open_stream


@dataclass(frozen=True, slots=True)
class BenchmarkFile:
    """A file of a benchmark. name: below the fixed prefix of its pattern, unique in the benchmark. sha256: hex."""

    benchmark: str
    name: str
    location: str
    sha256: str


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """An item. id: its own, or `FILE:LINE`, which is its place, too."""

    benchmark: str
    id: str
    place: str
    views: tuple[View, ...]


def benchmark_files(process: Process) -> list[BenchmarkFile]:
    """All files of the recipe's benchmarks, in order; looked at, and hashed, once a process.

    Raises:
        UsageError: a pattern that finds nothing, or a file that cannot be read.
    """
    recipe = process.run.recipe
    assert recipe.decontaminate is not None
    return [
        BenchmarkFile(benchmark, file.name, file.location, file.sha256)
        for benchmark, patterns in recipe.decontaminate.benchmarks.items()
        for file in fixed_files(process, f"decontaminate.benchmarks.{benchmark}", patterns)
    ]


def read_benchmarks(process: Process) -> Iterator[BenchmarkItem]:
    """The items of all benchmarks, in order, normalized as the run's documents are: else equal texts would not meet.

    Raises:
        UsageError: a file that is not there. DataError: a file that was changed since the run began, or is damaged, or
            has a row that is no item. ConfigError: a benchmark without an item.
    """
    recipe = process.run.recipe
    assert recipe.decontaminate is not None
    counts = dict.fromkeys(recipe.decontaminate.benchmarks, 0)
    for file in benchmark_files(process):
        for item in _items_of(file):
            counts[file.benchmark] += 1
            texts = normalized([view.text for view in item.views], recipe.normalize)
            yield replace(item, views=tuple(v._replace(text=t) for v, t in zip(item.views, texts, strict=True)))
    for benchmark, count in counts.items():
        if count == 0:
            raise ConfigError(f"decontaminate.benchmarks.{benchmark}: its files have no items.")


def _items_of(file: BenchmarkFile) -> Iterator[BenchmarkItem]:
    try:
        if format_of(file.location).name == "jsonl":
            content = _content(file)
            lines = ((number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip())
            first = next(lines, None)
            if first is None:
                return
            row = _row(*first, file)
            if not isinstance(row.get("text"), str):
                for number, line in enumerate(content.split(b"\n"), 1):
                    if line.strip():
                        place = f"{file.location}:{number}"
                        row = _row(number, line, file)
                        own = f"{file.name}:{number}"
                        yield BenchmarkItem(file.benchmark, item_id(row) or own, own, tuple(item_views(row, place)))
                return
        yield from _documents(file)
    except Damaged as error:
        raise DataError(f"{file.location}: {error}") from error


def _content(file: BenchmarkFile) -> bytes:
    with open_stream(file.location) as stream:
        source = Source(stream)
        content = b"".join(decompressed(source))
    if source.sha256.hexdigest() != file.sha256:
        raise DataError(f"{file.location}: the file was changed while the run began. Run again.")
    return content


def _row(number: int, line: bytes, file: BenchmarkFile) -> dict[str, object]:
    try:
        row = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise DataError(
            f"{file.location}:{number}: not JSON ({error}). A benchmark has an item on each line, or is a file of "
            f"documents; this line begins with {line[:40]!r}."
        ) from None
    if not isinstance(row, dict):
        raise DataError(f"{file.location}:{number}: not a JSON object: {line[:60]!r}")
    return row


def _documents(file: BenchmarkFile) -> Iterator[BenchmarkItem]:
    """Each document as an item with one view, its text."""
    failures: list[Failure] = []
    shard = Shard(file.name, file.benchmark, file.name, format_of(file.location).name)
    reader = ShardReader(shard, file.location, report=failures.append)
    for batch in reader:
        ids = batch.table.column("id").to_pylist()
        for text, id_, line in zip(batch.strings, ids, batch.locs.tolist(), strict=True):
            if not failures and text:
                own = f"{file.name}:{line}"
                yield BenchmarkItem(file.benchmark, id_ or own, own, (View("text", text),))
    if failures:
        first = failures[0]
        line = "" if first.line is None else f":{first.line}"
        raise DataError(f"{file.location}{line}: {first.reason}. A benchmark is read whole, or not at all.")
    if reader.sha256 != file.sha256:
        raise DataError(f"{file.location}: the file was changed while the run began. Run again.")


def check_benchmarks(process: Process) -> None:
    """Read all items, and let them go.

    Raises:
        ConfigError: what is wrong with them, with its key.
    """
    recipe = process.run.recipe
    assert recipe.decontaminate is not None
    try:
        for _ in read_benchmarks(process):
            pass
    except ConfigError:
        raise
    except DolmaError as error:
        raise ConfigError(str(error)) from error
