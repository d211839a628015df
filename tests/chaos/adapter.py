"""Today's steps as phases, and a run whose phases are carried out by an engine of ours. Nothing else knows of steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import awkward  # noqa: F401 what a run loads late is loaded once, in the process that is copied
import duckdb  # noqa: F401
import gigatoken  # noqa: F401
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.step import Step, Task

from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.kernels.warm import warm
from dolma_pipeline.runner import launcher
from tests.chaos.phases import Engine


@dataclass(frozen=True)
class StepPhase:
    """A step."""

    step: Step

    @property
    def name(self) -> str:
        return self.step.name

    def tasks(self) -> list[str]:
        self.step.context.prepare()
        return [task.key for task in self.step.tasks()]

    def work(self, task: str) -> None:
        self.step.context.prepare()
        self.step.work(Task(task))

    def finish(self) -> None:
        self.step.context.prepare()
        self.step.finish()


def prepare() -> None:
    """Load what every worker needs, in the process of which they are copies."""
    warm()


def run(tree: dict[str, Any], output: str, engine: Engine) -> None:
    """A run from its beginning to its end, or on from where it stopped: as `dolma-pipeline run`, but for the engine."""

    def carry_out(context: RunContext, steps: Sequence[Step], **options: object) -> None:
        engine([StepPhase(step) for step in steps])

    real = launcher.run_on_beam
    launcher.run_on_beam = carry_out
    try:
        launcher.run(recipe_from_text(json.dumps({"output": output, **tree})), quiet=True)
    finally:
        launcher.run_on_beam = real
