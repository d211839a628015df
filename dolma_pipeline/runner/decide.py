"""What is done, what is left, and what was made with other settings; reads records and manifests, writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from dolma_pipeline.config.recipe import STAGES
from dolma_pipeline.errors import SettingsChangedError, UsageError
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import has_lines, read_lines, read_manifest
from dolma_pipeline.run.records import COVERS, earlier_settings
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner.changes import changes
from dolma_pipeline.stages.mixes import VERDICTS

State = Literal["done", "new", "resume", "grow", "heal", "again", "changed"]


@dataclass(frozen=True)
class Decision:
    """An artifact and its state.

    done: nothing to do. new: not begun. resume: begun, not finished. grow: finished, new shards are added.
    heal: finished, but files are missing: what they belong to is made again. again: begun or finished for other shards,
    and cannot grow. changed: begun or finished with other settings.

    before: the settings that it was made with. missing: names of files that are gone. stale: shards of which it was
    made from another content. differing: `key: old -> new`, where its own files say what it was made with.
    """

    artifact: Artifact
    state: State
    before: Mapping[str, Any] | None = None
    missing: Sequence[str] = field(default_factory=tuple)
    stale: Collection[str] = ()
    differing: Sequence[str] = ()


def decide(run: Run, artifact: Artifact, sizes: Mapping[str, int] | None = None) -> Decision:
    """The state of an artifact in the run's folder.

    Args:
        sizes: name -> size of all files of the folder, to see what is missing; None: it is not looked at.
    """
    manifest = read_manifest(run.folder, artifact.folder)
    if manifest is None:
        return _unfinished(run, artifact)
    if not artifact.is_like(manifest) or artifact.forgets(manifest):
        return Decision(artifact, "changed", manifest)
    if manifest["needs"]["shards.jsonl"] != run.shards_digest:
        return Decision(artifact, "grow" if artifact.grows else "again", manifest)
    missing = _missing(run, artifact, manifest, sizes) if sizes is not None else []
    return Decision(artifact, "heal" if missing else "done", manifest, missing)


def read_again(decision: Decision, stale: Collection[str]) -> Decision:
    """The decision where the files of some shards have another content than they had.

    What was made with other settings stands on the old content, too, and no later run could see that: it stays
    `changed`, and is cleared with the rest.
    """
    state = decision.state
    if not stale or not decision.artifact.all_sources or state in ("new", "changed", "again"):
        return decision
    if decision.artifact.remembers and state == "resume":
        return decision  # what it remembers is of none of these; begun work goes with all other (`ready`)
    if decision.artifact.grows and state != "resume":
        return replace(decision, state="grow", stale=stale)
    return replace(decision, state="again")  # begun work has records of several contents


def _unfinished(run: Run, artifact: Artifact) -> Decision:
    begun: list[Mapping[str, Any]] = []
    for entry in run.folder.list(layout.DONE):
        if entry.name.endswith(f"/{COVERS}"):
            covers = orjson.loads(run.folder.read(entry.name))
            if artifact.name in covers:
                begun.append(covers[artifact.name])
    holding = [one for one in begun if artifact.holds_begun(one, run.shards_digest)]
    if (settings := earlier_settings(run.folder, artifact)) is not None:
        begun.append(settings)
        if artifact.forgets(settings):
            return Decision(artifact, "changed", settings)
        holding += [settings] if artifact.holds(settings, run.shards_digest) else []
    like = [one for one in begun if artifact.is_like(one)]
    if holding:
        return Decision(artifact, "resume", holding[0])
    if like:
        return Decision(artifact, "again", like[0])
    if begun and not artifact.cache:
        return Decision(artifact, "changed", begun[-1])
    return Decision(artifact, "new")


def _missing(run: Run, artifact: Artifact, manifest: Mapping[str, Any], sizes: Mapping[str, int]) -> list[str]:
    """Files that the manifest tells of and that are not there, or have another size."""
    outputs = [*manifest.get("outputs", ())]
    if "shards" in manifest:
        if not has_lines(run.folder, artifact.folder):
            return [layout.lines(artifact.folder)]
        outputs += [output for line in read_lines(run.folder, artifact.folder) for output in line.get("outputs", ())]
    places = {f"{artifact.output_root}/{output['path']}": output["bytes"] for output in outputs}
    return [name for name, size in places.items() if sizes.get(name) != size]


def of_earlier_recipes(files: Iterable[str], artifacts: Iterable[Artifact]) -> list[str]:
    """Folders of what is finished and is none of these artifacts; sorted, without caches.

    Args:
        files: the names of all files in the run's folder. artifacts: all of the recipe.
    """
    own = {one.folder for one in artifacts}
    split = (name.rpartition("/") for name in files)
    places = {place for place, _, last in split if last == "manifest.json"}
    return sorted(place for place in places - own if not place.startswith(f"{layout.CACHE}/"))


def what_is_left(decisions: Sequence[Decision]) -> list[Decision]:
    """Those that are not done; of caches only those that something else that is left needs."""
    left = [d for d in decisions if d.state != "done"]
    while True:
        needed = {need.name for d in left for need in d.artifact.needs}
        fewer = [d for d in left if not d.artifact.cache or d.artifact.name in needed]
        if len(fewer) == len(left):
            return left
        left = fewer


def refuse_changes(decisions: Sequence[Decision]) -> None:
    """Stop where finished or begun work was made with other settings.

    Raises:
        SettingsChangedError: says what differs, each once in the recipe's words, and what `--redo` would make again.
    """
    changed = [d for d in decisions if (d.state == "changed" and not d.artifact.cache) or is_trained_on_less(d)]
    if not changed:
        return
    told = (d.differing or changes(d.artifact, d.before) for d in changed if d.state == "changed")
    lines = list(dict.fromkeys(line for lines in told for line in lines))
    for one in changed:
        if one.state == "again":
            lines.append(f"{one.artifact.name}: it was made of fewer input files; its checkpoints and scores would go")
        elif not lines:  # what it needs is not among the stages of this run
            before, now = (one.before or {}).get("needs", {}), {need.name: need.digest for need in one.artifact.needs}
            names = sorted(name for name in now if name in before and before[name] != now[name])
            why = f"it needs {', '.join(names)}, which changed" if names else "another version of this program made it"
            lines.append(f"{one.artifact.name}: {why}")
    again = ", ".join(d.artifact.name for d in decisions if d.state in ("changed", "again") and not d.artifact.cache)
    kept = any(d.artifact.remembers and d.state == "changed" for d in changed)
    raise SettingsChangedError(
        "this folder holds work that was made with other settings:\n"
        + "".join(f"  {line}\n" for line in lines)
        + f"this makes again: {again}\n"
        + ("all documents are judged anew then, those of earlier runs too, though dedupe.keep is old\n" if kept else "")
        + "Give --redo to do so. Or set another `output`, or put the settings back."
    )


def is_trained_on_less(decision: Decision) -> bool:
    """Whether new input files would throw a model away; everything else that they make again is cheap to have."""
    return decision.state == "again" and decision.artifact.stage in MODELS


MODELS = ("train", "eval", "sft", "dpo")
"""Stages of a model, which run in processes of their own."""

HIDDEN = ("index", "judge", "verdicts")
"""Stages without a command: they are run where another one needs them."""


def wanted_artifacts(artifacts: Sequence[Artifact], stages: Collection[str]) -> list[Artifact]:
    """The artifacts of these stages, and what they need of stages without a command, in order."""
    names = {one.name for one in artifacts if one.stage in stages}
    for one in reversed(artifacts):
        if one.name in names:
            names |= {need.name for need in one.needs if need.stage in HIDDEN or need.name == VERDICTS}
    return [one for one in artifacts if one.name in names]


def check_order(decisions: Sequence[Decision], wanted: Collection[str]) -> None:
    """A stage alone needs what comes before it to be done already.

    Args:
        wanted: names of the artifacts that this run makes.

    Raises:
        UsageError: something needed is neither done nor wanted.
    """
    states = {d.artifact.name: d for d in decisions}
    for one in decisions:
        if one.artifact.name not in wanted:
            continue
        stage = _command(one.artifact, decisions, wanted)
        for need in sorted(one.artifact.needs, key=lambda need: list(states).index(need.name)):
            found = states[need.name]
            if need.name not in wanted and found.state != "done":
                command = {"tokenizer": "mix"}.get(need.stage, need.stage)
                there = command in STAGES and any(d.artifact.stage == command for d in decisions)
                first = f"First: dolma-pipeline {command} RECIPE; or do" if there else "Do"
                raise UsageError(
                    f"{stage} needs {need.name}, which is not done ({found.state}). "
                    f"{first} all with: dolma-pipeline run RECIPE."
                )


def _command(artifact: Artifact, decisions: Sequence[Decision], wanted: Collection[str]) -> str:
    """The stage for which something is made: its own, or, where that one is hidden, the first that needs it."""
    if artifact.stage not in HIDDEN:
        return artifact.stage
    users = (d.artifact for d in decisions if d.artifact.name in wanted and artifact in d.artifact.needs)
    return next((_command(one, decisions, wanted) for one in users), artifact.stage)
