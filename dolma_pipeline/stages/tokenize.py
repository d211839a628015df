"""tokens: shards of ids, shuffled by key over all sources; train and, apart, each source's held-out documents.

Cut (one task): the bounds of the parts, from the token counts of the mix. Encode (a task a shard): a run file,
cut by part. Part (a task a part): its slices of all runs, sorted by key, written as OLMo-core reads them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import TokensConfig
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.attributes import read_attribute
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.manifest import pretty, total_counts
from dolma_pipeline.io.shards import Shard
from dolma_pipeline.stages.columns import attribute_file, row_schema
from dolma_pipeline.stages.context import RunContext, sources_of
from dolma_pipeline.stages.mix import read_plan, selected_path
from dolma_pipeline.stages.step import Step, Task
from dolma_pipeline.stages.tokenizer import run_encoder, run_tokenizer
from dolma_pipeline.stages.units import Unit
from dolma_pipeline.tokens.encode import Encoder
from dolma_pipeline.tokens.keys import document_key
from dolma_pipeline.tokens.runs import ORDER, MappedRuns, cut_points, run_table, sort_runs, write_run
from dolma_pipeline.tokens.shards import PartFile, dataset_digest, write_part
from dolma_pipeline.tokens.unknown import unknown_counts, unknown_found


def tokens_config(context: RunContext) -> TokensConfig:
    """The recipe's `tokens`."""
    assert context.recipe.tokens is not None
    return context.recipe.tokens


def splits(context: RunContext) -> list[str]:
    """Folders of parts below tokens/: train, and held_out/<source> where the mix holds something out."""
    mix = context.recipe.mix
    held = [f"held_out/{source}" for source in sources_of(context.shards())] if mix and mix.held_out else []
    return ["train", *held]


def _cuts_path(context: RunContext) -> Path:
    return context.path / "tokens" / ".work" / "cuts.json"


def _cuts(context: RunContext) -> dict[str, NDArray[np.uint64]]:
    found = orjson.loads(_cuts_path(context).read_bytes())
    return {split: np.array(cuts, np.uint64) for split, cuts in found.items()}


def _run_path(context: RunContext, split: str, shard: str) -> Path:
    return context.path / "tokens" / ".work" / "runs" / split.split("/")[0] / f"{shard}.arrow"


@dataclass(frozen=True)
class CutStep(Step):
    """Where each split is cut into parts."""

    @property
    def name(self) -> str:
        """`tokens/cut`."""
        return "tokens/cut"

    @property
    def spread(self) -> bool:
        """No: one task."""
        return False

    def tasks(self) -> list[Task]:
        """The one task, unless done."""
        return [] if _cuts_path(self.context).is_file() else [Task("all")]

    def work(self, task: Task) -> None:
        """Cut."""
        context = self.context
        plan, seed = read_plan(context), context.recipe.seed
        found: dict[str, list[tuple[NDArray[np.uint64], NDArray[np.int64]]]] = {split: [] for split in splits(context)}
        for shard in context.shards():
            table = pq.read_table(selected_path(context, shard.name), columns=["row", "key", "held_key", "tokens"])
            rows, keys, held_keys, tokens = (column.to_numpy() for column in table.columns)
            held = plan.is_held(shard.source, held_keys)
            copies = np.where(held, 0, plan.copies(shard.source, keys))
            for epoch in range(int(copies.max(initial=0))):
                mine = copies > epoch
                origins = (f"{shard.name}#{row}" for row in rows[mine].tolist())
                found["train"].append((document_key(origins, seed=seed, epoch=epoch, purpose=ORDER), tokens[mine]))
            if held.any():
                origins = (f"{shard.name}#{row}" for row in rows[held].tolist())
                found[f"held_out/{shard.source}"].append(
                    (document_key(origins, seed=seed, purpose=ORDER), tokens[held])
                )
        cuts = {}
        for split, parts in found.items():
            if not parts:
                continue
            keys = np.concatenate([np.zeros(0, np.uint64), *(k for k, _ in parts)])
            tokens = np.concatenate([np.zeros(0, np.int64), *(t for _, t in parts)])
            cuts[split] = cut_points(keys, tokens, max_tokens=tokens_config(context).max_shard_tokens).tolist()
        if not sum(len(keys) for keys, _ in found["train"]):
            raise DataError("tokens: the mix chose no document for training. Look at mix/plan.json.")
        paths.write_bytes(_cuts_path(context), pretty(cuts))


