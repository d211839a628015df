"""Whether more failed than the recipe allows: documents by their share, lost files by number.

A file is lost that could not be read to its end, or is of no known format.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import NamedTuple

import orjson

from dolma_pipeline.errors import TooManyFailuresError
from dolma_pipeline.io.jsonl import NO_TEXT
from dolma_pipeline.io.paths import expanded
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import has_lines, read_lines
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner.result import Result

MOST_NAMED = 20
"""Lost files that an error names."""


class LostFile(NamedTuple):
    """A file that could not be read to its end, or is of no known format: its shard, its path, and why."""

    shard: str
    path: str
    reason: str


def lost_files(run: Run) -> list[LostFile]:
    """The lost files, by shard; none as long as the index is not there."""
    if not has_lines(run.folder, layout.INDEX):
        return []
    return [
        LostFile(line["shard"], line["inputs"][0]["path"], line["lost"])
        for line in read_lines(run.folder, layout.INDEX)
        if "lost" in line
    ]


def check_failures(run: Run, result: Result) -> None:
    """Raises TooManyFailuresError where the recipe's bounds are passed; everything is written all the same."""
    recipe = run.recipe
    lost = result.lost_files
    files = {(one.shard.split("/", 1)[0], one.path) for one in lost}
    if len(files) > recipe.max_failed_files:
        named = "; ".join(f"{one.shard} ({one.path}): {one.reason}" for one in lost[:MOST_NAMED])
        more = f"; and {len(lost) - MOST_NAMED:,} more" if len(lost) > MOST_NAMED else ""
        raise _error(
            f"{len(files):,} {'file' if len(files) == 1 else 'files'} could not be read to the end, more than "
            f"max_failed_files {recipe.max_failed_files} allows: {named}{more}. What could be read is written.",
            result,
        )
    for name, manifest in sorted(result.manifests.items(), key=lambda item: item[0] != "mix"):
        counts = [c for c in manifest.counts.values() if "failed" in c]
        failed, seen = sum(c["failed"] for c in counts), sum(c.get("in", 0) for c in counts)
        if not recipe.allows_failures(failed, seen):
            raise _error(
                f"{failed:,} of {seen:,} documents failed in {name}, more than max_failed_share "
                f"{recipe.max_failed_share} allows; everything else is written. {common_failures(run, name)}",
                result,
            )


def _error(text: str, result: Result) -> TooManyFailuresError:
    error = TooManyFailuresError(text)
    error.result = result
    return error


def common_failures(run: Run, artifact: str) -> str:
    """One sentence on where the failures are and what most of the first 10,000 have in common."""
    own = list(run.folder.list(f"{layout.FAILED}/{artifact}"))
    where = artifact if own else "index"  # lines that gave no document stand with the index
    lines = (
        line
        for entry in run.folder.list(f"{layout.FAILED}/{where}")
        for line in run.folder.read(entry.name).splitlines()
    )
    reasons = Counter(orjson.loads(line)["reason"] for line in itertools.islice(lines, 10_000))
    often = "; ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common(3))
    folder = f"{expanded(run.recipe.output)}/{layout.FAILED}/{where}"
    said = f"{folder}/ has file, line and reason of each; most often: {often}."
    if any(reason.endswith(NO_TEXT) for reason, _ in reasons.most_common(3)):
        said += " Where texts stand under another key, name it in the recipe: sources.NAME.fields: {text: KEY}."
    return said
