"""mix: filter, mask, sample to a budget. Two passes over the text, columns between them.

Filter (a task a shard): asks the rules, edits, counts tokens exactly; writes what passes as columns, and every
dropped document with its rules and the values they saw. Plan (one task): totals by source become one cut of the
keyed order. Write (a task a shard): the chosen documents, edited, with their origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import MixConfig
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.jsonl import LinesWriter
from dolma_pipeline.io.manifest import Records, add_counts, output_record, pretty, work_record
from dolma_pipeline.io.tables import write_table
from dolma_pipeline.registry import load_mixer
from dolma_pipeline.stages.columns import RowReader, check_unchanged
from dolma_pipeline.stages.context import Failures, RunContext, sources_of
from dolma_pipeline.stages.own_files import present, read_json, read_table
from dolma_pipeline.stages.plan import MixPlan, Selection, plan_mix
from dolma_pipeline.stages.rules import SourceRules, Verdict, count_rules, no_counts, source_rules
from dolma_pipeline.stages.step import Step, Task
from dolma_pipeline.stages.tokenizer import run_encoder
from dolma_pipeline.tokens.keys import document_key

SELECTED = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("key", pa.uint64()),
        pa.field("held_key", pa.uint64()),
        pa.field("tokens", pa.int64()),
        pa.field("cluster", pa.string()),
    ]
)
DROPPED = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("id", pa.string()),
        pa.field("rules", pa.list_(pa.string())),
        pa.field("values", pa.string()),
    ]
)
"""A dropped document: its row, id, all rules that dropped it, and (JSON) the values that the rules saw."""


def mix_config(context: RunContext) -> MixConfig:
    """The recipe's `mix`."""
    assert context.recipe.mix is not None
    return context.recipe.mix


def selected_path(context: RunContext, shard: str) -> Path:
    """Columns (`SELECTED`) of a shard's documents that pass; another budget needs nothing else."""
    return context.path / "mix" / "selected" / f"{shard}.parquet"


def dropped_path(context: RunContext, shard: str) -> Path:
    """Columns (`DROPPED`) of a shard's documents that do not pass."""
    return context.path / "mix" / "dropped" / f"{shard}.parquet"


def filtered(context: RunContext) -> Records:
    """What the filter left of each shard, while the mix is made."""
    return context.work_records("mix", "filter")


def cluster_of(context: RunContext, table: pa.Table, origins: Sequence[str]) -> list[str]:
    """The group that each document belongs to, for choices that must not part copies: all that the dedupe steps
    connect with it, whichever of them; without such steps its own origin."""
    steps = context.recipe.dedupe.steps if context.recipe.dedupe else ()
    if not steps:
        return list(origins)
    groups: list[str] = pc.struct_field(table.column(steps[-1].name).combine_chunks(), "group").to_pylist()
    return groups


