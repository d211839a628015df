"""A run's phases as the harness wants them, and runs whose phases the harness carries out: whole ones, and toys.

Every copy of a task really does it, record or not (`again`), as a copy does that began before the record was there.
"""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward  # noqa: F401 what a run loads late is loaded once, in the process that is copied
import duckdb  # noqa: F401
import gigatoken  # noqa: F401

from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.engines.choose import EngineChoice
from dolma_pipeline.engines.engine import Say
from dolma_pipeline.kernels.warm import ensure, warm
from dolma_pipeline.run import layout, perform
from dolma_pipeline.run.log import CONTROL
from dolma_pipeline.run.manifests import is_finished
from dolma_pipeline.run.phase import Phase, Task
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner import launcher
from dolma_pipeline.storage.folder import run_folder
from tests.chaos import phases as harness
from tests.dolma_pipeline.engines import toys


@dataclass(frozen=True)
class CarriedPhase:
    """A phase as the harness wants it, with names for tasks.

    carried: a folder beside the run's that takes tasks, as elements take them in other engines.
    """

    run: Run
    phase: Phase
    carried: Path

    @property
    def name(self) -> str:
        return self.phase.name

    def tasks(self) -> list[str]:
        keys = []
        for task in perform.begin(self.run, self.phase):
            self._place(task.key).parent.mkdir(parents=True, exist_ok=True)
            self._place(task.key).write_bytes(pickle.dumps(task))
            keys.append(task.key)
        return keys

    def work(self, task: str) -> None:
        arrived: Task = pickle.loads(self._place(task).read_bytes())
        perform.work(self.run, self.phase, arrived, again=True)

    def finish(self) -> None:
        perform.end(self.run, self.phase)

    def _place(self, key: str) -> Path:
        return self.carried / layout.done(self.phase.name, self.phase.digest) / f"{key}.task"


@dataclass(frozen=True)
class ChaosEngine:
    """An `Engine` that lets the harness carry out the phases."""

    harness: harness.Engine
    carried: Path

    def run(self, run: Run, phases: Sequence[Phase], *, say: Say | None = None) -> None:
        """See `Engine.run`."""
        if phases:
            self.harness([CarriedPhase(run, phase, self.carried) for phase in phases])


RunIt = Callable[[dict[str, Any], str, harness.Engine], None]
"""Carries out a run, or what is left of it: tree, output, engine."""


def prepare() -> None:
    """Load what every worker needs, in the process of which they are copies.

    Logs go elsewhere: when they are written depends on the clock, and points are counted in writings.
    """
    ensure()
    warm()
    os.environ[CONTROL] = tempfile.mkdtemp(prefix="chaos-logs-")


def run(tree: dict[str, Any], output: str, engine: harness.Engine) -> None:
    """A run from its beginning to its end, or on from where it stopped: as `dolma-pipeline run`, but for the engine.

    Args:
        tree: the recipe, without its output; `redo` beside it as on the command line.
    """
    recipe = {key: value for key, value in tree.items() if key != "redo"}
    chaos = ChaosEngine(engine, carried(output))
    real = EngineChoice.engine
    EngineChoice.engine = lambda self, say=None, *, note=None: chaos  # type: ignore[method-assign]
    try:
        launcher.run(
            recipe_from_text(json.dumps({"output": output, **recipe})), redo=tree.get("redo", False), quiet=True
        )
    finally:
        EngineChoice.engine = real  # type: ignore[method-assign]


def carried(output: str) -> Path:
    """The folder that takes the tasks of a run: beside it, or on this machine's disk."""
    if "://" not in output:
        return Path(f"{output}.carried")
    return Path(os.environ[CONTROL]) / f"carried-{output.replace('/', '-')}"


def run_toys(tree: dict[str, Any], output: str, engine: harness.Engine) -> None:
    """The toy run as a launcher does it: what is left, then clearing up. tree: texts, and `storage` of a store."""
    folder = run_folder(output, tree.get("storage", {}))
    folder.remove_attempts()
    toy = toys.toy_run(folder, tree["texts"])
    left = [
        phase
        for phase in toys.CHAIN
        if not all(is_finished(folder, artifact, toy.shards_digest) for artifact in phase.artifacts)
    ]
    ChaosEngine(engine, carried(output)).run(toy, left)
    folder.delete_tree(layout.DONE)
    folder.delete_tree(layout.CACHE)
    folder.remove_attempts()


RUNS: dict[str, RunIt] = {"whole": run, "toys": run_toys}
