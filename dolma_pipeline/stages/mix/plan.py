"""How much of each source: one task over columns, 32 bytes a document that passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from dolma_pipeline.errors import DataError
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.registry import load_mixer
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import add_counts, output_record, pretty, read_lines
from dolma_pipeline.run.phase import OneTask, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import indexed
from dolma_pipeline.stages.mix.measured import measured_name
from dolma_pipeline.stages.mix.planning import MixPlan, Selection, plan_mix
from dolma_pipeline.stages.mixes import reading_of, verdicts_of
from dolma_pipeline.stages.rules import mix_config


@dataclass(frozen=True)
class Plan(OneTask):
    """Writes `<mix>/plan.json`.

    Args:
        mix: the name of the mix.
    """

    mix: str = "mix"

    @property
    def name(self) -> str:
        """`<mix>/plan`."""
        return f"{self.mix}/plan"

    @property
    def needs(self) -> frozenset[str]:
        """The measures, which the encoding consumer leaves."""
        return frozenset({reading_of("encode", self.mix)})

    def work(self, process: Process, task: Task) -> Work:
        """Plan."""
        run, mix = process.run, mix_config(process.run.recipe, self.mix)
        columns: dict[str, list[list[np.ndarray]]] = {}
        for shard in indexed(run):
            names = ["key", "held_key", "tokens", "bytes"]
            table = get_table(run.folder, measured_name(run, self.artifacts[0], shard.name), names)
            parts = columns.setdefault(shard.source, [[] for _ in names])
            for part, name in zip(parts, names, strict=True):
                part.append(table.column(name).to_numpy())
        selections = {source: Selection(*(np.concatenate(part) for part in parts)) for source, parts in columns.items()}
        if not any(len(selection.keys) for selection in selections.values()):
            raise DataError(why_nothing_passes(run, self.mix))
        mixer = load_mixer(mix.mixer.name, **mix.mixer.parameters)
        tokens = run.recipe.tokenizer is not None
        plan = plan_mix(selections, mix, mixer, tokenizer=tokens, section=self.mix)
        name = layout.plan(self.mix)
        with run.folder.committing(name) as file:
            file.write(pretty(plan.to_json()))
        output = output_record(self.artifacts[0], name, file, rows=len(selections))
        return Work(more={"outputs": [output]}, files=[name])


def read_plan(process: Process, mix: str = "mix") -> MixPlan:
    """The plan of a mix, once it is made."""
    name = layout.plan(mix)
    return process.kept(("plan", mix), lambda: MixPlan.from_json(orjson.loads(process.run.folder.read(name))))


def why_nothing_passes(run: Run, mix: str = "mix") -> str:
    """One sentence with the rules of a mix that drop most."""
    total: dict[str, Any] = {"rules": {}, "in": 0, "failed": 0}
    for record in read_lines(run.folder, verdicts_of(mix)):
        total = add_counts(total, record["counts"])
    by_rule = sorted(((-counts["any"], name) for name, counts in total["rules"].items() if counts["any"]))
    failing = ", ".join(f"{-count:,} fail {name}" for count, name in by_rule[:5])
    unread = f"{total['failed']:,} could not be read (see failed/)" if total["failed"] else ""
    reasons = "; ".join(filter(None, [failing, unread])) or "there is none"
    return f"{mix}: no document passes the rules. Of {total['in']:,} documents: {reasons}. Loosen {mix}.where."
