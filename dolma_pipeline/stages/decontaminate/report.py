"""The report: what of each benchmark was found, and of each item that was, in which documents (`found.jsonl`).

Matches are read shard by shard; what is held is a few numbers an item, and the origins of `MOST_ORIGINS` documents.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from dolma_pipeline.dedup.contamination import Judged, judge_matches
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import close, output_record
from dolma_pipeline.run.phase import OneTask, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import listed
from dolma_pipeline.stages.decontaminate.items import read_items, table_of
from dolma_pipeline.stages.decontaminate.mark import thresholds_of

MOST_ORIGINS = 10
"""Documents that are named of each item; the others are in the files of matches."""


@dataclass(frozen=True)
class Report(OneTask):
    """Writes the report.

    Args:
        items: the artifact of the benchmarks' items. ngram: words in an n-gram.
    """

    items: Artifact | None = None
    ngram: int = 13

    @property
    def name(self) -> str:
        """`decontaminate/report`."""
        return "decontaminate/report"

    @property
    def needs(self) -> frozenset[str]:
        """The columns, and what they are made from."""
        return frozenset(need.name for need in self.artifacts[0].needs)

    @property
    def makes(self) -> frozenset[str]:
        """`decontaminate`."""
        return frozenset({self.artifacts[0].name})

    def work(self, process: Process, task: Task) -> Work:
        """Gather the matches of all shards."""
        assert self.items is not None
        run, (artifact,) = process.run, self.artifacts
        items = read_items(process, self.items)
        found = Found(len(items))
        thresholds = thresholds_of(run.recipe)
        for shard in listed(run):
            matches = get_table(run.folder, layout.matches(shard.name))
            judged = judge_matches(matches, thresholds)
            found.add(shard.name, matches, judged)
        with run.folder.committing(layout.FOUND) as file:
            for line in found.lines(items):
                file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        output = output_record(artifact, layout.FOUND, file, rows=int(np.count_nonzero(found.documents + found.weak)))
        stock = stock_items(process, self.items, self.ngram)
        return Work(more={"outputs": [output], "benchmarks": found.benchmarks(items, stock)}, files=[layout.FOUND])

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest, with a row a benchmark."""
        (artifact,) = self.artifacts
        (record,) = records
        close(run.folder, artifact, [], shards_digest=run.shards_digest, extra=record["more"])


NUMBERS = ("items", "unfindable", "views_too_short", "stock", "found", "weak")
"""What is counted of each benchmark."""


def stock_items(process: Process, items: Artifact, ngram: int) -> set[int]:
    """Items of which nothing is looked for, for all their words stand in phrases that very many views share."""
    table = table_of(process, items, ngram)
    looked_for = (table.coverable > 0) | (np.diff(table.rows) < ngram)  # short views are compared whole
    views = table.item_of
    return set(np.setdiff1d(views, views[looked_for]).tolist())


class Found:
    """What is known of each of n items: documents, weak int64[n]; the largest coverage and run; first origins."""

    def __init__(self, num_items: int) -> None:
        self.documents, self.weak = np.zeros(num_items, np.int64), np.zeros(num_items, np.int64)
        self.coverage, self.run = np.zeros(num_items, np.float64), np.zeros(num_items, np.int64)
        self.origins: dict[int, list[str]] = {}

    def add(self, shard: str, matches: pa.Table, judged: Judged) -> None:
        """The matches of the next shard."""
        rows, items = matches.column("row").to_numpy(), matches.column("item").to_numpy()
        np.add.at(self.documents, items[judged.marks], 1)
        np.add.at(self.weak, items[judged.weak], 1)
        counts = judged.marks | judged.weak
        np.maximum.at(self.coverage, items[counts], judged.coverage[counts])
        np.maximum.at(self.run, items[counts], judged.run[counts])
        for item, row in zip(items[counts].tolist(), rows[counts].tolist(), strict=True):
            named = self.origins.setdefault(item, [])
            if len(named) < MOST_ORIGINS:
                named.append(f"{shard}#{row}")

    def lines(self, items: pa.Table) -> Iterator[dict[str, Any]]:
        """An object for each item that was found, in the order of the items."""
        for item in sorted(self.origins):
            row = items.slice(item, 1).to_pylist()[0]
            yield {
                "benchmark": row["benchmark"],
                "item": row["id"],
                "place": row["place"],
                "documents": int(self.documents[item]),
                "weak": int(self.weak[item]),
                "coverage": round(float(self.coverage[item]), 4),
                "run": int(self.run[item]),
                "origins": self.origins[item],
            }

    def benchmarks(self, items: pa.Table, stock: Collection[int]) -> dict[str, dict[str, int]]:
        """Benchmark -> items; unfindable (no view is long enough); stock (those given); found (mark a document); weak
        (are only weak); views_too_short."""
        report: dict[str, dict[str, int]] = {}
        views, too_short = (items.column(name).to_pylist() for name in ("views", "too_short"))
        for item, benchmark in enumerate(items.column("benchmark").to_pylist()):
            own = report.setdefault(benchmark, dict.fromkeys(NUMBERS, 0))
            own["items"] += 1
            own["unfindable"] += not views[item]
            own["stock"] += item in stock
            own["views_too_short"] += len(too_short[item])
            own["found"] += bool(self.documents[item])
            own["weak"] += bool(self.weak[item]) and not self.documents[item]
        return report