@dataclass(frozen=True)
class FilterStep(Step):
    """Which documents pass, and how many tokens they have."""

    @property
    def name(self) -> str:
        """`mix/filter`."""
        return "mix/filter"

    def all_tasks(self) -> list[Task]:
        """The shards."""
        return [Task(s.name, s.bytes) for s in self.context.shards()]

    def leaves(self, task: Task) -> list[tuple[Records, str]]:
        """A record with the counts, that lists what passed and what was dropped."""
        return [(filtered(self.context), task.key)]

    def work(self, task: Task) -> None:
        """Filter one shard."""
        context, shard = self.context, self.context.shard(task.key)
        rules = source_rules(context, shard.source)
        encoder = run_encoder(context)
        steps = [step.name for step in context.recipe.dedupe.steps[-1:]] if context.recipe.dedupe else []
        failures = Failures(context, "mix", shard)
        selected: list[pa.Table] = []
        dropped: list[pa.Table] = []
        counts: dict[str, Any] = {"rules": dict(no_counts(rules.names))}
        seed = context.recipe.seed
        reader = RowReader(
            context, shard, sorted({*rules.columns, *steps}), failures, fields=rules_and_clusters(rules, steps)
        )
        for batch, table in reader:
            texts, edited = rules.edit(table)
            verdict = rules.judge(table, texts)
            rows = np.flatnonzero(verdict.passed)
            origins = batch.origins()
            mine = [origins[i] for i in rows.tolist()]
            kept = texts.take(pa.array(rows))
            ids = encoder.encode(kept)
            check_some(encoder, kept, mine, seed=seed)
            clusters = cluster_of(context, table.take(pa.array(rows)), mine)
            columns = [
                rows + batch.first_row,
                document_key(mine, seed=seed),
                document_key(clusters, seed=seed, purpose="held_out"),
                _num_tokens(ids),
                clusters,
            ]
            selected.append(_table(SELECTED, columns))
            dropped.append(_dropped(batch, table, rules, verdict))
            size = int(batch.text.offsets[-1] - batch.text.offsets[0])
            counts = add_counts(
                counts,
                {
                    "in": len(batch),
                    "kept": len(rows),
                    "dropped": len(batch) - len(rows),
                    "edited": int(edited[rows].sum()),
                    "bytes_in": size,
                    "bytes_kept": int(pc.sum(pc.binary_length(kept)).as_py() or 0),
                    "tokens_kept": int(_num_tokens(ids).sum()),
                    "rules": count_rules(verdict),
                },
            )
            self.progress(len(batch), size)
        failures.commit()
        zero = dict.fromkeys(("in", "kept", "dropped", "edited", "bytes_in", "bytes_kept", "tokens_kept"), 0)
        counts = add_counts(add_counts(zero, counts), {"in": len(failures), "failed": len(failures)})
        write_table(selected_path(context, shard.name), pa.concat_tables([SELECTED.empty_table(), *selected]))
        write_table(
            dropped_path(context, shard.name),
            pa.concat_tables([DROPPED.empty_table(), *dropped]),
            compression="zstd",
        )
        made = [selected_path(context, shard.name), dropped_path(context, shard.name)]
        for records, key in self.leaves(task):
            outputs = [work_record(records.files, path) for path in made]
            records.write(key, {"inputs": reader.inputs, "counts": counts, "outputs": outputs})


def rules_and_clusters(rules: SourceRules, steps: Sequence[str]) -> dict[str, set[str]]:
    """Fields that a source's rules, its edits, and `cluster_of` read."""
    fields = rules.fields
    whole = set(rules.columns) - set(fields)
    return fields | {step: fields.get(step, set()) | {"group"} for step in steps if step not in whole}


