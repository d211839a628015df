"""What is done, what is left, and what was made with other settings."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dolma_pipeline.errors import SettingsChangedError
from dolma_pipeline.io.manifest import Records
from dolma_pipeline.runner.changes import Made, recipe_changes
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.elect import work_folder
from dolma_pipeline.stages.units import Unit

State = Literal["done", "new", "resume", "grow", "again", "changed"]


@dataclass(frozen=True)
class Decision:
    """A unit and its state.

    done: nothing to do. new: not begun. resume: begun, not finished. grow: finished, new shards are added.
    again: finished for fewer shards, and cannot grow. changed: begun or finished with other settings.
    """

    unit: Unit
    state: State
    before: Mapping[str, Any] | None = None


def decide(context: RunContext, unit: Unit, shards: str) -> Decision:
    """The state of a unit in the run's folder; `shards`: digest of the list of shards as it will be."""
    records = context.records(unit.name)
    manifest, started = records.manifest(), records.started()
    before = manifest or started
    if before is None:
        return Decision(unit, "new")
    if before["digest"] != unit.digest:
        return Decision(unit, "changed", before)
    same = before["needs"]["shards.jsonl"] == shards
    if manifest is not None:
        return Decision(unit, "done" if same else "grow" if unit.growing else "again", before)
    return Decision(unit, "resume" if same or unit.growing else "again", before)


def refuse_changes(decisions: Sequence[Decision]) -> None:
    """Stop where finished or begun work was made with other settings.

    Raises:
        SettingsChangedError: says what differs, each once in the recipe's words, and what `--redo` would make again.
    """
    changed = [d for d in decisions if d.state == "changed" or _is_trained_on_less(d)]
    if not changed:
        return
    made = [
        Made(d.unit.stage, d.unit.name, (d.before or {}).get("config", {}), d.unit.config)
        for d in changed
        if d.state == "changed"
    ]
    lines = recipe_changes(made)
    for one in changed:
        if one.state == "again":
            lines.append(f"{one.unit.name}: it was made of fewer input files; its checkpoints and scores would go")
        elif not lines:  # what it needs is not among the stages of this run
            before = (one.before or {}).get("needs", {})
            now = one.unit.needs
            names = sorted(name for name in {*before, *now} - {"shards.jsonl"} if before.get(name) != now.get(name))
            why = f"it needs {', '.join(names)}, which changed" if names else "another version of this program made it"
            lines.append(f"{one.unit.name}: {why}")
    again = ", ".join(d.unit.name for d in decisions if d.state in ("changed", "again"))
    raise SettingsChangedError(
        "this folder holds work that was made with other settings:\n"
        + "".join(f"  {line}\n" for line in lines)
        + f"this makes again: {again}\n"
        + "Give --redo to do so. Or set another `output`, or put the settings back."
    )


def _is_trained_on_less(decision: Decision) -> bool:
    """Whether new input files would throw a model away; everything else that they make again is cheap to have."""
    return decision.state == "again" and decision.unit.stage in ("train", "eval")


def make_ready(context: RunContext, decisions: Sequence[Decision], shards: str) -> None:
    """Clear what is made again, open what grows, and note with which settings each unit is begun.

    Bears to be killed at any point: what a unit was made with stays there until it holds for what is in its folder.
    """
    shard_names = {shard.name for shard in context.shards()}
    for failed in (context.path / "failed").glob("*/**/*.jsonl"):
        if "/".join(failed.relative_to(context.path / "failed").parts[1:]).removesuffix(".jsonl") not in shard_names:
            failed.unlink()
    for one in decisions:
        if one.state == "done":
            continue
        unit, folder, records = one.unit, context.path / one.unit.name, context.records(one.unit.name)
        if one.state in ("new", "changed", "again"):  # new: what lies there is of a start that was cut off
            records.manifest_path.unlink(missing_ok=True)
            (records.done_folder / "unit.json").unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            if unit.stage == "dedupe":
                shutil.rmtree(work_folder(context), ignore_errors=True)
        elif unit.growing and one.before is not None and one.before["needs"]["shards.jsonl"] != shards:
            for derived in (".work", "edges", "clusters"):  # of the shards before; signatures stay
                shutil.rmtree(folder / derived, ignore_errors=True)
        records.start(unit.manifest_fields(context))
        if one.state == "grow":
            records.reopen()
        if unit.growing:
            _forget_others(context, records)


def _forget_others(context: RunContext, records: Records) -> None:
    """Take away the records of shards that are no longer in the run, or were another file then, and their outputs."""
    shards = {shard.name: shard for shard in context.shards()}
    for record in records.read():
        shard, made_from = shards.get(record["shard"]), record["inputs"][0]
        if shard is None or (shard.path, shard.bytes) != (made_from["path"], made_from["bytes"]):
            records.forget(record["shard"])
            for output in record["outputs"]:
                (records.folder / output["path"]).unlink(missing_ok=True)
