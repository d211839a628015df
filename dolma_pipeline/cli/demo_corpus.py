"""`demo-corpus OUT`: documents from this Python installation, a folder a source."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import UsageError


def main(arguments: Arguments) -> Reply:
    """Write the corpus and say what is in it.

    Raises:
        UsageError: not exactly one folder was named, or it is a file.
    """
    if len(arguments.words) != 1:
        raise UsageError(f"'demo-corpus' takes one folder to write to, found {len(arguments.words)}")
    out = Path(arguments.words[0])
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; 'demo-corpus' writes a folder")
    from dolma_pipeline.demo import collect

    counts = collect(out)
    if arguments.format == "json":
        return Reply(json.dumps({source: asdict(count) for source, count in counts.items()}, indent=2) + "\n")
    lines = [f"{'source':<10}{'documents':>10}{'MB of text':>12}"]
    lines += [f"{source:<10}{count.documents:>10,}{count.bytes / 1e6:>12.1f}" for source, count in counts.items()]
    return Reply("\n".join(lines) + f"\nin {out}\n")
