"""What is done, what is left, and what was made with other settings."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dolma_pipeline.errors import SettingsChangedError
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
        SettingsChangedError: says what differs and what `--redo` would make again.
    """
    changed = [d for d in decisions if d.state == "changed"]
    if not changed:
        return
    lines = []
    for one in changed:
        assert one.before is not None
        found = differences(one.before.get("config", {}), one.unit.config)
        if not found:
            others = differences(one.before.get("needs", {}), one.unit.needs)
            names = sorted({line.split(":")[0] for line in others})
            found = [f"it needs {', '.join(names)}, which changed"]
        lines += [f"  {one.unit.name}: {line}" for line in found]
    again = ", ".join(d.unit.name for d in decisions if d.state in ("changed", "again"))
    raise SettingsChangedError(
        "this folder holds work that was made with other settings:\n"
        + "\n".join(lines)
        + f"\n--redo makes again: {again}. Or set another `output`, or put the settings back."
    )


def differences(old: Any, new: Any, key: str = "") -> list[str]:
    """`key: old -> new` for each difference of two nested values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found = []
        for name in sorted({*old, *new}):
            place = f"{key}.{name}" if key else str(name)
            if name not in old:
                found.append(f"{place}: (nothing) -> {new[name]!r}")
            elif name not in new:
                found.append(f"{place}: {old[name]!r} -> (nothing)")
            else:
                found += differences(old[name], new[name], place)
        return found
    return [] if old == new else [f"{key}: {old!r} -> {new!r}"]


def make_ready(context: RunContext, decisions: Sequence[Decision], shards: str) -> None:
    """Clear what is made again, open what grows, and note with which settings each unit is begun."""
    for one in decisions:
        unit, folder = one.unit, context.path / one.unit.name
        records = context.records(unit.name)
        if one.state in ("changed", "again"):
            shutil.rmtree(folder, ignore_errors=True)
            if unit.name.startswith("attributes/"):
                shutil.rmtree(work_folder(context), ignore_errors=True)
        if one.state in ("grow", "resume") and unit.growing:
            if one.state == "grow":
                records.reopen()
            if one.before is not None and one.before["needs"]["shards.jsonl"] != shards:
                for derived in ("edges", "clusters"):  # of the shards before; signatures stay
                    shutil.rmtree(folder / derived, ignore_errors=True)
        if one.state != "done":
            fields = unit.manifest_fields(context)
            records.start(fields)
