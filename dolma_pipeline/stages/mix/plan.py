"""How much of each source: one task over columns, 32 bytes a document that passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from dolma_pipeline.errors import DataError
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.registry import load_mixer
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import add_counts, output_record, pretty, read_lines
from dolma_pipeline.run.phase import Phase, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import indexed
from dolma_pipeline.stages.mix.decide import VERDICTS
from dolma_pipeline.stages.mix.measured import measured_name
from dolma_pipeline.stages.mix.planning import MixPlan, Selection, plan_mix


@dataclass(frozen=True)
class Plan(Phase):
    """Writes `mix/plan.json`."""

    @property
    def name(self) -> str:
        """`mix/plan`."""
        return "mix/plan"

    @property
    def needs(self) -> frozenset[str]:
        """The measures, which the encoding consumer leaves."""
        return frozenset({"encode"})

    @property
    def spread(self) -> bool:
        """No: one task."""
        return False

    def tasks(self, run: Run) -> Iterator[Task]:
        """The one task."""
        yield Task("all")

    def work(self, process: Process, task: Task) -> Work:
        """Plan."""
        run, mix = process.run, process.run.recipe.mix
        assert mix is not None
        columns: dict[str, list[list[np.ndarray]]] = {}
        for shard in indexed(run):
            names = ["key", "held_key", "tokens", "bytes"]
            table = get_table(run.folder, measured_name(run, self.artifacts[0], shard.name), names)
            parts = columns.setdefault(shard.source, [[] for _ in names])
            for part, name in zip(parts, names, strict=True):
                part.append(table.column(name).to_numpy())
        selections = {source: Selection(*(np.concatenate(part) for part in parts)) for source, parts in columns.items()}
        if not any(len(selection.keys) for selection in selections.values()):
            raise DataError(why_nothing_passes(run))
        mixer = load_mixer(mix.mixer.name, **mix.mixer.parameters)
        plan = plan_mix(selections, mix, mixer, tokenizer=run.recipe.tokenizer is not None)
        with run.folder.committing(layout.PLAN) as file:
            file.write(pretty(plan.to_json()))
        output = output_record(self.artifacts[0], layout.PLAN, file, rows=len(selections))
        return Work(more={"outputs": [output]}, files=[layout.PLAN])


def read_plan(process: Process) -> MixPlan:
    """The plan of the mix, once it is made."""
    return process.kept("plan", lambda: MixPlan.from_json(orjson.loads(process.run.folder.read(layout.PLAN))))


def why_nothing_passes(run: Run) -> str:
    """One sentence with the rules that drop most."""
    total: dict[str, Any] = {"rules": {}, "in": 0, "failed": 0}
    for record in read_lines(run.folder, VERDICTS):
        total = add_counts(total, record["counts"])
    by_rule = sorted(((-counts["any"], name) for name, counts in total["rules"].items() if counts["any"]))
    failing = ", ".join(f"{-count:,} fail {name}" for count, name in by_rule[:5])
    unread = f"{total['failed']:,} could not be read (see failed/)" if total["failed"] else ""
    reasons = "; ".join(filter(None, [failing, unread])) or "there is none"
    return f"mix: no document passes the rules. Of {total['in']:,} documents: {reasons}. Loosen mix.where."
