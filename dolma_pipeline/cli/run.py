"""`run` and the single stages: check the recipe first, which costs little, then load the runner and start."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.cli.command import ATTACH, CANCEL
from dolma_pipeline.errors import TooManyFailuresError, UsageError

if TYPE_CHECKING:
    from dolma_pipeline.config.recipe import Recipe


def open_for(arguments: Arguments) -> Recipe:
    """The recipe that a command is given, with its overrides.

    Raises:
        ConfigError: the recipe or an override is wrong.
        UsageError: the recipe does not have the stage.
    """
    from dolma_pipeline.runner.modules import open_recipe

    command = arguments.command
    if command is None:
        raise UsageError("no command was given")
    recipe = open_recipe(arguments.words[0], *arguments.overrides)
    if command.stages and command.name not in recipe.stages():
        have = ", ".join(recipe.stages())
        raise UsageError(f"{arguments.words[0]} has no `{command.name}` to run; its stages are {have}")
    return recipe


def main(arguments: Arguments) -> Reply:
    """Run the command's stages of the recipe.

    Raises:
        ConfigError: the recipe or an override is wrong.
        UsageError: the recipe does not have the stage.
        DolmaError: whatever the run raises.
    """
    recipe = open_for(arguments)
    if CANCEL.name in arguments.flags:
        return _cancel(arguments, recipe)
    from dolma_pipeline.runner import Result, run

    exit_code = 0
    try:
        result = run(
            recipe,
            stages=_stages(arguments, recipe),
            redo="--redo" in arguments.flags,
            dry_run="--dry-run" in arguments.flags,
            beam_options=arguments.beam_options,
            quiet="--quiet" in arguments.flags,
            attach=ATTACH.name in arguments.flags,
        )
    except TooManyFailuresError as error:  # all is done but for what failed, so its tables are shown as well
        if not isinstance(error.result, Result):
            raise
        result, exit_code = error.result, error.exit_code
        print(f"error: {error}", file=sys.stderr)
    if arguments.format == "json":
        return Reply(json.dumps(result.record(), indent=2, sort_keys=True, ensure_ascii=False) + "\n", exit_code)
    return Reply(result.text().rstrip("\n") + "\n", exit_code)


def _cancel(arguments: Arguments, recipe: Recipe) -> Reply:
    """End the job that is at work in the recipe's folder.

    Raises:
        UsageError: no job is at work there, or another option beside --cancel.
        RunError: the job cannot be asked, or refuses.
    """
    others = [one for one in ("--attach", "--redo", "--dry-run") if one in arguments.flags]
    if others or arguments.beam_options:
        raise UsageError(f"found {CANCEL.name} and {', '.join(others) or 'Beam options'}; {CANCEL.name} goes alone")
    from dolma_pipeline.runner.attach import cancel_job
    from dolma_pipeline.runner.check import check_output

    return Reply(f"{cancel_job(check_output(recipe))} has ended. What it has done stays done.\n")


def _stages(arguments: Arguments, recipe: Recipe) -> tuple[str, ...]:
    """The command's stages that the recipe has: `mix` works without a tokenizer."""
    assert arguments.command is not None
    return tuple(stage for stage in arguments.command.stages if stage in recipe.stages())
