"""`convert CONFIG`: a config of Dolma's mixer as a recipe, on stdout."""

from __future__ import annotations

import json
import posixpath
import sys

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import UsageError


def main(arguments: Arguments) -> Reply:
    """Convert a config.

    Raises:
        UsageError: not exactly one config.
        ConfigError: it cannot be read or translated; names its line.
    """
    if len(arguments.words) != 1:
        raise UsageError(f"'convert' takes one config of Dolma's mixer; found {len(arguments.words)}")
    from dolma_pipeline.config.yaml import read_yaml
    from dolma_pipeline.migrate import recipe_of

    (path,) = arguments.words
    stem = posixpath.basename(path).partition(".")[0]
    (output,) = arguments.values.get("--output", (f"runs/{stem or 'mixer'}",))
    converted = recipe_of(read_yaml(path), output=output)
    if arguments.format == "json":
        record = {"recipe": converted.recipe, "notes": list(converted.notes)}
        return Reply(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    for note in converted.notes:
        print(f"no counterpart: {note}", file=sys.stderr)
    return Reply(converted.recipe)
