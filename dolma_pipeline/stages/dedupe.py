"""dedupe, first half: which documents are copies of each other. From text alone; marks, removes nothing.

Sign (a task a shard): a shard's keys, each band sorted. Edges (a task a band and key range): equal keys in the
sorted columns of all shards; nothing crosses a shuffle. Cluster (one task): union-find over the edges.
Documents are numbered densely over all shards in order; the number lives only in these files.
Cost: 1.2 CPU seconds and 92 MB for the bands of 10^6 documents; a signature takes 280 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.components import components
from dolma_pipeline.dedup.edges import edges_in_range, key_ranges, sorted_column
from dolma_pipeline.documents import Batch
from dolma_pipeline.io.manifest import Records, output_record, work_record
from dolma_pipeline.io.tables import write_table
from dolma_pipeline.stages.context import Failures, RunContext
from dolma_pipeline.stages.own_files import read_table
from dolma_pipeline.stages.step import Step, Task
from dolma_pipeline.stages.units import Unit

BYTES_A_ROW = 800
"""`max_memory` over this is the rows that one edge task takes: it needs ~60 bytes a row, and what reads them."""


def step_config(context: RunContext, name: str) -> DedupeStepConfig:
    """The dedupe step of a name."""
    assert context.recipe.dedupe is not None
    return next(step for step in context.recipe.dedupe.steps if step.name == name)


def signature_path(context: RunContext, step: str, shard: str) -> Path:
    """The signatures of a shard."""
    return context.path / "dedupe" / step / "signatures" / f"{shard}.parquet"


def members_path(context: RunContext, step: str) -> Path:
    """Documents that are in a cluster of at least two: node, label (dense numbers), sorted by node."""
    return context.path / "dedupe" / step / "clusters" / "members.parquet"


def num_rows_of(context: RunContext, step: str) -> dict[str, int]:
    """Documents in each shard, in order of the shards."""
    return {shard: counts["kept"] for shard, counts in counts_of(context, step).items()}


def counts_of(context: RunContext, step: str) -> dict[str, dict[str, int]]:
    """Counts of each shard when it was signed, in order of the shards; kept are its documents.

    Raises:
        RunError: a shard that is not signed.
    """
    return _counts(context, step) if context.attempt else _read_counts(context, step)


def _read_counts(context: RunContext, step: str) -> dict[str, dict[str, int]]:
    records = context.records(f"dedupe/{step}").all([shard.name for shard in context.shards()])
    return {record["shard"]: record["counts"] for record in records}


@lru_cache(maxsize=8)
def _counts(context: RunContext, step: str) -> dict[str, dict[str, int]]:
    return _read_counts(context, step)


def dense_offsets(context: RunContext, step: str) -> dict[str, int]:
    """Dense number of each shard's first document, in order of the shards."""
    offsets, total = {}, 0
    for shard, rows in num_rows_of(context, step).items():
        offsets[shard] = total
        total += rows
    return offsets


@dataclass(frozen=True)
class SignStep(Step):
    """Keys of all documents, for all dedupe steps that are units, in one reading of the text."""

    @property
    def name(self) -> str:
        """`dedupe/sign`."""
        return "dedupe/sign"

    def all_tasks(self) -> list[Task]:
        """The shards; done is one when every step has signed it."""
        return [Task(s.name, s.bytes) for s in self.context.shards()]

    def leaves(self, task: Task) -> list[tuple[Records, str]]:
        """A record in each unit."""
        return [(self.context.records(unit.name), task.key) for unit in self.units]

    def work(self, task: Task) -> None:
        """Sign one shard."""
        context, shard = self.context, self.context.shard(task.key)
        failures = Failures(context, "dedupe", shard)
        missing = [_step_of(u) for u in self.units if not context.records(u.name).has(shard.name)]
        keys = {name: _Signatures(step_config(context, name)) for name in missing}
        documents = num_bytes = 0
        reader = context.read(shard, failures)
        for batch in reader:
            for signatures in keys.values():
                signatures.add(batch)
            size = int(batch.text.offsets[-1] - batch.text.offsets[0])
            documents, num_bytes = documents + len(batch), num_bytes + size
            self.progress(len(batch), size)
        failures.commit()
        for name, signatures in keys.items():
            folder, path = context.path / "dedupe" / name, signature_path(context, name, shard.name)
            write_table(path, signatures.table())
            counts = {"in": documents + len(failures), "kept": documents, "dropped": 0, "failed": len(failures)}
            record = {
                "inputs": [{"path": shard.path, "bytes": shard.bytes, "sha256": reader.sha256}],
                "outputs": [output_record(folder, path, rows=documents)],
                "counts": {**counts, "bytes_in": num_bytes},
            }
            context.records(f"dedupe/{name}").write(shard.name, record)


