"""The items of all benchmarks, read once for all workers: who they are, and the hashes of their views' folded words.

A view of fewer than `PREFIX` words cannot be told from chance and is not looked for. Of answers alone only those of at
least `LONG_ANSWER` words are. Both are listed beside their item.
Cost: 25,000 items a CPU-second; 8 bytes a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from dolma_pipeline.documents import text_buffers
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.io.tables import TableWriter, get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import close, output_record
from dolma_pipeline.run.phase import OneTask, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.stages.decontaminate.benchmarks import (
    BenchmarkItem,
    benchmark_files,
    check_benchmarks,
    read_benchmarks,
)

LEAST_WORDS = 5
"""Words of the shortest view that is looked for; the same as `kernels.ngram_table.PREFIX`."""
LONG_ANSWER = 13
"""Words from which on an answer alone is looked for."""
ITEMS_AT_ONCE = 2000

ITEMS_SCHEMA = pa.schema(
    [
        pa.field("benchmark", pa.string()),
        pa.field("id", pa.string()),
        pa.field("place", pa.string()),
        pa.field("views", pa.list_(pa.string())),
        pa.field("too_short", pa.list_(pa.string())),
    ]
)
"""Row i is item i. views, too_short: kinds of the views that are looked for, and of those that cannot be found."""
VIEWS_SCHEMA = pa.schema([pa.field("item", pa.int32()), pa.field("words", pa.large_list(pa.uint64()))])


@dataclass(frozen=True)
class ReadItems(OneTask):
    """Reads the benchmarks."""

    @property
    def name(self) -> str:
        """`decontaminate/items`."""
        return "decontaminate/items"

    def work(self, process: Process, task: Task) -> Work:
        """Read all items.

        Raises:
            ConfigError: a benchmark of which no item can be found.
        """
        (artifact,) = self.artifacts
        folder = process.run.folder
        found = Findable()
        num_items = num_views = 0
        with folder.committing(layout.ITEMS) as items_file, folder.committing(layout.VIEWS) as views_file:
            items = TableWriter(items_file, ITEMS_SCHEMA, compression="zstd", dictionary=("benchmark",))
            views = TableWriter(views_file, VIEWS_SCHEMA, compression="none")
            for some in _portions(read_benchmarks(process)):
                item_table, view_table = portion_tables(some, first=num_items)
                items.write(item_table.columns)
                views.write(view_table.columns)
                found.see(item_table)
                num_items, num_views = num_items + len(some), num_views + view_table.num_rows
            items.close()
            views.close()
        found.check()
        outputs = [
            output_record(artifact, layout.ITEMS, items_file, rows=num_items),
            output_record(artifact, layout.VIEWS, views_file, rows=num_views),
        ]
        inputs = [{"path": one.name, "sha256": one.sha256} for one in benchmark_files(process)]
        return Work({artifact.name: [{"shard": "items", "inputs": inputs, "outputs": outputs}]})

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest."""
        (artifact,) = self.artifacts
        made = [one for record in records for one in record["records"][artifact.name]]
        close(run.folder, artifact, made, shards_digest=run.shards_digest, expected=["items"])


class Findable:
    """Tells benchmarks of which some item can be found from those of which none can."""

    def __init__(self) -> None:
        self._found: dict[str, bool] = {}

    def see(self, items: pa.RecordBatch) -> None:
        """Take rows of `ITEMS_SCHEMA`."""
        for benchmark, kinds in zip(
            items.column("benchmark").to_pylist(), items.column("views").to_pylist(), strict=True
        ):
            self._found[benchmark] = self._found.get(benchmark, False) or bool(kinds)

    def check(self) -> None:
        """Stop where no item of a benchmark can be found.

        Raises:
            ConfigError: names it.
        """
        for benchmark, found in self._found.items():
            if not found:
                raise ConfigError(
                    f"decontaminate.benchmarks.{benchmark}: none of its items can be found: all their texts have fewer "
                    f"than {LEAST_WORDS} words. Take it out of the recipe."
                )


