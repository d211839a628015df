"""What the launcher deletes when no pipeline runs, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from dolma_pipeline.runner.clear import clear, leftovers
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.units import Unit

from dolma_pipeline.io import paths
from dolma_pipeline.io.shards import Shard, write_shards
from dolma_pipeline.runner.decide import Decision
from tests.pipeline.tiny import files, recipe

A, B = (Shard(f"web/{n}", "web", f"{n}.jsonl", "jsonl", bytes=10) for n in "ab")
X, Y = (Unit(f"attributes/{name}", "tag", {}, {}, growing=True) for name in ("x_v1", "y_v1"))
MIXED = Unit("mix", "mix", {}, {})


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    write_shards(tmp_path / "shards.jsonl", [A, B])
    return RunContext(recipe(tmp_path), str(tmp_path))


def finished(context: RunContext, unit: Unit, **failed: int) -> Decision:
    """A finished unit; failed: documents that failed in web/<name>."""
    records = context.records(unit.name)
    for name in ("a", "b"):
        records.write(f"web/{name}", {"counts": {"in": 5, "failed": failed.get(name, 0)}})
    records.finish(unit.manifest_fields(context), expected=["web/a", "web/b"])
    return Decision(unit, "done")


def test_work_of_finished_units_goes(context: RunContext) -> None:
    done, begun = finished(context, MIXED), Decision(Unit("attributes/minhash", "dedupe", {}, {}), "resume")
    folders = [context.path / name for name in ("mix/.done", "mix/.work", "dedupe/.elect", "tokens/.work")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    assert leftovers(context, [done, begun]) == folders[:2]
    assert leftovers(context, [done]) == folders[:3]
    clear(context, [done, begun])
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    assert (context.path / "mix/manifest.json").is_file()
    assert leftovers(context, [done, begun]) == []


def test_what_died_half_written_goes(context: RunContext) -> None:
    killed = paths.committing(context.path / "tokens" / "train" / "part-00000.npy")
    killed.__enter__().flush()
    before = files(context.path)
    assert len(before) == 2
    clear(context, [])
    assert list(files(context.path)) == ["shards.jsonl"]
    killed.__exit__(ValueError, ValueError(), None)


def test_lists_of_failures_of_an_earlier_try_go_by_the_records(context: RunContext) -> None:
    for name in ("a", "b"):
        paths.write_bytes(context.path / f"failed/tag/web/{name}.jsonl", b"{}")
    x, y = finished(context, X, a=1), finished(context, Y)
    begun = Decision(Unit("attributes/z_v1", "tag", {}, {}), "resume")
    stale = context.path / "failed/tag/web/b.jsonl"
    assert stale not in leftovers(context, [x, y, begun])
    assert leftovers(context, [x, y])[-1] == stale
    clear(context, [x, y])
    assert sorted(path.name for path in (context.path / "failed").rglob("*.jsonl")) == ["a.jsonl"]
    assert leftovers(context, [x, y]) == []
