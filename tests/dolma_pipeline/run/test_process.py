"""One slot a process: what is kept, and when it goes."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from tests.dolma_pipeline.engines.toys import memory_run


class Kept:
    """Something that can be watched."""


@pytest.fixture(autouse=True)
def _own_slot() -> None:
    Process.leave()


def test_things_are_made_once_a_key() -> None:
    process = Process.of(memory_run())
    made: list[int] = []
    for key in ("a", "a", ("b", 1), ("b", 1), ("b", 2)):
        process.kept(key, lambda: made.append(1))
    assert len(made) == 3
    assert process.kept("a", lambda: 5) is None, "None is kept, too"


def test_an_equal_run_finds_the_slot() -> None:
    run = memory_run()
    process = Process.of(run)
    assert Process.of(replace(run)) is process


@pytest.mark.parametrize("other", ["recipe", "shards", "folder", "modules"])
def test_another_run_drops_everything(other: str) -> None:
    from dolma_pipeline.registry import UserModule

    run = memory_run()
    process = Process.of(run)
    kept = process.kept("thing", Kept)
    seen, scratch = weakref.ref(kept), process.scratch.folder
    (scratch / "file").write_text("x")
    del kept
    changed = {
        "recipe": replace(run, recipe=replace(run.recipe, seed=99)),
        "shards": replace(run, shards_digest="sha256:9"),
        "folder": memory_run(),
        "modules": replace(run, modules=(UserModule("file", "x.py", "", "0"),)),
    }[other]
    assert Process.of(changed) is not process
    gc.collect()
    assert seen() is None
    assert not Path(scratch).exists()


def test_leaving_drops_everything() -> None:
    run = memory_run()
    process = Process.of(run)
    process.kept("thing", Kept)
    Process.leave()
    assert Process.of(run) is not process


def test_the_slot_has_the_folder_that_it_is_asked_with() -> None:
    from dolma_pipeline.storage.overlay import Overlay

    run = memory_run()
    Process.of(replace(run, folder=Overlay(run.folder, {"shards.jsonl": b""})))
    assert Process.of(run).run.folder is run.folder


def test_a_tagger_is_one_object_by_its_parameters() -> None:
    from dolma_pipeline.config.recipe import TaggerConfig

    run: Run = memory_run()
    process = Process.of(run)
    one, same = (process.tagger(TaggerConfig(tagger="length_v1", name="a")) for _ in range(2))
    other = process.tagger(TaggerConfig(tagger="length_v1", name="b"))
    assert one is same
    assert one is not other
    assert other.label == "b"
