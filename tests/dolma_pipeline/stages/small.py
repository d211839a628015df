"""Small runs in memory: documents in, phases by the plain loop, files out. Inputs are real files."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from dolma_pipeline import stages as _stages  # noqa: F401 importing it registers the stages
from dolma_pipeline.config import resolved
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.engines import Here
from dolma_pipeline.run import layout
from dolma_pipeline.run import stage as stage_module
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import is_finished
from dolma_pipeline.run.phase import Phase
from dolma_pipeline.run.planner import Step, plan
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.stage import stages_in_order
from dolma_pipeline.runner.inputs import plan_inputs
from dolma_pipeline.runner.modules import user_modules
from dolma_pipeline.storage.folder import RunFolder, run_folder

Documents = Sequence[Mapping[str, Any]]

TOKENIZER = {"train": "bpe", "vocab_size": 300}


def texts(*found: str) -> list[dict[str, Any]]:
    """Documents of these texts, with ids."""
    return [{"id": f"d{i}", "text": text} for i, text in enumerate(found)]


def write_shards(folder: Path, shards: Mapping[str, Documents | Sequence[str]]) -> None:
    """Plain JSON lines `in/<shard>.jsonl`; of texts alone, documents are made."""
    for name, documents in shards.items():
        rows = texts(*documents) if documents and isinstance(documents[0], str) else documents  # type: ignore[arg-type]
        path = folder / "in" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def small_recipe(folder: Path, names: Iterable[str], **recipe: Any) -> Recipe:
    """A recipe over `in/<source>/*.jsonl`; settings of a source are `recipe["sources"][source]`."""
    own = recipe.pop("sources", {})
    found: dict[str, Any] = {
        name: {"documents": f"{folder}/in/{name}/**/*.jsonl", **own.get(name, {})} for name in names
    }
    return recipe_from_text(json.dumps({"output": "run", "seed": 3, "sources": found, **recipe}))


def small_run(
    folder: Path, shards: Mapping[str, Documents | Sequence[str]], *, where: RunFolder | None = None, **recipe: Any
) -> Run:
    """A run over shards `source/name`, in the order in which their sources first come; in a new memory folder."""
    write_shards(folder, shards)
    made = small_recipe(folder, dict.fromkeys(name.split("/")[0] for name in shards), **recipe)
    return run_of(made, where or run_folder(f"memory://{secrets.token_hex(8)}"))


def run_of(recipe: Recipe, where: RunFolder, *, redo: bool = False) -> Run:
    """A run of a recipe, its list of shards written; redo: files of an earlier list may be gone."""
    Process.leave()
    recipe = resolved(recipe)
    modules = user_modules(recipe)
    inputs = plan_inputs(recipe, where, redo=redo)
    where.write(layout.SHARDS, inputs.content)
    return Run(recipe, where, modules, inputs.digest)


def artifacts_of(run: Run) -> dict[str, Artifact]:
    """All artifacts of a run, in order."""
    return stage_module.all_artifacts(Process.of(run))


def phases_of(run: Run) -> list[Phase]:
    """The phases that make what is not finished."""
    process, known = Process.of(run), artifacts_of(run)
    done = {name for name, one in known.items() if is_finished(run.folder, one, run.shards_digest)}
    steps: list[Step] = []
    for stage in stages_in_order():
        if stage.used(process):
            own = stage_module.artifacts_of(stage, process, known)
            steps += stage.steps(process, known, {name: one for name, one in own.items() if name not in done})
    return plan(steps, done)


def make(run: Run, *, until: str = "", engine: Here | None = None) -> list[str]:
    """Run the phases, the last of them the one called `until`; gives their names."""
    phases = phases_of(run)
    names = [phase.name for phase in phases]
    if until:
        phases = phases[: names.index(until) + 1]
    (engine or Here()).run(run, phases)
    return names[: len(phases)]


def made(folder: Path, shards: Mapping[str, Documents | Sequence[str]], *, until: str = "", **recipe: Any) -> Run:
    """A small run, done."""
    run = small_run(folder, shards, **recipe)
    make(run, until=until)
    return run


def table(run: Run, name: str) -> pa.Table:
    """A Parquet file of the run's folder."""
    return pq.read_table(io.BytesIO(run.folder.read(name)))


def rows(run: Run, name: str) -> list[dict[str, Any]]:
    """A Parquet file's rows."""
    return table(run, name).to_pylist()


def jsonl(run: Run, name: str) -> list[dict[str, Any]]:
    """A file of JSON lines, plain or zst."""
    content = run.folder.read(name)
    if name.endswith(".zst"):
        content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
    return [orjson.loads(line) for line in content.splitlines()]


def manifest(run: Run, name: str) -> dict[str, Any]:
    """The manifest of an artifact's folder."""
    found: dict[str, Any] = orjson.loads(run.folder.read(layout.manifest(name)))
    return found


def promised(run: Run) -> dict[str, bytes]:
    """All files that must be the same in equal runs."""
    names = [entry.name for entry in run.folder.list()]
    return {name: run.folder.read(name) for name in names if name.split("/")[0] not in layout.UNPROMISED}
