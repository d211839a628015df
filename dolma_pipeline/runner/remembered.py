"""Verdicts of earlier documents that are kept (`dedupe.keep: old`): when they cannot be, and who hears of it.

They are in the columns of dedupe steps and nowhere else, so that a file that is lost, or an input that is another by
now, is an error here. With other settings, asked for with --redo, all is decided anew; that is said.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dolma_pipeline.errors import UsageError
from dolma_pipeline.run.artifact import EARLIER
from dolma_pipeline.run.manifests import has_lines, read_lines
from dolma_pipeline.run.records import earlier_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner.decide import Decision

ELECT = (
    "set dedupe.keep: elect, with which all documents are judged anew (--redo, where verdicts of earlier runs were "
    "kept)"
)


def forgotten(decisions: Sequence[Decision]) -> list[Decision]:
    """The decisions where what stands on verdicts that are decided anew is made again with them.

    Its own settings are the same, so nothing else would tell.
    """
    anew = stands_on_forgotten(decisions)
    return [
        replace(one, state="changed", missing=()) if one.artifact.name in anew and one.state != "new" else one
        for one in decisions
    ]


def stands_on_forgotten(decisions: Sequence[Decision]) -> set[str]:
    """Names of the artifacts that are decided anew, and of those that stand on them."""
    found: set[str] = set()
    for one in decisions:
        if one.artifact.forgets(one.before) or found & {need.name for need in one.artifact.needs}:
            found.add(one.artifact.name)
    return found


def refuse_losses(
    run: Run,
    decisions: Sequence[Decision],
    wanted: Collection[str],
    shards: Collection[str],
    stale: Collection[str],
    sizes: Mapping[str, int],
) -> None:
    """Stop where earlier verdicts cannot be kept.

    Args:
        wanted: names of the artifacts that this run makes. shards: names, of now. stale: names of those that have
            another content than they had, or are not there any more.
        sizes: name -> size of all files of the folder.

    Raises:
        UsageError: an input of earlier documents is gone or another, or a file with verdicts is.
    """
    for one in decisions:
        artifact = one.artifact
        if not artifact.remembers or one.state in ("new", "changed"):
            continue
        records = _records(run, one)
        names = {record["shard"] for record in records}
        if lost := sorted((names - {*shards}) | (names & {*stale})):
            raise UsageError(
                f"dedupe.keep is old, but the input of {lost[0]}{_more(lost)} is gone or has another content, and what "
                f"{artifact.name} says of other documents may stand on what was there. Put it back, or {ELECT}."
            )
        again = one.state == "heal" and EARLIER not in (one.before or {})  # one election, which gives the same again
        cut = [name for name, size in _files(one, records) if sizes.get(name) != size]
        missing = list(dict.fromkeys([*one.missing, *cut]))
        opened = one.state == "resume" or (one.state in ("grow", "heal") and artifact.name in wanted)
        if missing and opened and not again:
            raise UsageError(
                f"dedupe.keep is old, but {missing[0]}{_more(missing)} is missing or cut short, and only these files "
                f"say what was decided of earlier documents. Put it back, or {ELECT}."
            )


def anew_warnings(decisions: Sequence[Decision]) -> list[str]:
    """What to say where verdicts are asked to be kept and are not, since the settings are others."""
    return [
        f"{one.artifact.name}: dedupe.keep is old, but it was made with other settings; all documents are judged anew, "
        "those of earlier runs too."
        for one in decisions
        if one.artifact.remembers and one.state == "changed"
    ]


def _records(run: Run, one: Decision) -> list[dict[str, Any]]:
    folder, place = run.folder, one.artifact.folder
    return list(read_lines(folder, place)) if has_lines(folder, place) else earlier_records(run, one.artifact)


def _files(one: Decision, records: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    root = one.artifact.output_root
    return [(f"{root}/{output['path']}", output["bytes"]) for record in records for output in record["outputs"]]


def _more(found: Sequence[str]) -> str:
    return f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
