"""A finished run without text: index, attributes and clusters are made up, what follows from them is the product's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline import stages as _stages  # noqa: F401 importing it registers the stages
from dolma_pipeline.config import resolved, resolved_yaml
from dolma_pipeline.config.recipe import DedupeStepConfig, Recipe
from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.engines import Here
from dolma_pipeline.io.attributes import attribute_writer
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.io.shards import Shard, shard_lines
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.registry import load_mixer
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.columns import INDEX, made_columns
from dolma_pipeline.run.manifests import close
from dolma_pipeline.run.planner import plan
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt, indexed
from dolma_pipeline.run.stage import STAGES, all_artifacts
from dolma_pipeline.stages.dedupe.sets import SCHEMA
from dolma_pipeline.stages.mix.decide import read_verdicts
from dolma_pipeline.stages.mix.measured import MEASURED, Measured
from dolma_pipeline.stages.mix.planning import Selection, plan_mix
from dolma_pipeline.storage.folder import run_folder


def write(recipe: Recipe, sources: Mapping[str, int], *, rows: int, in_clusters: float) -> None:
    """Write a run's folder.

    Args:
        recipe: with taggers, dedupe steps, a loaded tokenizer and mix. sources: shards of each.
        rows: documents of all. in_clusters: share of them that has a copy.
    """
    recipe = resolved(recipe)
    folder = run_folder(str(Path(recipe.output).absolute()))
    each = rows // sum(sources.values())
    shards = [
        Shard(f"{name}/{number:05d}", name, f"{number:05d}.jsonl", "jsonl", bytes=1, file_bytes=1)
        for name, count in sorted(sources.items())
        for number in range(count)
    ]
    content = shard_lines(shards)
    folder.write(layout.SHARDS, content)
    folder.write(layout.RECIPE, resolved_yaml(recipe).encode())
    run = Run(recipe, folder, (), "sha256:" + hashlib.sha256(content).hexdigest())
    process = Process.of(run)
    rng = np.random.default_rng(1)
    known = all_artifacts(process)
    _index(run, known["index"], shards, rng, each)
    for label, type_ in made_columns(process).items():
        if f"tag.taggers.{label}.tagger" in known[f"attributes/{label}"].reads:
            _attributes(run, known[f"attributes/{label}"], label, type_, rng)
    _clusters(run, known, rng, rows, in_clusters)
    steps_of = recipe.dedupe.steps if recipe.dedupe else ()
    wanted = {"judged", "mix/verdicts", *(f"attributes/{step.name}" for step in steps_of)}
    left = {name: artifact for name, artifact in known.items() if name in wanted}
    steps = [s for n in ("judge", "dedupe", "verdicts") for s in STAGES[n].steps(process, known, left)]
    done = {name for name in known if name.startswith(("index", "attributes/", "dedupe/"))} - {*left}
    Here().run(run, plan(steps, done))
    assert recipe.tokenizer is not None
    folder.write(layout.TOKENIZER, Path(str(recipe.tokenizer.load)).read_bytes())
    close(folder, known["tokenizer"], [], shards_digest=run.shards_digest)
    _mix(run, known["mix"], rng)
    for kind in ("candidates", "pairs", "elected"):
        folder.delete_tree(f"{layout.CACHE}/{kind}")
    folder.delete_tree(layout.DONE)


def _index(run: Run, artifact: Artifact, shards: list[Shard], rng: np.random.Generator, rows: int) -> None:
    records = []
    for number, shard in enumerate(shards):
        size = rng.integers(40, 20_000, rows)
        columns: dict[str, Any] = {
            "row": np.arange(rows),
            "loc": np.arange(1, rows + 1),
            "id": [f"document-{number}-{row}" for row in range(rows)],
            **dict.fromkeys(("added", "created", "document_source"), [""] * rows),
            "metadata": [f'{{"stars":{stars}}}' for stars in rng.integers(0, 10, rows).tolist()],
            "chars": size,
            "bytes": size + rng.integers(0, 9, rows),
            **{name: rng.integers(0, 1 << 63, rows, np.uint64) for name in ("hash_hi", "hash_lo")},
        }
        table = pa.table({field.name: pa.array(columns[field.name], field.type) for field in INDEX})
        put_table(run.folder, layout.index(shard.name), table, compression="zstd")
        total = int(table.column("bytes").to_numpy().sum())
        counts = {"in": rows, "kept": rows, "dropped": 0, "failed": 0, "bytes_in": total, "lost_files": 0}
        inputs = [{"path": shard.path, "bytes": shard.bytes, "sha256": f"{number:064x}"}]
        records.append({"shard": shard.name, "inputs": inputs, "outputs": [], "counts": counts})
    close(run.folder, artifact, records, shards_digest=run.shards_digest)


def _attributes(run: Run, artifact: Artifact, label: str, type_: pa.StructType, rng: np.random.Generator) -> None:
    records = []
    for shard in indexed(run):
        columns = [_values(field.type, shard.rows, rng) for field in type_]
        with run.folder.committing(layout.attributes(label, shard.name)) as file:
            writer = attribute_writer(file, label, type_)
            writer.write_column(pa.StructArray.from_arrays(columns, fields=list(type_)))
            writer.close()
        records.append({"shard": shard.name, "inputs": [], "outputs": [], "counts": {}})
    close(run.folder, artifact, records, shards_digest=run.shards_digest)


def _values(type_: pa.DataType, rows: int, rng: np.random.Generator) -> pa.Array:
    """Values of some kind: floats with a mean of 1, whole numbers with one of 1,000, five spans."""
    if type_ == SPANS_TYPE:
        lengths = rng.poisson(5, rows)
        starts = rng.integers(0, 1000, int(lengths.sum()))
        spans = [pa.array(starts), pa.array(starts + 40), pa.array(np.ones(len(starts)))]
        items = [array.cast(field.type) for array, field in zip(spans, type_.value_type, strict=True)]
        values = pa.StructArray.from_arrays(items, fields=list(type_.value_type))
        return pa.ListArray.from_arrays(pa.array(np.cumsum([0, *lengths]).astype(np.int32)), values, type=type_)
    if pa.types.is_boolean(type_):
        return pa.array(rng.random(rows) < 0.2)
    if pa.types.is_string(type_):
        return pa.array(np.array(["en", "de", "fr"], object)[rng.integers(0, 3, rows)], type_)
    if pa.types.is_integer(type_):
        return pa.array(rng.geometric(0.001, rows), type_)
    return pa.array(rng.exponential(1.0, rows), type_)


def _clusters(run: Run, known: Mapping[str, Artifact], rng: np.random.Generator, rows: int, share: float) -> None:
    """Clusters of some three documents each; near ones are buckets, with signatures and sets that are alike."""
    assert run.recipe.dedupe is not None
    for step in run.recipe.dedupe.steps:
        count = int(rows * share / 2)
        nodes = np.sort(rng.choice(rows, count, replace=False))
        groups = rng.integers(0, count // 3, count)
        order = np.lexsort((nodes, groups))
        firsts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        smallest = np.repeat(nodes[order[firsts]], np.diff(firsts, append=count))
        labels = np.empty(count, np.int64)
        labels[order] = smallest
        records = [
            {"shard": shard.name, "inputs": [], "outputs": [], "counts": {}, "wanted": ""} for shard in indexed(run)
        ]
        if step.kind == "minhash":
            _near(run, step, nodes, groups)
            close(run.folder, known[f"dedupe/{step.name}/sets"], records, shards_digest=run.shards_digest)
        else:
            table = pa.table({"node": nodes, "label": labels})
            put_table(run.folder, layout.members(step.name), table, compression="zstd")
        close(run.folder, known[f"dedupe/{step.name}"], records, shards_digest=run.shards_digest)


def _near(run: Run, step: DedupeStepConfig, nodes: NDArray[np.int64], groups: NDArray[np.int64]) -> None:
    """A bucket a group; its documents share 270 of 300 shingles, and low bytes to match."""
    put_table(run.folder, layout.members(step.name), pa.table({"node": nodes, "home": nodes}), compression="zstd")
    order = np.lexsort((nodes, groups))
    counts = np.bincount(groups)
    order = order[counts[groups[order]] > 1]
    buckets = pa.table({"bucket": groups[order], "member": nodes[order]})
    put_table(run.folder, layout.buckets(step.name), buckets, compression="zstd")
    width = pa.binary(step.bands * step.rows)
    for shard in indexed(run):
        lo, hi = np.searchsorted(nodes, [shard.first, shard.first + shard.rows])
        own = nodes[lo:hi] - shard.first
        low = np.stack([np.full(width.byte_width, group % 251, np.uint8) for group in groups[lo:hi]])
        low_column = pa.FixedSizeBinaryArray.from_buffers(width, len(own), [None, pa.py_buffer(low.tobytes())])
        shingles = np.full(len(own), 300, np.int32)
        table = pa.table({"row": own.astype(np.uint32), "low": low_column, "shingles": shingles})
        put_table(run.folder, layout.signatures(step.name, shard.name), table)
        sets = [
            np.sort(np.concatenate([np.arange(270) + 300 * group, rng_of(node).integers(1 << 31, 1 << 32, 30)]))
            for node, group in zip(nodes[lo:hi].tolist(), groups[lo:hi].tolist(), strict=True)
        ]
        columns = [
            own,
            np.zeros(len(own), np.bool_),
            pa.array([s.astype("<u4").tobytes() for s in sets], pa.large_binary()),
        ]
        put_table(run.folder, layout.sets(step.name, shard.name), pa.table(columns, schema=SCHEMA))


def rng_of(node: int) -> np.random.Generator:
    """Random numbers of a document's own."""
    return np.random.default_rng(node)


