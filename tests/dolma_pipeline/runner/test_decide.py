"""Which units are done, begun, to be added to, or of other settings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.units import Unit, shards_digest

from dolma_pipeline.errors import SettingsChangedError
from dolma_pipeline.io.shards import Shard, write_shards
from dolma_pipeline.runner.decide import decide, make_ready, refuse_changes
from tests.pipeline.tiny import recipe

A, B = (Shard(f"web/{n}", "web", f"{n}.jsonl", "jsonl", bytes=10) for n in "ab")
TAGGED = Unit("attributes/x_v1", "tag", {"t": 1}, {}, growing=True)
MIXED = Unit("mix", "mix", {"budget": 5}, {"attributes/x_v1": TAGGED.digest})


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    write_shards(tmp_path / "shards.jsonl", [A])
    return RunContext(recipe(tmp_path), str(tmp_path))


def finish(context: RunContext, unit: Unit, *shards: Shard) -> None:
    """Leave a unit as a run leaves it, with one output a shard."""
    records = context.records(unit.name)
    for shard in shards:
        path = context.path / unit.name / f"{shard.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("made")
        inputs = [{"path": shard.path, "bytes": shard.bytes}]
        records.write(shard.name, {"inputs": inputs, "outputs": [{"path": f"{shard.name}.txt"}], "counts": {}})
    records.finish(unit.manifest_fields(context), expected=[shard.name for shard in shards])
    shutil.rmtree(records.done_folder)


def state(context: RunContext, unit: Unit) -> str:
    return decide(context, unit, shards_digest(context)).state


def ready(context: RunContext, unit: Unit) -> None:
    make_ready(context, [decide(context, unit, shards_digest(context))], shards_digest(context))


@pytest.mark.parametrize("unit", [TAGGED, MIXED])
def test_from_new_to_done(context: RunContext, unit: Unit) -> None:
    assert state(context, unit) == "new"
    ready(context, unit)
    assert state(context, unit) == "resume"
    finish(context, unit, A)
    assert state(context, unit) == "done"
    other = Unit(unit.name, unit.stage, {"t": 2}, unit.needs, unit.growing)
    assert state(context, other) == "changed"


def test_new_shards_are_added_or_mean_doing_it_again(context: RunContext) -> None:
    finish(context, TAGGED, A)
    finish(context, MIXED, A)
    write_shards(context.path / "shards.jsonl", [A, B])
    assert (state(context, TAGGED), state(context, MIXED)) == ("grow", "again")
    ready(context, TAGGED)
    ready(context, MIXED)
    assert context.records(TAGGED.name).has(A.name)
    assert (context.path / TAGGED.name / "web/a.txt").exists()
    assert sorted(p.name for p in (context.path / "mix").rglob("*")) == [".done", "unit.json"]
    assert (state(context, TAGGED), state(context, MIXED)) == ("resume", "resume")


def test_shards_that_are_gone_or_other_files_are_forgotten(context: RunContext) -> None:
    finish(context, TAGGED, A, B)
    (context.path / "failed/tag/web").mkdir(parents=True)
    for name in ("a", "b"):
        (context.path / f"failed/tag/web/{name}.jsonl").write_text("{}")
    write_shards(context.path / "shards.jsonl", [Shard("web/a", "web", "a.jsonl", "jsonl", bytes=11)])
    ready(context, TAGGED)
    assert not context.records(TAGGED.name).has("web/a")
    assert not context.records(TAGGED.name).has("web/b")
    assert list((context.path / TAGGED.name).rglob("*.txt")) == []
    assert [path.name for path in (context.path / "failed").rglob("*.jsonl")] == ["a.jsonl"]


def test_what_other_shards_gave_is_cleared(context: RunContext) -> None:
    signed = Unit("dedupe/near", "dedupe", {}, {}, growing=True)
    finish(context, signed, A)
    for name in (".work", "edges", "clusters", "signatures"):
        (context.path / signed.name / name).mkdir()
    write_shards(context.path / "shards.jsonl", [A, B])
    ready(context, signed)
    assert sorted(path.name for path in (context.path / signed.name).iterdir()) == [".done", "signatures", "web"]


def test_rubbish_of_nobody_knows_what_is_cleared(context: RunContext) -> None:
    (context.path / "mix/.done/shards/web").mkdir(parents=True)
    (context.path / "mix/.done/shards/web/a.json").write_text("{}")
    assert state(context, MIXED) == "new"
    ready(context, MIXED)
    assert not context.records("mix").has("web/a")


def test_done_units_are_left_alone(context: RunContext) -> None:
    finish(context, TAGGED, A)
    before = {path: path.stat().st_mtime_ns for path in context.path.rglob("*")}
    ready(context, TAGGED)
    assert {path: path.stat().st_mtime_ns for path in context.path.rglob("*")} == before


def test_refusing_says_what_differs(context: RunContext) -> None:
    finish(context, TAGGED, A)
    finish(context, MIXED, A)
    tagged = Unit(TAGGED.name, "tag", {"t": 2}, {}, growing=True)
    mixed = Unit("mix", "mix", {"budget": 5}, {TAGGED.name: tagged.digest})
    refuse_changes([decide(context, TAGGED, shards_digest(context))])
    with pytest.raises(SettingsChangedError) as caught:
        refuse_changes([decide(context, unit, shards_digest(context)) for unit in (tagged, mixed)])
    assert str(caught.value) == (
        "this folder holds work that was made with other settings:\n"
        "  tag.taggers.x_v1.t: 1 -> 2\n"
        "this makes again: attributes/x_v1, mix\n"
        "Give --redo to do so. Or set another `output`, or put the settings back."
    )
    with pytest.raises(SettingsChangedError, match=r"\n  mix: it needs attributes/x_v1, which changed\nthis makes"):
        refuse_changes([decide(context, mixed, shards_digest(context))])
