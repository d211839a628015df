"""`run` and the single stages: check the recipe first, which costs little, then load the runner and start."""

from __future__ import annotations

import json
import sys

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import TooManyFailuresError, UsageError


def main(arguments: Arguments) -> Reply:
    """Run the command's stages of the recipe.

    Raises:
        ConfigError: the recipe or an override is wrong.
        UsageError: the recipe does not have the stage.
        DolmaError: whatever the run raises.
    """
    from dolma_pipeline.config.loader import load_recipe

    command = arguments.command
    if command is None:
        raise UsageError("no command was given")
    recipe = load_recipe(arguments.words[0], *arguments.overrides)
    missing = [stage for stage in command.stages if stage not in recipe.stages()]
    if missing:
        have = ", ".join(recipe.stages())
        raise UsageError(f"{arguments.words[0]} has no `{missing[0]}` to run; its stages are {have}")
    from dolma_pipeline.runner import Result, run

    exit_code = 0
    try:
        result = run(
            recipe,
            stages=command.stages,
            redo="--redo" in arguments.flags,
            dry_run="--dry-run" in arguments.flags,
            beam_options=arguments.beam_options,
            quiet="--quiet" in arguments.flags,
        )
    except TooManyFailuresError as error:  # all is done but for what failed, so its tables are shown as well
        if not isinstance(error.result, Result):
            raise
        result, exit_code = error.result, error.exit_code
        print(f"error: {error}", file=sys.stderr)
    if arguments.format == "json":
        return Reply(json.dumps(result.record(), indent=2, sort_keys=True, ensure_ascii=False) + "\n", exit_code)
    return Reply(result.text().rstrip("\n") + "\n", exit_code)
