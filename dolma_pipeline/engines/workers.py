"""How many worker processes, and what they find in their environment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.registry import HOME
from dolma_pipeline.train.processes import num_cores

SMALL_BYTES = 40_000_000
"""Inputs up to this size are worked on in one process: starting workers costs more than they save."""


def num_workers(recipe: Recipe, *, num_bytes: int, num_shards: int) -> int:
    """Worker processes: as the recipe says; auto: 1 for small input, else one a core, but not more than shards."""
    if recipe.workers != "auto":
        return recipe.workers
    if num_bytes <= SMALL_BYTES:
        return 1
    return max(1, min(num_cores(), num_shards))


def worker_variables() -> dict[str, str]:
    """Environment variables of workers: they find this library, and do not look into the working directory, where a
    file could shadow a module.
    """
    found = [str(HOME), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(found)}


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the block and the processes started in it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
