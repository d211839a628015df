"""One reading for all who want the text: columns handed on, nothing read for nobody, all files or none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from dolma_pipeline.engines import Here
from dolma_pipeline.errors import DataError
from dolma_pipeline.io import jsonl
from dolma_pipeline.run import columns as columns_module
from dolma_pipeline.run import layout, perform
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.consumer import Consumer
from dolma_pipeline.run.manifests import read_lines
from dolma_pipeline.run.planner import plan
from dolma_pipeline.run.reading import Reading
from dolma_pipeline.run.records import done_tasks, gathered
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import indexed, listed
from dolma_pipeline.runner.decide import decide
from dolma_pipeline.runner.ready import make_ready
from tests.dolma_pipeline.run.toys import LENGTHS, Lengths, Toy
from tests.dolma_pipeline.stages.small import artifacts_of, make, run_of, small_run, write_shards

SHARDS = {"web/a": ["one", "two two", ""], "web/b": ["three"], "code/c": []}
INDEX = Artifact("index", "index", growing=True, sources=("web", "code"))
FIRST, SECOND = (Artifact(name, "toy", needs=(INDEX,), growing=True) for name in ("first", "second"))
MADE = Artifact("attributes/lengths", "tag", needs=(INDEX,), growing=True)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose index is made, and which knows the toy's column."""
    run = small_run(tmp_path, SHARDS, tag={"taggers": ["length_v1"]})
    make(run)
    monkeypatch.setattr(columns_module, "made_columns", lambda process: {"lengths": LENGTHS})
    return run


def read(run: Run, *consumers: Consumer) -> None:
    Here().run(run, [Reading.of(consumers)])


