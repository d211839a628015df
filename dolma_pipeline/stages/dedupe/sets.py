"""Sets of shingles of the documents in buckets: a second reading, these rows alone; artifact `dedupe/<step>/sets`.

They depend on texts and buckets, not on order, threshold or rules, so another of these opens no text. A task a shard;
its text is read up to the last row that is wanted, and each text is held against its hash in the index. When a run
grows, a shard is read again only if other rows of it are wanted by then.
Cost: ~200 MB of text a CPU-second for the sets beside reading; 8 bytes for 100 bytes of text where a fifth of the
documents is in buckets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.exact import text_keys
from dolma_pipeline.dedup.minhash import Sets, shingle_sets
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.tables import TableWriter, get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, digest
from dolma_pipeline.run.columns import documents_of, read_index
from dolma_pipeline.run.manifests import close, output_record, read_lines, read_manifest
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import gathered, is_made_for
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt, indexed, names

SCHEMA = pa.schema(
    [pa.field("row", pa.int64()), pa.field("cut", pa.bool_()), pa.field("set", pa.large_binary())],
)
"""row: of the shard. set: its distinct shingles, ascending, four bytes each, little-endian. cut: it lacks the last."""


def wanted_rows(run: Run, step: str) -> Iterator[tuple[ShardAt, NDArray[np.int64]]]:
    """Every shard of the run, and those of its rows that are in buckets, ascending."""
    members = np.unique(get_table(run.folder, layout.buckets(step), ["member"]).column("member").to_numpy())
    for shard in indexed(run):
        lo, hi = np.searchsorted(members, [shard.first, shard.first + shard.rows])
        yield shard, members[lo:hi] - shard.first


@dataclass(frozen=True)
class MakeSets(Phase):
    """The sets of one dedupe step."""

    step: DedupeStepConfig | None = None

    @property
    def name(self) -> str:
        """`dedupe/sets/<step>`."""
        assert self.step is not None
        return f"dedupe/sets/{self.step.name}"

    @property
    def needs(self) -> frozenset[str]:
        """The buckets."""
        assert self.step is not None
        return frozenset({f"dedupe/{self.step.name}"})

    @property
    def makes(self) -> frozenset[str]:
        """`dedupe/<step>/sets`."""
        return frozenset({self.artifacts[0].name})

    @property
    def reads_text(self) -> bool:
        """Yes."""
        return True

    def tasks(self, run: Run) -> Iterator[Task]:
        """Shards with rows in buckets, but for those of which the very sets are there."""
        assert self.step is not None
        (artifact,) = self.artifacts
        done = gathered(run, artifact, but=self)
        for shard, rows in wanted_rows(run, self.step.name):
            if len(rows) == 0 or is_made_for(run, artifact, done.get(shard.name), _wanted(rows)):
                continue
            if shard.gone and not done.get(shard.name, {}).get("outputs"):
                continue  # none of its sets is there; `finish` tells of it
            yield Task(shard.name, max(1, shard.shard.bytes), (shard, rows))

    def work(self, process: Process, task: Task) -> Work:
        """Read one shard; of one whose file is gone, take the sets that are there."""
        assert self.step is not None
        shard, rows = task.payload
        (artifact,) = self.artifacts
        name = layout.sets(self.step.name, shard.name)
        if shard.gone:
            return Work({artifact.name: [_of_stored(process.run, artifact, shard, name, rows)]}, documents=len(rows))
        num_bytes = 0
        with process.run.folder.committing(name) as file:
            writer = TableWriter(file, SCHEMA, compression="none")
            for some, texts in texts_of_rows(process, shard, rows):
                found = shingle_sets(texts.text, shingle=self.step.shingle)
                writer.write([pa.array(some), pa.array(found.cut), _binary(found)])
                num_bytes += int(texts.text.offsets[-1] - texts.text.offsets[0])
            writer.close()
        output = output_record(artifact, name, file, rows=len(rows))
        record = {"shard": shard.name, "inputs": [shard.input()], "outputs": [output], "wanted": _wanted(rows)}
        return Work({artifact.name: [record]}, documents=len(rows), num_bytes=num_bytes)

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        """Write the manifest; `lacking` counts the documents in buckets whose sets nobody can make any more.

        Raises:
            DataError: there are some, and they cannot be judged without.
        """
        assert self.step is not None
        (artifact,) = self.artifacts
        made: dict[str, Any] = gathered(run, artifact, but=self)
        for record in records:
            made |= {one["shard"]: one for one in record["records"][artifact.name]}
        for shard, rows in wanted_rows(run, self.step.name):
            if len(rows) == 0:
                made[shard.name] = {
                    "shard": shard.name, "inputs": [shard.input()], "outputs": [], "wanted": _wanted(rows)
                }  # fmt: skip
            elif shard.gone and shard.name not in made:
                made[shard.name] = _record(shard, [], rows[:0], rows)
        lacking = {name: record[LACKING] for name, record in made.items() if LACKING in record}
        if lacking and self.step.verify == "containment":
            shards = ", ".join(f"{name} ({count:,})" for name, count in sorted(lacking.items())[:5])
            raise DataError(
                f"dedupe step {self.step.name}: {sum(lacking.values()):,} documents of files that are gone have "
                f"relatives for the first time, and their sets were never made: {shards}. verify is containment, of "
                "which a signature tells nothing. Put these files back, and take them out of `gone`."
            )
        extra = {LACKING: {"shards": len(lacking), "documents": sum(lacking.values())}} if lacking else {}
        close(run.folder, artifact, made.values(), shards_digest=run.shards_digest, expected=names(run), extra=extra)


LACKING = "lacking"
"""In the record of a shard: how many of its documents in buckets have no set; in the manifest: of how many shards."""


def _wanted(rows: NDArray[np.int64], lacking: NDArray[np.int64] | None = None) -> str:
    """What a shard's sets were made for, in a record; lacking: rows that are in buckets and have none."""
    return digest(rows.tolist() if lacking is None or len(lacking) == 0 else [rows.tolist(), lacking.tolist()])