class _Signatures:
    """The keys of a shard's documents, as they are collected."""

    def __init__(self, config: DedupeStepConfig) -> None:
        self.config = config
        self.rows: list[NDArray[np.uint32]] = []
        self.keys: list[NDArray[np.uint64]] = []
        self.low: list[NDArray[np.uint8]] = []
        self.num_rows = 0

    def add(self, batch: Batch) -> None:
        first = self.num_rows
        if self.config.kind == "exact":
            from dolma_pipeline.dedup.exact import text_keys

            hi, lo, signed = text_keys(batch)
            self.keys.append(np.stack([hi, lo], axis=1)[signed])
        else:
            from dolma_pipeline.dedup import minhash

            bands, rows = self.config.bands, self.config.rows
            minima, signed = minhash.signatures(batch, shingle=self.config.shingle, num_perm=bands * rows)
            self.keys.append(minhash.band_keys(minima[signed], bands=bands, rows=rows))
            self.low.append(minhash.low_bytes(minima[signed]))
        self.rows.append((np.flatnonzero(signed) + first).astype(np.uint32))
        self.num_rows += len(batch)

    def table(self) -> pa.Table:
        """Per band `key_XX` sorted and `row_XX` in its order; `row` and `low` (minhash) in order of the rows."""
        width = 2 if self.config.kind == "exact" else self.config.bands
        rows = np.concatenate([np.zeros(0, np.uint32), *self.rows])
        keys = np.concatenate([np.zeros((0, width), np.uint64), *self.keys])
        columns: dict[str, Any] = {"row": rows}
        if self.config.kind == "exact":
            order = np.lexsort((rows, keys[:, 1], keys[:, 0]))
            columns |= {"key_00": keys[order, 0], "row_00": rows[order], "second_00": keys[order, 1]}
        else:
            for band in range(width):
                columns[f"key_{band:02d}"], columns[f"row_{band:02d}"] = sorted_column(keys[:, band].copy(), rows)
            num_perm = self.config.bands * self.config.rows
            low = np.concatenate([np.zeros((0, num_perm), np.uint8), *self.low])
            columns["low"] = pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(num_perm), len(low), [None, pa.py_buffer(low.tobytes())]
            )
        return pa.table(columns)


@dataclass(frozen=True)
class EdgeStep(Step):
    """Pairs of documents with an equal key: a task takes some bands, or where they are long one key range of one."""

    @property
    def name(self) -> str:
        """`dedupe/edges`."""
        return "dedupe/edges"

    def all_tasks(self) -> list[Task]:
        """Bands and ranges of all steps; the key is `<step>/<part>`."""
        steps = [_step_of(unit) for unit in self.units]
        return [Task(f"{step}/{part}") for step in steps for part in edge_parts(self.context, step)]

    def leaves(self, task: Task) -> list[tuple[Records, str]]:
        """A record that lists the file of edges."""
        step, part = task.key.split("/")
        return [(self.context.work_records(f"dedupe/{step}", "edges"), part)]

    def work(self, task: Task) -> None:
        """Find the edges of one task."""
        step, part = task.key.split("/")
        first, count, number, ranges = (int(n) for n in part.split("-"))
        lo, hi = key_ranges(ranges)[number]
        exact = step_config(self.context, step).kind == "exact"
        bands = [f"{band:02d}" for band in range(first, first + count)]
        kinds = ("key", "row", "second") if exact else ("key", "row")
        names = [f"{kind}_{band}" for band in bands for kind in kinds]
        offsets = dense_offsets(self.context, step)
        within = _within(f"key_{bands[0]}", lo, hi) if ranges > 1 else None  # then the task has one band
        paths = [signature_path(self.context, step, shard) for shard in offsets]
        tables = [read_table(self.context, path, columns=names, filters=within) for path in paths]
        found = [np.zeros((0, 2), np.int64)]
        for band in bands:
            columns = [(t.column(f"key_{band}").to_numpy(), t.column(f"row_{band}").to_numpy()) for t in tables]
            second = [t.column(f"second_{band}").to_numpy() for t in tables] if exact else None
            found.append(edges_in_range(columns, list(offsets.values()), lo, hi, second=second))
        edges = np.unique(np.concatenate(found), axis=0)
        folder = self.context.path / "dedupe" / step
        path = folder / "edges" / f"{part}.parquet"
        write_table(path, pa.table({"a": edges[:, 0], "b": edges[:, 1]}))
        for records, key in self.leaves(task):
            records.write(key, {"outputs": [work_record(folder, path)]})


