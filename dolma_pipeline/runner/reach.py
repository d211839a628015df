"""What a run names on this machine's disk, where its workers may not see that disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.engines.beam_options import runner_in
from dolma_pipeline.errors import UsageError
from dolma_pipeline.io.paths import expanded
from dolma_pipeline.run.stage import at
from dolma_pipeline.storage.folder import scheme_of


def check_reach(recipe: Recipe, beam_options: Sequence[str] = ()) -> None:
    """Refuse local paths where the runner's workers are on other machines, unless the recipe says that they share them;
    then paths must be whole ones.

    Args:
        beam_options: as on a Beam command line; a runner in them is used in place of the recipe's.

    Raises:
        ConfigError: the first such path, with its key.
    """
    runner = runner_in(beam_options) or recipe.beam.runner
    if runner == "local":
        return
    from dolma_pipeline.engines.elsewhere import class_name, is_here

    given = [*(f"--{name}={value}" for name, value in recipe.beam.options.items()), *beam_options]
    if is_here(runner, given):
        return
    for key, path in _paths(recipe):
        if scheme_of(path) not in ("file", "memory"):
            continue
        with at(recipe, key):
            if recipe.beam.shared_disk and scheme_of(path) == "file":
                if not os.path.isabs(expanded(path.removeprefix("file://"))):
                    raise UsageError(
                        f"{path} starts at the folder that this command was given in, and workers of "
                        f"{class_name(runner)} work in others. Give the whole path, as they see it."
                    )
            else:
                raise UsageError(
                    f"{path} is on this machine, and workers of {class_name(runner)} are on others. Give the URL of an "
                    "object store (s3://, gs://, az://), or, if all of them see the same path on a shared disk, set "
                    "beam.shared_disk to true."
                )


def _paths(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Key and path of all that workers read and write by name; modules travel as text, training is the launcher's."""
    yield "output", recipe.output
    for name, source in recipe.sources.items():
        for path in source.documents:
            yield f"sources.{name}.documents", path.removeprefix("@")
        for path in source.attributes:
            yield f"sources.{name}.attributes", path
    if recipe.tokenizer is not None and recipe.tokenizer.load:
        yield "tokenizer.load", recipe.tokenizer.load
