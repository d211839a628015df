"""What the launcher clears and opens before a run, and removes after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dolma_pipeline.io.shards import Shard
from dolma_pipeline.run import layout, perform, records
from dolma_pipeline.run.artifact import EARLIER
from dolma_pipeline.run.manifests import read_lines, read_manifest
from dolma_pipeline.run.phase import Phase
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner.check import sizes_of
from dolma_pipeline.runner.decide import Decision, decide
from dolma_pipeline.runner.ready import make_ready, tidy
from tests.dolma_pipeline.engines.toys import CHAIN, TEXTS, TOTAL, WORDS, CountWords, Initials, memory_run, promised

NAMES = [f"{number:03d}.txt" for number in range(len(TEXTS))]
SHARDS = {name: Shard(name, "web", name, "jsonl") for name in NAMES}
ARTIFACTS = [WORDS, TOTAL]


@pytest.fixture
def run() -> Run:
    return memory_run()


def all_of_it(run: Run, phases: Sequence[Phase] = CHAIN) -> None:
    for phase in phases:
        perform.whole(run, phase)


def left(run: Run) -> list[str]:
    return [task.key for task in perform.begin(run, CountWords())]


def ready(run: Run) -> list[str]:
    """Make ready; the states of the artifacts before."""
    sizes = sizes_of(run.folder)
    decisions = [decide(run, artifact, sizes) for artifact in ARTIFACTS]
    make_ready(run, decisions, ARTIFACTS, SHARDS)
    return [one.state for one in decisions]


def test_a_task_is_done_again_where_an_output_is_gone(run: Run) -> None:
    for task in [*perform.begin(run, CountWords())][:3]:
        perform.work(run, CountWords(), task)
    run.folder.delete(["words/001.txt.json"])
    assert left(run) == NAMES[3:]
    assert ready(run) == ["resume", "new"]
    assert left(run) == ["001.txt", *NAMES[3:]]


def test_a_task_is_done_again_where_a_work_file_is_gone(run: Run) -> None:
    all_of_it(run, CHAIN[:2])
    run.folder.delete_tree(layout.CACHE)
    assert ready(run) == ["done", "resume"]
    assert [task.key for task in perform.begin(run, Initials())] == [task.key for task in Initials().tasks(run)]
    all_of_it(run)
    assert read_manifest(run.folder, "total") is not None


def test_an_opened_record_goes_where_its_file_is_gone(run: Run) -> None:
    all_of_it(run)
    tidy(run, ARTIFACTS, keep_work=False)
    run.folder.delete(["words/001.txt.json"])
    assert ready(run)[0] == "heal"
    run.folder.delete(["words/004.txt.json"])  # after a kill, before it was made again
    assert ready(run)[0] == "resume"
    gone = {"001.txt", "004.txt"}
    assert [record["shard"] for record in records.earlier_records(run, WORDS)] == sorted({*NAMES} - gone)


def test_what_is_read_again_has_no_records_of_a_run_that_was_killed_before_it_cleared_up(run: Run) -> None:
    all_of_it(run)
    changed = replace(decide(run, WORDS), state="grow", stale={"001.txt"})  # as its file has another content now
    make_ready(run, [changed, decide(run, TOTAL)], ARTIFACTS, SHARDS)
    assert {*records.gathered(run, WORDS)} == {*NAMES} - {"001.txt"}


def test_what_is_healed_has_no_records_of_a_run_that_was_killed_before_it_cleared_up(run: Run) -> None:
    all_of_it(run)
    before = promised(run.folder)
    run.folder.delete(["words/001.txt.json"])
    assert ready(run) == ["heal", "done"]
    assert "001.txt" in left(run)
    all_of_it(run)
    tidy(run, ARTIFACTS, keep_work=False)
    assert promised(run.folder) == before
    assert [line["shard"] for line in read_lines(run.folder, "words")] == NAMES


def test_records_of_workers_of_another_run_go_at_the_end(run: Run) -> None:
    all_of_it(run)
    run.folder.write(f"{layout.DONE}/toy.words-0123456789ab/000.txt.json", b"{}")
    tidy(run, ARTIFACTS, keep_work=False)
    assert list(run.folder.list(layout.DONE)) == []


def test_what_one_remembers_is_not_what_it_had_begun_beside_another_one(run: Run) -> None:
    """Records of a task for both are thrown away with the other one; they do not become what was decided."""
    remembering = replace(WORDS, remembers=True)
    settings = {**remembering.settings("sha256:old"), EARLIER: {"documents": 1}}
    records.write_earlier(run.folder, remembering, settings, [])
    phase = replace(CountWords(), artifacts=(remembering, TOTAL))
    perform.work(run, phase, next(perform.begin(run, phase)))
    assert list(records.gathered(run, remembering)) == ["000.txt"]
    make_ready(run, [Decision(TOTAL, "changed", TOTAL.settings())], [remembering, TOTAL], SHARDS)
    assert records.gathered(run, remembering) == {}
    assert EARLIER in (records.earlier_settings(run.folder, remembering) or {})