def _record(
    shard: ShardAt, outputs: list[dict[str, Any]], rows: NDArray[np.int64], lacking: NDArray[np.int64]
) -> dict[str, Any]:
    found = {"shard": shard.name, "inputs": [shard.input()], "outputs": outputs, "wanted": _wanted(rows, lacking)}
    return found | ({LACKING: len(lacking)} if len(lacking) else {})


def _of_stored(run: Run, artifact: Artifact, shard: ShardAt, name: str, rows: NDArray[np.int64]) -> dict[str, Any]:
    """The record of a shard whose file is gone: its file of sets has those of some rows, written anew with them alone,
    as it would be if the text were there."""
    table = get_table(run.folder, name)
    stored = table.column("row").to_numpy()
    some = np.isin(stored, rows)
    lacking = np.setdiff1d(rows, stored)
    outputs = []
    if some.any():
        with run.folder.committing(name) as file:
            writer = TableWriter(file, SCHEMA, compression="none")
            writer.write([column.combine_chunks() for column in table.filter(pa.array(some)).columns])
            writer.close()
        outputs.append(output_record(artifact, name, file, rows=int(some.sum())))
    return _record(shard, outputs, stored[some], lacking)


def lacking_sets(run: Run, step: str) -> NDArray[np.int64]:
    """Documents in buckets that have no set, since their text was gone when they came into one; by number, sorted."""
    folder = f"dedupe/{step}/sets"
    found = [np.zeros(0, np.int64)]
    if LACKING not in (read_manifest(run.folder, folder) or {}):
        return found[0]
    records = {line["shard"]: line for line in read_lines(run.folder, folder) if LACKING in line}
    for shard, rows in wanted_rows(run, step):
        if record := records.get(shard.name):
            stored = [get_table(run.folder, layout.sets(step, shard.name), ["row"]).column("row").to_numpy()
                      for _ in record["outputs"]]  # fmt: skip
            found.append(np.setdiff1d(rows, np.concatenate([found[0], *stored])) + shard.first)
    return np.concatenate(found)


def texts_of_rows(
    process: Process, shard: ShardAt, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Some rows of a shard with their texts, batch by batch; it is read up to the last of them.

    Other lines are passed over, so nothing is known of them but that they end; each text is held against its hash.

    Raises:
        DataError: a text is another than the index saw.
    """
    index = read_index(process.run, shard, ["loc", "hash_hi", "hash_lo"])
    locs, hi, lo = (index.column(name).to_numpy() for name in index.column_names)
    by_place = bool((np.diff(locs) > 0).all())  # another one's format may give places twice
    wanted = locs[rows] if by_place else rows
    failures: list[Failure] = []
    at = 0
    with documents_of(process, shard, failures.append, only=wanted.tolist() if by_place else None) as reader:
        for batch in reader:
            own = batch.locs if by_place else np.arange(batch.first_row, batch.first_row + len(batch))
            end = int(np.searchsorted(wanted, own[-1], side="right"))
            found = np.flatnonzero(np.isin(own, wanted[at:end], assume_unique=True))
            if len(found) != end - at:
                raise _changed(shard)
            some, at = rows[at:end], end
            if len(some):
                texts = batch if len(some) == len(batch) else Batch(batch.table.take(pa.array(found)))
                keys = text_keys(texts)
                if (keys.hi != hi[some]).any() or (keys.lo != lo[some]).any():
                    raise _changed(shard)
                yield some, texts
            if at == len(rows):
                return
    if at < len(rows):
        raise _changed(shard)


def _changed(shard: ShardAt) -> DataError:
    return DataError(
        f"{shard.location}: the file was changed (its documents are others) since this run indexed it. "
        "Put the old file back, or give it another name, or start in another output folder."
    )


def _binary(found: Sets) -> pa.Array:
    """Sets as bytes, without a copy."""
    offsets, values = pa.py_buffer(found.starts * 4), pa.py_buffer(found.values.astype("<u4"))
    return pa.Array.from_buffers(pa.large_binary(), len(found.cut), [None, offsets, values])


def read_sets(run: Run, step: str, rows: Iterator[tuple[ShardAt, NDArray[np.int64]]]) -> Sets:
    """The sets of these rows, in their order.

    Args:
        rows: shards with some of their rows, ascending, all of which are in buckets.

    Raises:
        DataError: a row has no set.
    """
    values, sizes, cut = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)], [np.zeros(0, np.bool_)]
    for shard, wanted in rows:
        name = layout.sets(step, shard.name)
        table = get_table(run.folder, name)
        own = table.column("row").to_numpy()
        at = np.searchsorted(own, wanted)
        if len(own) == 0 or (own[np.minimum(at, len(own) - 1)] != wanted).any():
            raise DataError(f"{run.folder.url}/{name}: lacks rows that are in buckets. Delete it and run again.")
        some = table.take(pa.array(at))
        column = some.column("set").combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1] // 4
        data = column.buffers()[2]
        values.append(np.frombuffer(data, "<u4")[offsets[0] : offsets[-1]] if data is not None else values[0])
        sizes.append(np.diff(offsets))
        cut.append(some.column("cut").to_numpy())
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(sizes))])
    return Sets(np.concatenate(values), starts, np.concatenate(cut))