def edge_parts(context: RunContext, step: str) -> list[str]:
    """Bands and key ranges in which the edges of a step are found: `<first band>-<bands>-<range>-<ranges>`."""
    num_rows = sum(num_rows_of(context, step).values())
    config = step_config(context, step)
    bands = 1 if config.kind == "exact" else config.bands
    most = max(1, context.recipe.max_memory // BYTES_A_ROW)
    together = max(1, min(bands, most // max(1, num_rows)))
    ranges = 1 + num_rows // most
    return [
        f"{band:02d}-{min(together, bands - band):02d}-{number:04d}-{ranges:04d}"
        for band in range(0, bands, together)
        for number in range(ranges)
    ]


def _within(column: str, lo: int, hi: int) -> pc.Expression:
    """Rows whose key is from `lo` to before `hi`; the column is sorted, so other row groups are not read."""
    found = pc.field(column) >= pa.scalar(lo, pa.uint64())
    return found if hi > np.iinfo(np.uint64).max else found & (pc.field(column) < pa.scalar(hi, pa.uint64()))


@dataclass(frozen=True)
class ClusterStep(Step):
    """Connected components of the edges, one task a dedupe step; closes the units `dedupe/…`."""

    @property
    def name(self) -> str:
        """`dedupe/cluster`."""
        return "dedupe/cluster"

    @property
    def spread(self) -> bool:
        """No: one task."""
        return False

    def all_tasks(self) -> list[Task]:
        """The dedupe steps."""
        return [Task(unit.name) for unit in self.units]

    def leaves(self, task: Task) -> list[tuple[Records, str]]:
        """A record that lists the file of members."""
        return [(self.context.work_records(task.key, "clusters"), "members")]

    def work(self, task: Task) -> None:
        """Cluster one dedupe step."""
        context, step = self.context, task.key.split("/")[1]
        records = context.work_records(task.key, "edges")
        files = [file for part in edge_parts(context, step) for file in records.outputs(part)]
        parts = [read_table(context, file) for file in files]
        edges = np.concatenate(
            [np.zeros((0, 2), np.int64), *(np.stack([t.column(0), t.column(1)], axis=1) for t in parts)]
        )
        nodes, labels = components(edges)
        path = members_path(context, step)
        write_table(path, pa.table({"node": nodes, "label": labels}), compression="zstd")
        for records, key in self.leaves(task):
            records.write(key, {"outputs": [work_record(records.files, path)]})

    def close(self) -> None:
        """Write the manifests."""
        shards = [shard.name for shard in self.context.shards()]
        for unit in self.open_units:
            records = self.context.records(unit.name)
            members = read_table(self.context, members_path(self.context, _step_of(unit)))
            found: Mapping[str, int] = {
                "clusters": len(np.unique(members.column("label").to_numpy())),
                "documents": members.num_rows,
            }
            records.finish(unit.manifest_fields(self.context), expected=shards, extra={"clusters": found})


def _step_of(unit: Unit) -> str:
    return unit.name.split("/")[1]
