"""What runners other than the local one cost: by task, and for a whole run by workers in a pool."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import environments
from before import AFTER
from bench_run import WHOLE_MB, Runs
from rows import Row

TASKS = 100_000


def tasks(runs: Runs) -> Iterator[Row]:
    """Tasks that do nothing, by Beam's runner in memory."""
    number = max(1, round(TASKS * runs.scale))
    found = environments.measure("elsewhere_once.py", "tasks", number)
    yield Row(
        name=f"tasks_{number}",
        text_mb=0,
        ours=found["wall_s"],
        peer=None,
        peer_name="",
        unit="seconds",
        at_most=3,
        holds=found["peak_mb"] <= 400,
        more={**found, "us_a_task": 1e6 * found["cpu_s"] / number},
    )


def pool(runs: Runs) -> Iterator[Row]:
    """A whole run by a pool of one worker against the plain loop: CPU of all processes."""
    sources = runs.corpora.of(WHOLE_MB * runs.scale)
    local = runs.once("pool-local", sources)
    recipe = runs.recipe("pool", sources, AFTER)
    shutil.rmtree(recipe.with_suffix(""), ignore_errors=True)
    found = environments.measure("elsewhere_once.py", "pool", recipe)
    yield Row(
        name="pool",
        text_mb=found["text_mb"],
        ours=found["cpu_s"],
        peer=local["cpu_s"],
        peer_name="one worker, in this process",
        unit="CPU seconds of all processes",
        more={"pool_wall_s": found["wall_s"], "local_wall_s": local["wall_s"]},
    )
