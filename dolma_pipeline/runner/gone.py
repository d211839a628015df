"""Inputs that are gone (`sources.NAME.gone`): what needs their text again is an error before anything is cleared.

What is done of their shards is taken as it is. A run that is let go on may still come to a text that nobody has kept
(documents that a larger budget takes in): that is an error, too, where it is asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from dolma_pipeline.errors import UsageError
from dolma_pipeline.run.consumer import Consumer
from dolma_pipeline.run.manifests import has_lines, read_lines
from dolma_pipeline.run.planner import Step
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import gathered
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.stage import at
from dolma_pipeline.runner.decide import Decision
from dolma_pipeline.stages.dedupe.earlier import keeps_old
from dolma_pipeline.stages.dedupe.steps import electing_steps, span_steps
from dolma_pipeline.stages.encode import Encoding
from dolma_pipeline.stages.kept import ids_base, kept_files

BACK = "Put the files back, and take them out of `gone`."


def refuse_gone(
    process: Process, left: Sequence[Decision], steps: Sequence[Step], gone: Collection[str], sizes: Mapping[str, int]
) -> None:
    """Stop where what is left cannot be made without texts that are gone.

    Args:
        left: what this run makes. steps: that make it. gone: names of shards. sizes: of all files of the folder.

    Raises:
        UsageError: says what needs which text.
    """
    if not gone:
        return
    run = process.run
    if (electing_steps(run.recipe) or span_steps(run.recipe)) and not keeps_old(run.recipe):
        with at(run.recipe, "dedupe.keep"):
            raise UsageError(
                "files are gone (`gone` of a source), and with keep: elect any of their documents may come to stay in "
                "the place of another one. Set keep: old, with which what was decided of them stands."
            )
    reading = {one.artifact.name for one in steps if isinstance(one, Consumer) and not _keeps(one)}
    reading |= {artifact.name for one in steps if not isinstance(one, Consumer) and one.reads_text
                for artifact in one.artifacts}  # fmt: skip
    for decision in left:
        artifact = decision.artifact
        if artifact.name in reading:
            _refuse_unmade(run, decision, gone, sizes)
        elif artifact.texts and decision.state == "changed":
            written = [
                name for name in sorted(gone) if any(f"{place}/{name}.jsonl.zst" in sizes for place in artifact.texts)
            ]
            if written:
                raise UsageError(
                    f"{artifact.name} is made with other settings, and the documents that it has written of "
                    f"{_some(written)} are all that is left of their text. {BACK}"
                )
    for step in steps:
        if isinstance(step, Encoding) and step.ids:
            _refuse_unencoded(process, step, gone)


def _keeps(step: Consumer) -> bool:
    """Whether it reads text only where what was kept of it is not enough: kept ids, written documents."""
    return isinstance(step, Encoding) or bool(step.artifact.texts)


def _refuse_unmade(run: Run, decision: Decision, gone: Collection[str], sizes: Mapping[str, int]) -> None:
    """Stop where something that is made from texts is not there of shards whose text is gone."""
    artifact = decision.artifact
    if decision.state in ("new", "changed", "again"):
        why = {"new": "was not made before", "changed": "is made with other settings"}.get(
            decision.state, "is made of all documents together"
        )
        raise UsageError(f"{artifact.name} {why}, and the text of {_some(sorted(gone))} is gone. {BACK}")
    folder = run.folder
    finished = has_lines(folder, artifact.folder)
    records = (
        {one["shard"]: one for one in read_lines(folder, artifact.folder)} if finished else gathered(run, artifact)
    )
    for name in sorted(gone):
        outputs = records[name].get("outputs", ()) if name in records else ()
        files = [(f"{artifact.output_root}/{output['path']}", output["bytes"]) for output in outputs]
        lost = [file for file, size in files if sizes.get(file) != size]
        if lost or name not in records:
            what = f"{lost[0]} is missing or cut short" if lost else f"{artifact.name} was not made of {name}"
            raise UsageError(f"{what}, and the text of {name} is gone. {BACK}")


def _refuse_unencoded(process: Process, step: Encoding, gone: Collection[str]) -> None:
    """Stop where the ids of documents that were chosen before are not kept: only their text would give them again."""
    folder, seed = process.run.folder, process.run.recipe.seed
    if not has_lines(folder, step.mix):
        return
    for record in read_lines(folder, step.mix):
        if record["shard"] in gone and record["counts"]["kept"]:
            place = f"{ids_base(process, step.ids)}/{record['shard']}/{record['inputs'][0]['sha256'][:12]}"
            if not kept_files(folder, place, seed):
                raise UsageError(
                    f"the ids of {record['shard']} are not kept any more (the cache was removed, or the tokenizer, an "
                    f"edit or the seed is another), and its text is gone. {BACK}"
                )


def _some(names: Sequence[str]) -> str:
    return f"{names[0]}{f' and {len(names) - 1:,} more shards' if len(names) > 1 else ''}"
