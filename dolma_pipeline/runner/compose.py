"""From units that are left to steps."""

from __future__ import annotations

from collections.abc import Collection, Sequence

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
        steps.append(TagStep(context, tuple(unit.name.split("/")[1] for unit in tag), tuple(tag)))
    steps += _dedupe_steps(context, by_name)
    if "tokenizer" in by_name:
        config = context.recipe.tokenizer
        if config is not None and not config.load:
            steps.append(SampleStep(context))
        steps.append(TrainTokenizerStep(context, by_name["tokenizer"]))
    if "mix" in by_name:
        steps += [FilterStep(context), PlanStep(context), WriteStep(context, by_name["mix"])]
    if "tokens" in by_name:
        steps += [CutStep(context), EncodeStep(context), PartStep(context, by_name["tokens"])]
    return steps


def _dedupe_steps(context: RunContext, units: dict[str, Unit]) -> list[Step]:
    config = context.recipe.dedupe
    if config is None:
        return []
    steps: list[Step] = []
    names = [step.name for step in config.steps]
    signed = _present(names, "dedupe", units)
    if signed:
        steps += [
            SignStep(context, signed),
            EdgeStep(context, signed),
            ClusterStep(context, tuple(units[f"dedupe/{name}"] for name in signed), config.keep_work),
        ]
    elected = _present(names, "attributes", units)
    if elected:
        steps += [
            CandidateStep(context),
            ElectStep(context),
            KeepStep(context, tuple(units[f"attributes/{name}"] for name in elected), config.keep_work),
        ]
    return steps


def _present(names: Sequence[str], folder: str, units: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in names if f"{folder}/{name}" in units)
