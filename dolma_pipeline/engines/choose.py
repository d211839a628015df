"""Which engine a recipe asks for: this machine's, or a Beam runner by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.engines.beam_options import runner_in
from dolma_pipeline.engines.engine import Engine
from dolma_pipeline.engines.forks import ForkServer, can_fork, shared_taggers
from dolma_pipeline.engines.workers import num_workers


@contextlib.contextmanager
def chosen(recipe: Recipe, *, num_bytes: int, num_shards: int, beam_options: Sequence[str] = ()) -> Iterator[Engine]:
    """The engine for a run; what it starts ends with the block. It loads while the block checks the rest.

    Args:
        num_bytes, num_shards: of the inputs. beam_options: as on a Beam command line; a runner in them counts.
    """
    given = [*(f"--{name}={value}" for name, value in recipe.beam.options.items()), *beam_options]
    named = runner_in(beam_options) or recipe.beam.runner
    if named != "local":
        from dolma_pipeline.engines.beam import OnBeam

        yield OnBeam(named, given)
        return
    from dolma_pipeline.engines.local import Local

    workers = num_workers(recipe, num_bytes=num_bytes, num_shards=num_shards)
    if workers == 1 or not can_fork():
        yield Local(workers, given)
        return
    shared = shared_taggers(recipe)
    users = {use.tagger for use in recipe.tag.taggers} - {*shared} if recipe.tag else set()
    with ForkServer(shared, tidy=bool(users)) as forks:
        yield Local(workers, given, forks)