def check_some(encoder: Any, texts: pa.Array, origins: Sequence[str], *, seed: int) -> None:
    """Compare the fast tokenizer with the reference on a keyed 1 in 1,000 documents; a difference stops the run."""
    some = np.flatnonzero(document_key(origins, seed=seed, purpose="check") < np.uint64((1 << 64) // 1000))
    if len(some):
        encoder.check(texts.take(pa.array(some)), names=[origins[i] for i in some.tolist()])


def _num_tokens(ids: pa.ListArray) -> NDArray[np.int64]:
    """Tokens of each document in a shard: its ids and its EOS; none of a document without ids, which is not written."""
    lengths: NDArray[np.int64] = pc.list_value_length(ids).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.where(lengths > 0, lengths + 1, 0)


def _table(schema: pa.Schema, columns: Sequence[Any]) -> pa.Table:
    arrays = [
        pa.array(c, f.type) if not isinstance(c, pa.Array) else c.cast(f.type)
        for c, f in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _dropped(batch: Batch, table: pa.Table, rules: SourceRules, verdict: Verdict) -> pa.Table:
    rows = np.flatnonzero(~verdict.passed)
    names = np.array(verdict.rules, object)
    why = [names[verdict.failed[:, row]].tolist() for row in rows.tolist()]
    values = [
        orjson.dumps(v, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()
        for v in rules.values(table, rows)
    ]
    ids = batch.table.column("id").take(pa.array(rows))
    return _table(DROPPED, [rows + batch.first_row, ids, why, values])


def plan_path(context: RunContext) -> Path:
    """The plan of the mix."""
    return context.path / "mix" / "plan.json"


def read_plan(context: RunContext) -> MixPlan:
    """The plan of the mix, once it is made."""
    return MixPlan.from_json(read_json(context, plan_path(context)))


@dataclass(frozen=True)
class PlanStep(Step):
    """How much of each source; one task over columns: 24 bytes a document that passes."""

    @property
    def name(self) -> str:
        """`mix/plan`."""
        return "mix/plan"

    @property
    def spread(self) -> bool:
        """No: one task."""
        return False

    def all_tasks(self) -> list[Task]:
        """The one task."""
        return [Task("all")]

    def leaves(self, task: Task) -> list[tuple[Records, str]]:
        """A record that lists the plan."""
        return [(self.context.work_records("mix", "plan"), task.key)]

    def work(self, task: Task) -> None:
        """Plan."""
        context, mix = self.context, mix_config(self.context)
        selections = {}
        for source in sources_of(context.shards()):
            names = [s.name for s in context.shards() if s.source == source]
            table = pa.concat_tables(
                [read_table(context, selected_path(context, n), columns=["key", "held_key", "tokens"]) for n in names]
            )
            selections[source] = Selection(*(table.column(i).to_numpy() for i in range(3)))
        if not any(len(selection.keys) for selection in selections.values()):
            raise DataError(self._why_nothing_passes())
        plan = plan_mix(selections, mix, load_mixer(mix.mixer.name, **mix.mixer.parameters))
        paths.write_bytes(plan_path(context), pretty(plan.to_json()))
        for records, key in self.leaves(task):
            records.write(key, {"outputs": [work_record(records.files, plan_path(context))]})

    def _why_nothing_passes(self) -> str:
        total: dict[str, Any] = {}
        for shard in self.context.shards():
            total = add_counts(total, filtered(self.context).one(shard.name)["counts"])
        by_rule = sorted(((-counts["any"], name) for name, counts in total["rules"].items() if counts["any"]))
        said = ", ".join(f"{-count:,} fail {name}" for count, name in by_rule[:5])
        unread = f"{total['failed']:,} could not be read (see failed/)" if total["failed"] else ""
        reasons = "; ".join(filter(None, [said, unread])) or "there is none"
        return f"mix: no document passes the rules. Of {total['in']:,} documents: {reasons}. Loosen mix.where."


@dataclass(frozen=True)
class WriteStep(Step):
    """The chosen documents, edited; closes the unit `mix`."""

    @property
    def name(self) -> str:
        """`mix/write`."""
        return "mix/write"

    def all_tasks(self) -> list[Task]:
        """The shards."""
        return [Task(s.name, s.bytes) for s in self.context.shards()]

    def leaves(self, task: Task) -> list[tuple[Records, str]]:
        """A record of the unit."""
        return [(self.context.records("mix"), task.key)]

    def work(self, task: Task) -> None:
        """Write the chosen documents of one shard."""
        context, shard = self.context, self.context.shard(task.key)
        plan, mix = read_plan(context), mix_config(context)
        chosen = read_table(context, selected_path(context, shard.name))
        held = plan.is_held(shard.source, chosen.column("held_key").to_numpy())
        copies = np.where(held, 0, plan.copies(shard.source, chosen.column("key").to_numpy()))
        rules = source_rules(context, shard.source)
        columns = sorted({column for column, _, _ in rules.edits})
        folder = context.path / "mix"
        files = {
            "documents": (folder / "documents" / f"{shard.name}.jsonl.zst", copies > 0),
            "held_out": (folder / "held_out" / f"{shard.name}.jsonl.zst", held),
        }
        if mix.held_out is None:
            del files["held_out"]
        outputs = []
        rows = chosen.column("row").to_numpy()
        writing = _Writing(shard.path, shard.source, mix.keep_metadata, chosen, copies)
        first = filtered(context).one(shard.name)
        reader = RowReader(context, shard, columns, Failures(context, "mix", shard), fields=rules.fields)
        with _committed([path for path, _ in files.values()]) as writers:
            for batch, table in reader:
                lo, hi = np.searchsorted(rows, [batch.first_row, batch.first_row + len(batch)])
                wanted = np.flatnonzero((copies[lo:hi] > 0) | held[lo:hi]) + lo
                if len(wanted) == 0:
                    continue
                table = table.take(pa.array(rows[wanted] - batch.first_row))
                texts, _ = rules.edit(table)
                lines = writing.lines(batch, table, texts, wanted)
                for writer, (_, mask) in zip(writers, files.values(), strict=True):
                    writer.write(line for line, index in zip(lines, wanted.tolist(), strict=True) if mask[index])
            check_unchanged(shard, first["inputs"], reader.inputs, "the selection of this mix")
        for path, mask in files.values():
            outputs.append(output_record(folder, path, rows=int(mask.sum())))
        dropped = present(context, dropped_path(context, shard.name))
        outputs.append(output_record(folder, dropped, rows=pq.read_metadata(dropped).num_rows))
        tokens = chosen.column("tokens").to_numpy()
        counts = {
            **first["counts"],
            "held_out": int(held.sum()),
            "held_out_tokens": int(tokens[held].sum()),
            "chosen": int((copies > 0).sum()),
            "chosen_tokens": int((tokens * copies).sum()),
        }
        context.records("mix").write(shard.name, {"inputs": first["inputs"], "outputs": outputs, "counts": counts})

    def close(self) -> None:
        """Write the manifest."""
        (unit,) = self.units
        plan = read_plan(self.context)
        summary = {
            name: {"weight": one.weight, "epochs": one.epochs, "tokens": one.tokens, "limited": one.limited}
            for name, one in plan.sources.items()
        }
        shards = [shard.name for shard in self.context.shards()]
        fields = unit.manifest_fields(self.context)
        self.context.records("mix").finish(fields, expected=shards, extra={"plan": summary})


@dataclass(frozen=True)
class _Writing:
    """Lines of chosen documents: Dolma's keys, and where each came from."""

    path: str
    source: str
    keep_metadata: tuple[str, ...]
    chosen: pa.Table
    copies: NDArray[np.int64]

    def lines(self, batch: Batch, table: pa.Table, texts: pa.Array, wanted: NDArray[np.int64]) -> list[bytes]:
        """A line of each wanted document; `wanted` are their places in `chosen`."""
        names = ("id", "document_source", "added", "created", "metadata")
        ids, sources, added, created, metadata = (table.column(name).to_pylist() for name in names)
        chosen = self.chosen.take(pa.array(wanted))
        clusters = chosen.column("cluster").to_pylist()
        rows = chosen.column("row").to_pylist()
        copies = self.copies[wanted].tolist()
        lines = []
        for i, text in enumerate(texts.to_pylist()):
            row: dict[str, Any] = {"id": ids[i], "text": text, "source": sources[i] or self.source}
            row |= {key: value for key, value in (("added", added[i]), ("created", created[i])) if value}
            if self.keep_metadata:
                known = orjson.loads(metadata[i] or "{}")
                found = known if isinstance(known, dict) else {}  # metadata may be any JSON; only objects have keys
                row["metadata"] = {key: found[key] for key in self.keep_metadata if key in found}
            row["origin"] = f"{batch.shard}#{rows[i]}"
            row["loc"] = int(batch.locs[rows[i] - batch.first_row])
            if clusters[i] != row["origin"]:
                row["cluster"] = clusters[i]
            if copies[i] > 1:
                row["epochs"] = copies[i]
            lines.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        return lines


class _committed:
    """Compressed line files that are committed together when the block ends well."""

    def __init__(self, targets: Sequence[Path]) -> None:
        self.targets = targets

    def __enter__(self) -> list[LinesWriter]:
        from contextlib import ExitStack

        self._stack = ExitStack()
        self._writers = [LinesWriter(self._stack.enter_context(paths.committing(t)), "zst") for t in self.targets]
        return self._writers

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            for writer in self._writers:
                writer.close()
        self._stack.__exit__(kind, error, trace)
