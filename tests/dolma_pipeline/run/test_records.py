"""Done records: what is done of unfinished work, and work that was finished and is opened again."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from dolma_pipeline.errors import RunError
from dolma_pipeline.run import perform, records
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.phase import Task, Work
from dolma_pipeline.run.run import Run
from tests.dolma_pipeline.engines.toys import TOTAL, WORDS, CountWords, Many, Total, memory_run


@pytest.fixture
def run() -> Run:
    return memory_run()


def test_a_record_says_what_was_done(run: Run) -> None:
    phase, task = CountWords(), Task("000.txt")
    assert records.find_record(run, phase, task) is None
    records.cover(run, phase)
    work = Work({"words": [{"shard": "000.txt"}]}, {"words": 3}, documents=1, num_bytes=9, files=["cache/x"])
    written = records.write_record(run, phase, task, work)
    assert records.find_record(run, phase, task) == written
    assert records.done_tasks(run, phase) == {"000.txt"}
    (found,) = records.read_records(run, phase, [task])
    assert found == {
        "task": "000.txt",
        "records": {"words": [{"shard": "000.txt"}]},
        "more": {"words": 3},
        "files": ["cache/x"],
        "documents": 1,
        "bytes": 9,
    }


def test_a_record_that_is_missing_is_named(run: Run) -> None:
    with pytest.raises(RunError, match=r"^toy/words: 000\.txt is not done, but its phase was to be closed\. The same"):
        list(records.read_records(run, CountWords(), [Task("000.txt")]))


def test_records_of_other_settings_or_shards_lie_elsewhere(run: Run) -> None:
    other = CountWords((replace(WORDS, reads={"toy.lower": False}),))
    folders = {
        records.folder_of(run, CountWords()),
        records.folder_of(run, other),
        records.folder_of(replace(run, shards_digest="sha256:1"), CountWords()),
    }
    assert len(folders) == 3
    perform.work(run, CountWords(), next(perform.begin(run, CountWords())))
    assert records.done_tasks(run, other) == set()


def test_work_of_a_phase_counts_for_its_artifacts_alone(run: Run) -> None:
    perform.work(run, CountWords(), next(perform.begin(run, CountWords())))
    assert list(records.gathered(run, WORDS)) == ["000.txt"]
    assert records.gathered(run, TOTAL) == {}
    assert records.gathered(run, WORDS, but=CountWords()) == {}
    assert records.gathered(run, replace(WORDS, reads={})) == {}


def test_what_was_begun_for_other_shards_is_not_remembered(run: Run) -> None:
    """What it said of a shard then depends on which others there were."""
    remembering, phase = replace(WORDS, remembers=True), replace(CountWords(), artifacts=(WORDS,))
    before = replace(run, shards_digest="sha256:1")
    perform.work(before, phase, next(perform.begin(before, phase)))
    assert list(records.gathered(run, WORDS)) == ["000.txt"]
    assert records.gathered(run, remembering) == {}
    assert list(records.gathered(before, remembering)) == ["000.txt"]
    records.write_earlier(run.folder, WORDS, WORDS.settings("sha256:old"), [{"shard": "a"}])
    assert list(records.gathered(run, remembering)) == ["a"]


def test_what_was_opened_again_counts_with_its_settings(run: Run) -> None:
    lines = [{"shard": "b", "counts": {"in": 1}}, {"shard": "a", "counts": {"in": 2}}]
    records.write_earlier(run.folder, WORDS, WORDS.settings("sha256:old"), lines)
    assert records.earlier_settings(run.folder, WORDS) == orjson.loads(orjson.dumps(WORDS.settings("sha256:old")))
    assert records.earlier_records(run, WORDS) == lines
    assert sorted(records.gathered(run, WORDS)) == ["a", "b"]
    other = replace(WORDS, reads={"toy.lower": False})
    assert records.earlier_records(run, other) == []
    assert records.earlier_settings(run.folder, other) is not None, "to be told that it was made otherwise"
    fixed = replace(WORDS, growing=False)
    assert records.earlier_records(run, fixed) == [], "made for other shards"
    records.write_earlier(run.folder, fixed, fixed.settings(run.shards_digest), lines)
    assert records.earlier_records(run, fixed) == lines


def test_settings_of_one_source_count_too(run: Run) -> None:
    """They are no part of the digest that names a phase's records."""
    before = Artifact("words", "toy", {}, {"web": {"sources.web.fields": {"id": "x"}}}, growing=True)
    records.write_earlier(run.folder, before, before.settings("sha256:1"), [{"shard": "a"}])
    after = replace(before, source_reads={"web": {"sources.web.fields": {"id": "y"}}})
    assert before.digest == after.digest
    assert records.earlier_records(run, before) == [{"shard": "a"}]
    assert records.earlier_records(run, after) == []


def test_nothing_in_records_tells_who_or_when(run: Run) -> None:
    phase = Many(num_tasks=3)
    for task in perform.begin(run, phase):
        perform.work(run, phase, task)
    under = records.folder_of(run, phase)
    before = {e.name: run.folder.read(e.name) for e in run.folder.list(under)}
    run.folder.delete_tree(under)
    for task in perform.begin(run, phase):
        perform.work(run, phase, task)
    assert {e.name: run.folder.read(e.name) for e in run.folder.list(under)} == before


def test_a_task_called_like_the_file_of_covers_is_not_taken_for_it(run: Run) -> None:
    records.cover(run, Total())
    assert records.done_tasks(run, Total()) == set()
