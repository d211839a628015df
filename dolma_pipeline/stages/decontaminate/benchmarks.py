"""The benchmarks of a recipe: their files, wherever they are, and the items in them.

A file of JSON lines whose first row has no `text` holds items (`evals.views`); every other one is read as documents
are, and each document is an item. An evaluation set is read whole or not at all: a line that gives no item is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson

from dolma_pipeline.errors import ConfigError, DataError, DolmaError
from dolma_pipeline.evals.views import View, item_id, item_views
from dolma_pipeline.io.documents import normalized
from dolma_pipeline.io.formats import format_of
from dolma_pipeline.io.streams import Damaged, Source, decompressed
from dolma_pipeline.run.process import Process
from dolma_pipeline.stages.fixed_files import FixedFile, check_same, fixed_documents, fixed_files
from dolma_pipeline.storage.inputs import open_stream


@dataclass(frozen=True, slots=True)
class BenchmarkFile(FixedFile):
    """A file of a benchmark."""

    benchmark: str


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
        BenchmarkFile(file.name, file.location, file.sha256, benchmark)
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
        for item in _items_of(process, file):
            counts[file.benchmark] += 1
            yield item
    for benchmark, count in counts.items():
        if count == 0:
            raise ConfigError(f"benchmark '{benchmark}': its files have no items.")


def _items_of(process: Process, file: BenchmarkFile) -> Iterator[BenchmarkItem]:
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
                        found = item_views(row, place)
                        texts = normalized([view.text for view in found], process.run.recipe.normalize)
                        views = tuple(View(view.kind, text) for view, text in zip(found, texts, strict=True))
                        yield BenchmarkItem(file.benchmark, item_id(row) or own, own, views)
                return
        yield from _documents(process, file)
    except Damaged as error:
        raise DataError(f"{file.location}: {error}") from error


def _content(file: BenchmarkFile) -> bytes:
    with open_stream(file.location) as stream:
        source = Source(stream)
        content = b"".join(decompressed(source))
    check_same(file, source.sha256.hexdigest())
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


def _documents(process: Process, file: BenchmarkFile) -> Iterator[BenchmarkItem]:
    """Each document as an item with one view, its text."""
    for batch in fixed_documents(process, file, whole="A benchmark is"):
        ids = batch.table.column("id").to_pylist()
        for text, id_, line in zip(batch.strings, ids, batch.locs.tolist(), strict=True):
            if text:
                own = f"{file.name}:{line}"
                yield BenchmarkItem(file.benchmark, id_ or own, own, (View("text", text),))


def check_benchmarks(process: Process, see: Callable[[BenchmarkItem], None]) -> None:
    """Read all items, and show each to `see`.

    Raises:
        ConfigError: what is wrong with them, with its key.
    """
    recipe = process.run.recipe
    assert recipe.decontaminate is not None
    try:
        for item in read_benchmarks(process):
            see(item)
    except ConfigError:
        raise
    except DolmaError as error:
        raise ConfigError(str(error)) from error
