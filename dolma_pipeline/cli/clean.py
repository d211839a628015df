"""`clean RUN`: what a run's folder holds that can be removed; `--yes` removes it."""

from __future__ import annotations

import json

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import UsageError


def main(arguments: Arguments) -> Reply:
    """Show what can be removed, or remove it.

    Raises:
        UsageError: no folder was named, or no run is in it, or another run is at work there.
        UnknownNameError: a kind that does not exist.
    """
    from dolma_pipeline.look.clean import opened, removable, remove
    from dolma_pipeline.look.text import clean_text

    if not arguments.words:
        raise UsageError("'clean' needs the folder of a run: dolma-pipeline clean runs/quickstart")
    place, *kinds = arguments.words
    removes = "--yes" in arguments.flags
    folder = opened(place)
    some = removable(folder, kinds)
    if removes:
        some = [entry for entry in some if kinds or entry.kind.unasked]
        remove(folder, some)
    if arguments.format == "json":
        record = {"folder": place, "removed": removes, "kinds": [entry.record() for entry in some]}
        return Reply(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return Reply(clean_text(place, some, removed=removes))
