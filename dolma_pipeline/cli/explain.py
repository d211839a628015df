"""`explain RECIPE ORIGIN`: one document of a run: attributes, rules, dedupe steps, and what it is a copy of.

`explain -` is `explain_given`: a text on standard input, and no run.
"""

from __future__ import annotations

import json
import sys

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import UsageError


def main(arguments: Arguments) -> Reply:
    """Explain a document.

    Raises:
        UsageError: not a recipe and a document, a run that is not as far, or no such document.
        DolmaError: whatever reading its files raises.
    """
    if arguments.words == ("-",):
        from dolma_pipeline.cli import explain_given

        return explain_given.main(arguments)
    if arguments.values:
        raise UsageError(f"{next(iter(arguments.values))} is for a text on standard input: dolma-pipeline explain -")
    if len(arguments.words) != 2:
        raise UsageError(
            f"'explain' takes a recipe and a document; found {len(arguments.words)}: "
            "dolma-pipeline explain pipelines/quickstart.yaml 'docs/pages#17'"
        )
    from dolma_pipeline.look.explain import explain
    from dolma_pipeline.look.explain_text import explain_text
    from dolma_pipeline.runner.modules import open_recipe

    recipe, name = arguments.words
    document = explain(open_recipe(recipe, *arguments.overrides), name)
    if arguments.format == "json":
        return Reply(json.dumps(document.record(), indent=2, ensure_ascii=False, default=str) + "\n")
    return Reply(explain_text(document, full="--full" in arguments.flags, colours=sys.stdout.isatty()))
