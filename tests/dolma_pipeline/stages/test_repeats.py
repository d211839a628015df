"""What a step needs and does not find is an error that names it; what is done is planned no more."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.step import Step

from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.runner import launcher, run
from tests.pipeline.tiny import files, recipe


@pytest.fixture(scope="module")
def steps(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    """The steps of a run that was stopped after the last one, before the launcher cleared its work away."""
    taken: list[Step] = []

    class Stopped(Exception):
        pass

    def all_but_clear(context: RunContext, steps: Sequence[Step], **options: object) -> None:
        for step in steps:
            step.run_here()
        taken.extend(steps)
        raise Stopped

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.chdir(corpus)
        patch.setattr(launcher, "run_on_beam", all_but_clear)
        run(recipe(tmp_path_factory.mktemp("repeats") / "run"), quiet=True)
    return taken


@pytest.fixture
def lost(steps: list[Step], here: Path, tmp_path: Path) -> Lost:
    """A copy of that run, to lose files of."""
    return Lost(steps, Path(shutil.copytree(steps[0].context.path, tmp_path / "run")))


class Lost:
    """Steps on a copy of their run."""

    def __init__(self, steps: Sequence[Step], folder: Path) -> None:
        self.folder = folder
        self.steps = {s.name: replace(s, context=replace(s.context, folder=str(folder))) for s in steps}


NEEDED = [
    ("tokens/parts", "tokens/.work/runs/train/web/a.arrow"),
    ("tokens/parts", "tokens/.work/runs/held_out/forum/d.arrow"),
    ("tokens/parts", "tokens/.work/cuts.json"),
    ("tokens/encode", "tokens/.work/cuts.json"),
    ("tokens/encode", "mix/documents/web/b.jsonl.zst"),
    ("tokens/encode", "mix/held_out/web/b.jsonl.zst"),
    ("tokens/cut", "mix/selected/code/c.parquet"),
    ("tokens/cut", "mix/plan.json"),
    ("mix/write", "mix/plan.json"),
    ("mix/write", "mix/selected/code/c.parquet"),
    ("mix/write", "mix/dropped/code/c.parquet"),
    ("mix/plan", "mix/selected/code/c.parquet"),
    ("mix/filter", "tokenizer/tokenizer.json"),
    ("mix/filter", "attributes/marks_v1/web/a.parquet"),
    ("tokenizer/make", "tokenizer/.sample/web/b.parquet"),
    ("dedupe/write", "dedupe/.elect/elected/exact.parquet"),
    ("dedupe/write", "dedupe/.elect/groups/minhash.parquet"),
    ("dedupe/elect", "dedupe/.elect/candidates/forum/d.parquet"),
    ("dedupe/elect", "dedupe/minhash/signatures/web/b.parquet"),
    ("dedupe/candidates", "dedupe/exact/clusters/members.parquet"),
    ("dedupe/cluster", "dedupe/minhash/edges/00-14-0000-0001.parquet"),
    ("dedupe/edges", "dedupe/exact/signatures/web/b.parquet"),
]
"""A step, and a file that it needs."""


@pytest.mark.parametrize(("name", "file"), NEEDED)
def test_a_file_that_is_gone_is_an_error_that_names_it(lost: Lost, name: str, file: str) -> None:
    (lost.folder / file).unlink()
    step = lost.steps[name]
    before = files(lost.folder)
    with pytest.raises(DataError) as caught:
        for task in step.all_tasks():
            for records, key in step.leaves(task):
                records.forget(key)
            step.work(task)
    assert str(caught.value).startswith(f"{lost.folder / file}: ")
    assert "is gone" in str(caught.value)
    assert files(lost.folder).items() <= before.items()  # nothing was written with fewer rows


def test_after_the_end_every_step_plans_nothing(lost: Lost) -> None:
    for work in ("tokens/.work", "mix/.work", "tokenizer/.work", "tokenizer/.sample", "dedupe/.elect"):
        shutil.rmtree(lost.folder / work, ignore_errors=True)
    for path in [*lost.folder.rglob(".done"), *lost.folder.rglob("edges"), *lost.folder.glob("dedupe/*/.work")]:
        shutil.rmtree(path)
    assert [name for name, step in lost.steps.items() if step.tasks()] == []


def test_a_finish_after_the_end_changes_nothing(lost: Lost) -> None:
    before = files(lost.folder)
    for step in lost.steps.values():
        step.finish()
    assert files(lost.folder) == before


@pytest.mark.parametrize("record", ["tokens/.done/shards/train/part-00001", "mix/.work/filter/.done/shards/web/b"])
def test_a_step_that_lacks_a_record_is_not_finished(lost: Lost, record: str) -> None:
    unit, key = record.split("/")[0], "/".join(record.split("/")[-2:])
    for name in ("manifest.json", "shards.jsonl"):
        (lost.folder / unit / name).unlink()
    (lost.folder / f"{record}.json").unlink()
    step = lost.steps["tokens/parts" if unit == "tokens" else "mix/filter"]
    with pytest.raises(RunError, match=rf"^{step.name}: 1 of its tasks not done: {key}\. The same command goes on"):
        step.finish()
    assert not (lost.folder / unit / "manifest.json").exists()
