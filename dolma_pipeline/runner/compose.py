"""From units that are left to steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.dedupe import ClusterStep, EdgeStep, SignStep
from dolma_pipeline.stages.elect import CandidateStep, ElectStep, KeepStep
from dolma_pipeline.stages.mix import FilterStep, PlanStep, WriteStep
from dolma_pipeline.stages.step import Step
from dolma_pipeline.stages.tag import TagStep
from dolma_pipeline.stages.tokenize import CutStep, EncodeStep, PartStep
from dolma_pipeline.stages.tokenizer import SampleStep, TrainTokenizerStep
from dolma_pipeline.stages.units import Unit


def steps_for(context: RunContext, units: Sequence[Unit]) -> list[Step]:
    """The steps that make these units, in order."""
    by_name = {unit.name: unit for unit in units}
    tag = [unit for unit in units if unit.stage == "tag"]
    steps: list[Step] = []
    if tag:
        steps.append(TagStep(context, units=tuple(tag)))
    steps += _dedupe_steps(context, by_name)
    if "tokenizer" in by_name:
        config, own = context.recipe.tokenizer, (by_name["tokenizer"],)
        if config is not None and not config.load:
            steps.append(SampleStep(context, units=own))
        steps.append(TrainTokenizerStep(context, units=own))
    if "mix" in by_name:
        own = (by_name["mix"],)
        steps += [FilterStep(context, units=own), PlanStep(context, units=own), WriteStep(context, units=own)]
    if "tokens" in by_name:
        own = (by_name["tokens"],)
        steps += [CutStep(context, units=own), EncodeStep(context, units=own), PartStep(context, units=own)]
    return steps


def _dedupe_steps(context: RunContext, units: Mapping[str, Unit]) -> list[Step]:
    config = context.recipe.dedupe
    if config is None:
        return []
    steps: list[Step] = []
    names = [step.name for step in config.steps]
    if signed := _present(names, "dedupe", units):
        steps += [
            SignStep(context, units=signed),
            EdgeStep(context, units=signed),
            ClusterStep(context, units=signed),
        ]
    if elected := _present(names, "attributes", units):
        steps += [
            CandidateStep(context, units=elected),
            ElectStep(context, units=elected),
            KeepStep(context, units=elected),
        ]
    return steps


def _present(names: Sequence[str], folder: str, units: Mapping[str, Unit]) -> tuple[Unit, ...]:
    return tuple(units[f"{folder}/{name}"] for name in names if f"{folder}/{name}" in units)