def check_findable(process: Process) -> None:
    """Read all items before a run, and let them go.

    Raises:
        ConfigError: what is wrong with them, with its key; or no item of a benchmark can be found.
    """
    plain, held = set[str](), dict[str, list[BenchmarkItem]]()

    def see(item: BenchmarkItem) -> None:
        if item.benchmark in plain:
            return
        if any(view.kind != "answer" and _has_words(view.text) for view in item.views):
            plain.add(item.benchmark)
            held.pop(item.benchmark, None)
        else:
            held.setdefault(item.benchmark, []).append(item)

    check_benchmarks(process, see)
    found = Findable()  # kernels are asked of no more than benchmarks of which a plain look tells nothing
    for some in _portions(item for items in held.values() for item in items):
        found.see(portion_tables(some, first=0)[0])
    found.check()


def _has_words(text: str) -> bool:
    """Whether a text surely has `LEAST_WORDS` words: so many pieces between blanks begin with a letter."""
    pieces = (piece for piece in text.split(maxsplit=4 * LEAST_WORDS) if piece[0].isalpha())
    return sum(1 for _ in islice(pieces, LEAST_WORDS)) == LEAST_WORDS


def _portions(items: Iterator[BenchmarkItem]) -> Iterator[list[BenchmarkItem]]:
    while some := list(islice(items, ITEMS_AT_ONCE)):
        yield some


def portion_tables(items: Sequence[BenchmarkItem], *, first: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Rows of `ITEMS_SCHEMA` and `VIEWS_SCHEMA`.

    Args:
        first: number of the first of these items.
    """
    from dolma_pipeline.kernels.ngram_table import hashed_words

    texts = [(number, view.kind, view.text) for number, item in enumerate(items) for view in item.views]
    words = hashed_words(text_buffers(pa.array([text for _, _, text in texts], pa.string())))
    sizes = np.diff(words.rows)
    kinds: list[list[str]] = [[] for _ in items]
    too_short: list[list[str]] = [[] for _ in items]
    kept = np.zeros(len(texts), np.bool_)
    for i, ((number, kind, _), size) in enumerate(zip(texts, sizes.tolist(), strict=True)):
        kept[i] = size >= (LONG_ANSWER if kind == "answer" else LEAST_WORDS)
        if kept[i]:
            kinds[number].append(kind)
        elif kind != "answer":
            too_short[number].append(kind)
    item_columns: list[Any] = [
        [item.benchmark for item in items], [item.id for item in items], [item.place for item in items], kinds,
        too_short,
    ]  # fmt: skip
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes[kept])])
    hashes = words.hashes[np.repeat(kept, sizes)]
    numbers = np.array([number for number, _, _ in texts], np.int64)[kept] + first
    return (
        pa.RecordBatch.from_arrays(
            [pa.array(column, field.type) for column, field in zip(item_columns, ITEMS_SCHEMA, strict=True)],
            schema=ITEMS_SCHEMA,
        ),
        pa.RecordBatch.from_arrays(
            [pa.array(numbers.astype(np.int32)), pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(hashes))],
            schema=VIEWS_SCHEMA,
        ),
    )


def read_items(process: Process, artifact: Artifact) -> pa.Table:
    """The items of a run, read once a process."""
    return process.kept(
        ("benchmark items", artifact.digest), lambda: get_table(process.run.folder, layout.ITEMS).combine_chunks()
    )


def table_of(process: Process, artifact: Artifact, ngram: int) -> Any:
    """The table of all views (`kernels.ngram_table.Table`), made once a process.

    Args:
        artifact: `decontaminate/items`.
    """

    def make() -> Any:
        from dolma_pipeline.kernels.ngram_table import Words, make_table

        views = get_table(process.run.folder, layout.VIEWS).combine_chunks()
        lists = views.column("words").combine_chunks()
        lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
        rows = lists.offsets.to_numpy()
        hashes = lists.values.to_numpy()
        return make_table(Words(rows, hashes), views.column("item").to_numpy(), ngram=ngram)

    return process.kept(("benchmark table", artifact.digest, ngram), make)