def written(run: Run, artifact: Artifact, shard: str) -> Any:
    return orjson.loads(run.folder.read(f"{artifact.name}/{shard}.json"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Shards whose text was read."""
    found: list[str] = []
    original = columns_module.open_shard

    def note(run: Run, shard: Any, report: Any) -> Any:
        found.append(shard.name)
        return original(run, shard, report)

    monkeypatch.setattr(columns_module, "open_shard", note)
    return found


def test_all_consumers_of_a_shard_read_it_once(run: Run, opened: list[str]) -> None:
    read(run, Toy(FIRST, "first"), Toy(SECOND, "second"))
    assert opened == ["code/c", "web/a", "web/b"]
    for artifact in (FIRST, SECOND):
        assert written(run, artifact, "web/a")["found"] == [[0, "ONE", {}], [1, "TWO TWO", {}], [2, "", {}]]
        lines = list(read_lines(run.folder, artifact.name))
        assert [(line["shard"], line["counts"]["in"]) for line in lines] == [("code/c", 0), ("web/a", 3), ("web/b", 1)]
        index = {line["shard"]: line["inputs"] for line in read_lines(run.folder, "index")}
        assert {line["shard"]: line["inputs"] for line in lines} == index


def test_columns_are_handed_on_in_a_reading(run: Run) -> None:
    read(run, Lengths(MADE), Toy(FIRST, "first", wants=("lengths",)))
    assert written(run, FIRST, "web/a")["found"][1] == [1, "TWO TWO", {"lengths": {"chars": 7, "first": "t"}}]


def test_columns_of_an_earlier_reading_come_from_their_files(run: Run) -> None:
    read(run, Lengths(MADE))
    read(run, Toy(FIRST, "first", wants=("lengths",)))
    assert [row[2]["lengths"]["chars"] for row in written(run, FIRST, "web/a")["found"]] == [3, 7, 0]


def test_where_a_column_is_there_for_some_shards_only_all_get_the_same(run: Run, opened: list[str]) -> None:
    """A run was killed in between: the maker has done one shard, the taker none."""
    phase = Reading.of([Lengths(MADE)])
    tasks = {task.key: task for task in perform.begin(run, phase)}
    perform.work(run, phase, tasks["web/a"])
    del opened[:]
    read(run, Lengths(MADE), Toy(FIRST, "first", wants=("lengths",)))
    assert opened == ["code/c", "web/a", "web/b"]
    assert [row[2]["lengths"]["chars"] for row in written(run, FIRST, "web/a")["found"]] == [3, 7, 0]
    assert [line["shard"] for line in read_lines(run.folder, MADE.name)] == ["code/c", "web/a", "web/b"]


def test_nothing_is_read_where_nobody_wants_text(run: Run, opened: list[str]) -> None:
    before = list(read_lines(run.folder, "index"))
    read(run, Toy(FIRST, "first", reads=False))
    assert opened == []
    assert written(run, FIRST, "web/a") == {"found": [], "read": 3, "rows": 3}
    assert [line["inputs"] for line in read_lines(run.folder, FIRST.name)] == [line["inputs"] for line in before]


def test_one_who_wants_it_is_enough(run: Run, opened: list[str]) -> None:
    read(run, Toy(FIRST, "first", reads=False), Toy(SECOND, "second"))
    assert len(opened) == 3
    assert written(run, FIRST, "web/a")["found"] == []
    assert len(written(run, SECOND, "web/a")["found"]) == 3


def test_a_consumer_that_fails_commits_nothing_of_anyone(run: Run) -> None:
    phase = Reading.of([Toy(FIRST, "first"), Toy(SECOND, "second", fails="two two")])
    with pytest.raises(DataError, match="cannot take 'two two'"):
        Here().run(run, [phase])
    names = [entry.name for entry in run.folder.list()]
    assert not [name for name in names if name.startswith(("first/web/a", "second/web/a", "first/m", "second/m"))]
    assert done_tasks(run, phase) == {"code/c"}


def test_what_is_done_is_not_read_again(run: Run, opened: list[str]) -> None:
    with pytest.raises(DataError):
        read(run, Toy(FIRST, "first"), Toy(SECOND, "second", fails="three"))
    del opened[:]
    read(run, Toy(FIRST, "first"), Toy(SECOND, "second"))
    assert opened == ["web/b"]
    read(run, Toy(FIRST, "first"), Toy(SECOND, "second"))
    assert opened == ["web/b"]


def test_another_set_of_consumers_goes_on_for_what_is_missing(run: Run) -> None:
    """The records of a reading that was killed name what they are of; a consumer that is added later reads alone."""
    with pytest.raises(DataError):
        read(run, Toy(FIRST, "first", fails="three"))
    phase = Reading.of([Toy(FIRST, "first"), Toy(SECOND, "second")])
    assert {task.key: task.payload[1] for task in phase.tasks(run)} == {
        "code/c": (1,), "web/a": (1,), "web/b": (0, 1)
    }  # fmt: skip
    assert sorted(gathered(run, FIRST)) == ["code/c", "web/a"]


def test_plans_do_not_depend_on_how_far_the_work_is(run: Run) -> None:
    phase = Reading.of([Toy(FIRST, "first"), Toy(SECOND, "second")])
    before = [task.key for task in phase.tasks(run)]
    perform.work(run, phase, next(perform.begin(run, phase)))
    assert [task.key for task in phase.tasks(run)] == before
    assert [task.key for task in perform.begin(run, phase)] == before[1:]


def test_a_consumer_without_records_is_done_anew_and_its_findings_stand_apart(run: Run) -> None:
    phase = Reading.of([Toy(FIRST, "first", records_it=False)])
    Here().run(run, [phase])
    assert len(done_tasks(run, phase)) == 3
    assert gathered(run, FIRST) == {}
    assert [one.name for one in run.folder.list("first") if "manifest" in one.name] == []


def test_work_with_other_settings_or_for_other_shards_is_not_taken(run: Run) -> None:
    with pytest.raises(DataError):
        read(run, Toy(FIRST, "first", fails="three"))
    assert gathered(run, replace(FIRST, reads={"n": 2})) == {}
    other = replace(run, shards_digest="sha256:other")
    assert sorted(gathered(other, FIRST)) == ["code/c", "web/a"]
    with pytest.raises(DataError):
        read(run, Toy(replace(SECOND, growing=False), "second", fails="three"))
    assert sorted(gathered(run, replace(SECOND, growing=False))) == ["code/c", "web/a"]
    assert gathered(other, replace(SECOND, growing=False)) == {}


def test_two_contents_of_one_shard_are_told(run: Run) -> None:
    with pytest.raises(DataError):
        read(run, Toy(FIRST, "first", fails="three"))
    phase = Reading.of([Toy(FIRST, "first"), Toy(SECOND, "second")])
    perform.begin(run, phase)
    (name,) = [e.name for e in run.folder.list(layout.DONE) if e.name.endswith("web/a.json") and "toys" in e.name]
    record = orjson.loads(run.folder.read(name))
    record["records"]["first"][0]["counts"] = {"in": 99}
    under = name.rpartition("/web/a.json")[0]
    for entry in list(run.folder.list(under)):
        run.folder.write(entry.name.replace(under, f"{under}0"), run.folder.read(entry.name))
    run.folder.write(name.replace(under, f"{under}0"), orjson.dumps(record))
    with pytest.raises(DataError, match=r"first: two records of web/a differ: it was made from two contents"):
        gathered(run, FIRST)


def test_a_file_that_changed_since_the_index_is_told(run: Run, tmp_path: Path) -> None:
    write_shards(tmp_path, {"web/b": ["four"]})
    with pytest.raises(DataError, match=r"in/web/b\.jsonl: the file was changed .* since this run indexed it"):
        read(run, Toy(FIRST, "first"))


@pytest.fixture
def long_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run over a shard of four batches."""
    monkeypatch.setattr(jsonl, "MAX_BATCH_ROWS", 10)
    run = small_run(tmp_path, {"web/a": [f"text {n}" for n in range(40)]}, tag={"taggers": ["length_v1"]})
    make(run)
    return run


@pytest.mark.parametrize(
    ("until", "read_rows"), [((12,), 20), ((10,), 10), ((12, 30), 30), ((12, 31), 40), ((12, None), 40), ((0,), 10)]
)
def test_what_nobody_wants_is_not_read(long_run: Run, until: tuple[int | None, ...], read_rows: int) -> None:
    """At the end of a batch, where at least a quarter is left."""
    read(long_run, *(Toy(replace(FIRST, name=f"t{i}"), f"t{i}", until=row) for i, row in enumerate(until)))
    for i in range(len(until)):
        found = written(long_run, replace(FIRST, name=f"t{i}"), "web/a")
        assert [row for row, _, _ in found["found"]] == list(range(read_rows))
        (record,) = read_lines(long_run.folder, f"t{i}")
        (shard,) = indexed(long_run)
        assert record["inputs"] == [shard.input()]


@pytest.mark.parametrize("row", [5, 12])
@pytest.mark.parametrize("change", [{"id": "another"}, {"text": "quite another"}])
def test_of_a_file_that_is_not_read_to_its_end_what_was_read_is_held_against_the_index(
    long_run: Run, tmp_path: Path, row: int, change: dict[str, str]
) -> None:
    path = tmp_path / "in/web/a.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[row] |= change
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(
        DataError, match=r"web/a\.jsonl: the file was changed \(its documents are others\) since this run"
    ):
        read(long_run, Toy(FIRST, "first", until=12))


def test_new_shards_are_read_alone(run: Run, tmp_path: Path, opened: list[str]) -> None:
    read(run, Toy(FIRST, "first"))
    write_shards(tmp_path, {"web/aa": ["new"]})
    grown = run_of(run.recipe, run.folder)
    artifacts = [*artifacts_of(grown).values(), FIRST]
    make_ready(
        grown, [decide(grown, one) for one in artifacts], artifacts, {one.name: one.shard for one in listed(grown)}
    )
    make(grown)
    del opened[:]
    read(grown, Toy(FIRST, "first"))
    assert opened == ["web/aa"]
    assert [line["shard"] for line in read_lines(run.folder, "first")] == ["code/c", "web/a", "web/aa", "web/b"]
    assert [one.name for one in listed(grown)] == ["code/c", "web/a", "web/aa", "web/b"]


def test_consumers_are_fused_by_the_planner(run: Run) -> None:
    (phase,) = plan([Toy(FIRST, "first", wants=("lengths",), after=(MADE.name,)), Lengths(MADE)], {"index"})
    assert isinstance(phase, Reading)
    assert [one.name for one in phase.consumers] == [MADE.name, "first"]
    Here().run(run, [phase])
    assert written(run, FIRST, "web/b")["found"] == [[0, "THREE", {"lengths": {"chars": 5, "first": "t"}}]]