def _mix(run: Run, artifact: Artifact, rng: np.random.Generator) -> None:
    """What was chosen: a quarter of a token a byte, more or less."""
    process, mix = Process.of(run), run.recipe.mix
    assert mix is not None
    tables: dict[str, pa.Table] = {}
    parts: dict[str, list[pa.Table]] = {}
    for shard in indexed(run):
        table = _measured(process, shard, rng)
        tables[shard.name] = table
        parts.setdefault(shard.source, []).append(table)
    names = ("key", "held_key", "tokens", "bytes")
    selections = {
        source: Selection(*(pa.concat_tables(found).column(name).to_numpy() for name in names))
        for source, found in parts.items()
    }
    planned = plan_mix(selections, mix, load_mixer(mix.mixer.name, **mix.mixer.parameters))
    run.folder.write(layout.plan(), pretty(planned.to_json()))
    records = []
    for shard_name, table in tables.items():
        source = shard_name.split("/")[0]
        held = planned.is_held(source, table.column("held_key").to_numpy())
        copies = np.where(held, 0, planned.copies(source, table.column("key").to_numpy()))
        table = table.append_column("copies", pa.array(copies, pa.int64())).append_column("held", pa.array(held))
        put_table(run.folder, layout.selected(shard_name), table)
        records.append({"shard": shard_name, "inputs": [], "outputs": [], "counts": {}})
    close(run.folder, artifact, records, shards_digest=run.shards_digest)


def _measured(process: Process, shard: ShardAt, rng: np.random.Generator) -> pa.Table:
    rows: NDArray[np.int64] = read_verdicts(process.run, shard)
    measured = Measured.of(process, shard, rows)
    sizes = get_table(process.run.folder, layout.index(shard.name), ["bytes"]).column("bytes").to_numpy()[rows]
    tokens = (sizes * rng.uniform(0.2, 0.3, len(rows))).astype(np.int64) + 1
    edited = np.zeros(len(rows), np.bool_)
    columns = [rows, measured.keys, measured.held_keys, tokens, sizes, edited, measured.clusters]
    return pa.table({field.name: pa.array(c, field.type) for field, c in zip(MEASURED, columns, strict=True)})