@dataclass(frozen=True)
class EncodeStep(Step):
    """Ids of each shard's documents."""

    @property
    def name(self) -> str:
        """`tokens/encode`."""
        return "tokens/encode"

    def tasks(self) -> list[Task]:
        """Shards that are not encoded."""
        records = self.context.records("tokens/.work")
        return [Task(s.name, s.bytes) for s in self.context.shards() if not records.has(s.name)]

    def work(self, task: Task) -> None:
        """Encode one shard."""
        context, shard = self.context, self.context.shard(task.key)
        encoder, cuts = run_encoder(context), _cuts(context)
        for folder, split in (("documents", "train"), ("held_out", f"held_out/{shard.source}")):
            if split not in cuts:
                continue
            tables = list(self._tables(shard, folder, encoder))
            path = _run_path(context, split, shard.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if tables:
                write_run(path, pa.concat_tables(tables).combine_chunks(), cuts=cuts[split])
            else:
                path.unlink(missing_ok=True)
        context.records("tokens/.work").write(shard.name, {})

    def _tables(self, shard: Shard, folder: str, encoder: Encoder) -> Iterator[pa.Table]:
        context = self.context
        path = context.path / "mix" / folder / f"{shard.name}.jsonl.zst"
        mixed = Shard(shard.name, shard.source, str(path), "jsonl")
        kept = _kept_attributes(context, shard)

        def stop(failure: Failure) -> None:
            raise DataError(f"{failure.path}: {failure.reason}. The run's own files were changed; run mix with --redo.")

        for batch in ShardReader(mixed, report=stop):
            documents, origin_rows = _documents(batch, shard.source)
            for name, column in kept.items():
                documents = documents.append_column(name, column.take(pa.array(origin_rows)))
            ids = encoder.encode(batch.table.column("text"))
            size = int(batch.text.offsets[-1] - batch.text.offsets[0])
            copies = documents.column("epoch").to_numpy()
            rows = np.repeat(np.arange(len(batch)), copies)
            epochs = np.concatenate([np.arange(n) for n in copies.tolist()]).astype(np.int32)
            at = documents.column_names.index("epoch")
            documents = documents.take(pa.array(rows)).set_column(at, "epoch", pa.array(epochs))
            yield run_table(documents, ids.take(pa.array(rows)), seed=context.recipe.seed, dtype=encoder.info.dtype)
            self.progress(len(batch), size)


def _documents(batch: Batch, source: str) -> tuple[pa.Table, list[int]]:
    """Names of a batch of mixed documents (their `epoch` is the number of copies), and their rows in the shard."""
    extra = [orjson.loads(value) for value in batch.table.column("extra").to_pylist()]
    origins = [row["origin"] for row in extra]
    table = pa.table(
        {
            "origin": pa.array(origins, pa.string()),
            "source": pa.array([source] * len(origins), pa.string()),
            "id": batch.table.column("id"),
            "loc": pa.array([row["loc"] for row in extra], pa.int64()),
            "epoch": pa.array([row.get("epochs", 1) for row in extra], pa.int32()),
            "cluster": pa.array([row.get("cluster", row["origin"]) for row in extra], pa.string()),
        }
    )
    return table, [int(origin.rpartition("#")[2]) for origin in origins]


def _kept_attributes(context: RunContext, shard: Shard) -> dict[str, pa.Array]:
    schema = row_schema(context, shard.source)
    found: dict[str, pa.Array] = {}
    for name in tokens_config(context).keep_attributes:
        label, field = name.split(".", 1)
        path = attribute_file(context, shard, label)
        if path is None:
            raise DataError(f"tokens.keep_attributes: {name}: attributes/{label} has no file for shard {shard.name}.")
        found[name] = pc.struct_field(read_attribute(path, schema.field(label)), field)
    return found


@dataclass(frozen=True)
class PartStep(Step):
    """The parts; closes the unit `tokens`."""

    unit: Unit | None = None

    @property
    def name(self) -> str:
        """`tokens/parts`."""
        return "tokens/parts"

    def tasks(self) -> list[Task]:
        """Parts that are not written."""
        records = self.context.records("tokens")
        keys = [f"{split}/part-{i:05d}" for split, cuts in _cuts(self.context).items() for i in range(len(cuts) + 1)]
        return [Task(key) for key in keys if not records.has(key)]

    def work(self, task: Task) -> None:
        """Write one part."""
        context = self.context
        split, _, name = task.key.rpartition("/")
        number = int(name.removeprefix("part-"))
        info = run_tokenizer(context)
        runs = [
            _run_path(context, split, shard.name)
            for shard in context.shards()
            if split == "train" or split == f"held_out/{shard.source}"
        ]
        mapped = MappedRuns([path for path in runs if path.is_file()], part=number)
        folder = context.path / "tokens"
        eos = info.special_id(tokens_config(context).eos)
        special = sorted(info.special_ids.values())
        part = write_part(
            folder / task.key,
            _released(mapped),
            dtype=info.dtype,
            eos=eos,
            special_ids=special,
            unk_id=info.unknown.id,
        )
        record: dict[str, Any] = {
            "inputs": [],
            "outputs": [
                {"path": f"{split}/{f.name}", "rows": part.num_documents, "bytes": f.bytes, "sha256": f.sha256}
                for f in part.files
            ],
            "counts": {
                "documents": part.num_documents,
                "tokens": part.num_tokens,
                "empty": part.num_empty,
                "tokens_by_source": dict(part.tokens_by_source),
                "documents_by_source": dict(part.documents_by_source),
                **unknown_counts(info, part.unk_by_source),
            },
        }
        context.records("tokens").write(task.key, record)

    def finish(self) -> None:
        """Write the manifest, with what a trainer must know, and drop the runs."""
        assert self.unit is not None
        context, info = self.context, run_tokenizer(self.context)
        records = context.records("tokens").read()
        about: Mapping[str, Any] = {
            "tokenizer": "sha256:" + info.sha256,
            "vocab_size": info.num_ids,
            "dtype": info.dtype.name,
            "eos": info.special_id(tokens_config(context).eos),
            "dataset": dataset_digest(_train_files(records)),
            "warnings": unknown_found(info, total_counts(records)),
        }
        context.records("tokens").finish(self.unit.manifest_fields(context), extra=about)
        shutil.rmtree(context.path / "tokens" / ".work", ignore_errors=True)


def _released(runs: MappedRuns) -> Iterator[pa.Table]:
    """A part's documents in keyed order, in tables; the memory of each is given back before the next."""
    for table in sort_runs(runs.tables):
        yield table
        runs.release()


def _train_files(records: Sequence[Mapping[str, Any]]) -> Iterator[PartFile]:
    for output in (output for record in records for output in record["outputs"]):
        folder, _, name = output["path"].rpartition("/")
        if folder == "train":
            yield PartFile(name, output["bytes"], output["sha256"])
