"""Which artifacts are done, begun, to be added to, or of other settings."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest

from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.errors import SettingsChangedError, UsageError
from dolma_pipeline.run import perform
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.manifests import close
from dolma_pipeline.run.records import cover, write_earlier
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner.decide import (
    Decision,
    check_order,
    decide,
    is_trained_on_less,
    read_again,
    refuse_changes,
    wanted_artifacts,
    what_is_left,
)
from dolma_pipeline.storage.folder import run_folder
from tests.dolma_pipeline.engines.toys import Many

TAGGED = Artifact("attributes/x_v1", "tag", {"tag.taggers.x_v1.t": 1}, growing=True, sources=("web",))
MIXED = Artifact("mix", "mix", {"mix.target_tokens": 5}, needs=(TAGGED,))
CACHE = Artifact("judged", "judge", {"mix.where.a": "b"}, needs=(TAGGED,), growing=True, cache=True)
OTHER = {"tag.taggers.x_v1.t": 2}


@pytest.fixture
def run() -> Run:
    recipe = recipe_from_text("output: run\nsources: {web: {documents: x}}\ntag: {taggers: [length_v1]}\n")
    return Run(recipe, run_folder(f"memory://{secrets.token_hex(8)}"), shards_digest="sha256:1")


def finish(run: Run, artifact: Artifact, *shards: str) -> None:
    """Leave an artifact as a run leaves it, with one output a shard."""
    lines = []
    for shard in shards:
        name = f"{artifact.output_root}/{shard}.txt"
        run.folder.write(name, b"made")
        lines.append({"shard": shard, "outputs": [{"path": f"{shard}.txt", "bytes": 4}], "counts": {"in": 1}})
    close(run.folder, artifact, lines, shards_digest=run.shards_digest)


def sizes(run: Run) -> dict[str, int]:
    return {entry.name: entry.size for entry in run.folder.list()}


def state(run: Run, artifact: Artifact) -> str:
    return decide(run, artifact, sizes(run)).state


@pytest.mark.parametrize("artifact", [TAGGED, MIXED])
def test_from_new_to_done(run: Run, artifact: Artifact) -> None:
    assert state(run, artifact) == "new"
    cover(run, Many((artifact,)))
    assert state(run, artifact) == "resume"
    finish(run, artifact, "web/a")
    assert state(run, artifact) == "done"
    changed = decide(run, replace(artifact, reads={"other": 2}))
    assert (changed.state, (changed.before or {})["config"]) == ("changed", dict(artifact.reads))


def test_other_shards_are_added_or_mean_doing_it_again(run: Run) -> None:
    for artifact in (TAGGED, MIXED):
        finish(run, artifact, "web/a")
    more = replace(run, shards_digest="sha256:2")
    assert (state(more, TAGGED), state(more, MIXED)) == ("grow", "again")


def test_begun_work_for_other_shards(run: Run) -> None:
    """A plan of fewer documents must not be gone on with."""
    for artifact in (TAGGED, MIXED):
        cover(run, Many((artifact,)))
    more = replace(run, shards_digest="sha256:2")
    assert (state(more, TAGGED), state(more, MIXED)) == ("resume", "again")
    assert (state(run, TAGGED), state(run, MIXED)) == ("resume", "resume")
    assert state(more, replace(TAGGED, remembers=True)) == "again", "what it says depends on which others there are"


def test_begun_with_other_settings(run: Run) -> None:
    cover(run, Many((TAGGED,)))
    assert state(run, replace(TAGGED, reads=OTHER)) == "changed"
    cover(run, Many((CACHE,)))
    assert state(run, replace(CACHE, reads=OTHER)) == "new", "a cache is made, where it is needed, without a word"


def test_opened_again(run: Run) -> None:
    write_earlier(run.folder, TAGGED, TAGGED.settings("sha256:0"), [{"shard": "web/a"}])
    assert state(run, TAGGED) == "resume"
    other = decide(run, replace(TAGGED, reads=OTHER))
    assert (other.state, (other.before or {})["config"]) == ("changed", {"tag.taggers.x_v1.t": 1})


def test_settings_of_one_source(run: Run) -> None:
    own = replace(TAGGED, source_reads={"web": {"sources.web.fields": {"id": "a"}}})
    other = replace(TAGGED, source_reads={"web": {"sources.web.fields": {"id": "b"}}})
    assert own.digest == other.digest
    write_earlier(run.folder, own, own.settings("sha256:0"), [{"shard": "web/a"}])
    assert (state(run, own), state(run, other)) == ("resume", "changed")
    run.folder.delete_tree(".done")
    finish(run, own, "web/a")
    assert (state(run, own), state(run, other)) == ("done", "changed")


@pytest.mark.parametrize("lost", ["attributes/x_v1/web/b.txt", "attributes/x_v1/shards.jsonl"])
def test_files_that_are_gone(run: Run, lost: str) -> None:
    finish(run, TAGGED, "web/a", "web/b")
    run.folder.delete([lost])
    found = decide(run, TAGGED, sizes(run))
    assert (found.state, list(found.missing)) == ("heal", [lost])
    assert decide(run, TAGGED).state == "done", "where nobody looks"


def test_files_that_are_cut_short(run: Run) -> None:
    finish(run, TAGGED, "web/a", "web/b")
    run.folder.write("attributes/x_v1/web/a.txt", b"mad")
    assert list(decide(run, TAGGED, sizes(run)).missing) == ["attributes/x_v1/web/a.txt"]


def test_inputs_of_another_content(run: Run) -> None:
    def again(state: Any, artifact: Artifact = TAGGED) -> str:
        return read_again(Decision(artifact, state), {"web/a"}).state

    assert [again(one) for one in ("new", "changed", "again")] == ["new", "changed", "again"]
    assert [again(one) for one in ("done", "grow", "heal")] == ["grow"] * 3
    assert again("resume") == "again"
    assert again("done", MIXED) == "again"
    assert again("done", Artifact("tokenizer", "tokenizer")) == "done", "made of no documents"
    assert read_again(Decision(TAGGED, "done"), ()).state == "done"


def test_caches_are_left_only_for_those_who_need_them() -> None:
    user = Artifact("mix/verdicts", "mix", needs=(CACHE,))
    cached, used = Decision(CACHE, "new"), Decision(user, "new")
    assert what_is_left([Decision(TAGGED, "done"), cached, used]) == [cached, used]
    assert what_is_left([Decision(TAGGED, "done"), cached, Decision(user, "done")]) == []
    deeper = Decision(Artifact("asked", "judge", cache=True), "new")
    chained = Decision(replace(CACHE, needs=(deeper.artifact,)), "new")
    assert what_is_left([deeper, chained]) == []
    whole = [deeper, chained, Decision(replace(user, needs=(chained.artifact,)), "changed")]
    assert what_is_left(whole) == whole


def test_refusing_says_what_differs(run: Run) -> None:
    finish(run, TAGGED, "web/a")
    finish(run, MIXED, "web/a")
    tagged = replace(TAGGED, reads=OTHER)
    mixed = replace(MIXED, needs=(tagged,))
    refuse_changes([decide(run, TAGGED), decide(run, MIXED), Decision(CACHE, "changed")])
    with pytest.raises(SettingsChangedError) as caught:
        refuse_changes([decide(run, one) for one in (tagged, mixed)])
    assert str(caught.value) == (
        "this folder holds work that was made with other settings:\n"
        "  tag.taggers.x_v1.t: 1 -> 2\n"
        "this makes again: attributes/x_v1, mix\n"
        "Give --redo to do so. Or set another `output`, or put the settings back."
    )
    with pytest.raises(SettingsChangedError, match=r"\n  mix: it needs attributes/x_v1, which changed\nthis makes"):
        refuse_changes([decide(run, mixed)])


def test_a_model_is_not_thrown_away_for_new_files(run: Run) -> None:
    train = Artifact("train", "train")
    finish(run, train)
    again = decide(replace(run, shards_digest="sha256:2"), train)
    assert (again.state, is_trained_on_less(again), is_trained_on_less(Decision(MIXED, "again"))) == (
        "again", True, False
    )  # fmt: skip
    with pytest.raises(SettingsChangedError, match="train: it was made of fewer input files; its checkpoints and scor"):
        refuse_changes([again])


INDEX = Artifact("index", "index")
JUDGED = Artifact("judged", "judge", needs=(INDEX,), cache=True)
VERDICTS = Artifact("mix/verdicts", "mix", needs=(JUDGED,))
TOKENIZER = Artifact("tokenizer", "tokenizer", needs=(VERDICTS,))


def test_a_stage_brings_what_it_needs_of_stages_without_a_command() -> None:
    every = [INDEX, JUDGED, VERDICTS, TOKENIZER]
    assert [one.name for one in wanted_artifacts(every, ["tokenizer"])] == [one.name for one in every]
    assert wanted_artifacts(every, ["mix"]) == every[:3]
    assert wanted_artifacts(every, ["tag"]) == []


def test_a_stage_alone_needs_what_comes_before() -> None:
    done, new = Decision(TAGGED, "done"), Decision(TAGGED, "new")
    check_order([done, Decision(MIXED, "new")], {"mix"})
    check_order([new, Decision(MIXED, "new")], {"mix", TAGGED.name})
    with pytest.raises(UsageError) as caught:
        check_order([new, Decision(MIXED, "new")], {"mix"})
    assert str(caught.value) == (
        "mix needs attributes/x_v1, which is not done (new). First: dolma-pipeline tag RECIPE; or do all with: "
        "dolma-pipeline run RECIPE."
    )
    small = Artifact("small", "small", needs=(MIXED,))
    with pytest.raises(UsageError, match=r"^small needs mix, .* First: dolma-pipeline mix RECIPE"):
        check_order([done, Decision(MIXED, "new"), Decision(small, "new")], {"small"})
    tokenizer = Artifact("tokenizer", "tokenizer")  # made by the command `mix`, which a recipe may not have
    small = Artifact("small", "small", needs=(tokenizer,))
    with pytest.raises(UsageError, match=r"^small needs tokenizer, which is not done \(new\)\. Do all with: "):
        check_order([Decision(tokenizer, "new"), Decision(small, "new")], {"small"})


def test_work_that_ended_is_done_though_its_records_are_there(run: Run) -> None:
    phase = Many((TAGGED,), num_tasks=1)
    perform.work(run, phase, next(perform.begin(run, phase)))
    finish(run, TAGGED, "web/a")
    assert state(run, TAGGED) == "done"
