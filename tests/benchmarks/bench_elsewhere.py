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


def store(runs: Runs) -> Iterator[Row]:
    """A whole run with its folder on an S3 store on loopback against one on this disk: CPU of our processes."""
    sources = runs.corpora.of(WHOLE_MB * runs.scale)
    local = runs.once("store-local", sources)
    found = environments.measure("elsewhere_once.py", "store", runs.recipe("store", sources, AFTER))
    yield Row(
        name="store",
        text_mb=found["text_mb"],
        ours=found["cpu_s"],
        peer=local["cpu_s"],
        peer_name="on a disk",
        unit="CPU seconds of our processes",
        at_most=1.2,
        more={
            "requests": found["requests"],
            "requests_a_shard": sum(found["requests"].values()) / found["shards"],
            "store_wall_s": found["wall_s"],
            "local_wall_s": local["wall_s"],
        },
    )


def listing(runs: Runs) -> Iterator[Row]:
    """100,000 keys of a bucket, by a store that makes up its answers."""
    found = environments.measure("elsewhere_once.py", "listing")
    yield Row(name="listing", text_mb=0, ours=found["wall_s"], peer=None, peer_name="", unit="seconds", more=found)
