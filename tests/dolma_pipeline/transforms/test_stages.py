"""Steps on Beam: their order, that each task is done once, and what is left when one of them raises."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.step import Step, Task, append_line
from dolma_pipeline.transforms.stages import close, plan, reporting, work

from dolma_pipeline.config import Recipe
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.io.manifest import Records
from dolma_pipeline.transforms import DedupeShards, Done, MixShards, RunSteps, TagShards, TokenizeShards


@dataclass(frozen=True)
class Note(Step):
    """Writes down what is asked of it. keys: its tasks; a task is done when its file is there."""

    label: str = ""
    keys: tuple[str, ...] = ()
    bad: str = ""
    is_spread: bool = True

    @property
    def name(self) -> str:
        return self.label

    @property
    def spread(self) -> bool:
        return self.is_spread

    def note(self, what: str) -> None:
        append_line(self.context.path / "notes.jsonl", {"step": self.label, "what": what})

    @property
    def records(self) -> Records:
        return Records(self.context.path / self.label)

    def all_tasks(self) -> list[Task]:
        self.note("tasks")
        return [Task(key, weight=len(key)) for key in self.keys]

    def leaves(self, task: Task) -> list[tuple[Records, str]]:
        return [(self.records, task.key)]

    def work(self, task: Task) -> None:
        self.note(task.key)
        if task.key == self.bad:
            raise DataError(f"{task.key} is bad")
        self.records.write(task.key, {})

    def close(self) -> None:
        self.note("finish")

    def expected(self) -> list[str]:
        """What is asked of it in all: it looks at its tasks to plan them, and to compare them with what was done."""
        return ["tasks", *self.keys, "tasks", "finish"]


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    recipe: Recipe = recipe_from_text("output: run\nsources: {web: {documents: x}}\ntag: {taggers: [length_v1]}\n")
    return RunContext(recipe, str(tmp_path))


def run(*steps: Step, num_bins: int = 2) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    done = pipeline | beam.Create([None]) | RunSteps(steps, num_bins=num_bins)
    done | "keep" >> beam.Map(keep, path=str(steps[0].context.path / "done.jsonl"))
    pipeline.run().wait_until_finish()


def keep(done: Done, path: str) -> None:
    append_line(Path(path), {"step": done.step, "key": done.key, "seconds": done.cpu_seconds})


def lines(context: RunContext, file: str) -> list[dict[str, Any]]:
    path = context.path / file
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def notes(context: RunContext) -> list[tuple[str, str]]:
    return [(row["step"], row["what"]) for row in lines(context, "notes.jsonl")]


def recipe_keys(num: int) -> tuple[str, ...]:
    return tuple(f"{'x' * (i % 3)}{i}" for i in range(num))


@pytest.mark.parametrize("num_bins", [1, 3, 50])
def test_steps_follow_each_other_and_every_task_is_done_once(context: RunContext, num_bins: int) -> None:
    steps = [
        Note(context, "one", recipe_keys(7)),
        Note(context, "two", recipe_keys(4)),
        Note(context, "three", recipe_keys(1)),
    ]
    run(*steps, num_bins=num_bins)
    found = notes(context)
    assert Counter(found) == Counter((step.label, what) for step in steps for what in step.expected())
    order = [step for step, _ in found]
    assert order == sorted(order, key=["one", "two", "three"].index)
    for step in steps:
        mine = [what for label, what in found if label == step.label]
        assert (mine[0], mine[-1]) == ("tasks", "finish")
    assert [(row["step"], row["key"]) for row in lines(context, "done.jsonl")] == [("three", "0")]
    assert lines(context, "done.jsonl")[0]["seconds"] >= 0
    assert not (context.path / "log" / "raised.jsonl").exists()


def test_a_step_that_is_not_spread_is_done_between_its_neighbours(context: RunContext) -> None:
    steps = [
        Note(context, "small", ("a",), is_spread=False),
        Note(context, "wide", recipe_keys(5)),
        Note(context, "cut", ("all",), is_spread=False),
        Note(context, "more", ("a", "b"), is_spread=False),
        Note(context, "last", recipe_keys(3)),
        Note(context, "end", ("all",), is_spread=False),
    ]
    run(*steps)
    order = [step for step, _ in notes(context)]
    assert order == sorted(order, key=[step.label for step in steps].index)
    assert Counter(notes(context)) == Counter((s.label, what) for s in steps for what in s.expected())
    assert {row["step"] for row in lines(context, "done.jsonl")} == {"last"}


def test_what_is_done_is_not_done_again_but_every_step_is_finished(context: RunContext) -> None:
    steps = [Note(context, "one", recipe_keys(3)), Note(context, "two", recipe_keys(2))]
    run(*steps)
    (context.path / "notes.jsonl").unlink()
    steps[1].records.forget("0")
    run(*steps)
    assert [(step, what) for step, what in notes(context) if what != "tasks"] == [
        ("one", "finish"),
        ("two", "0"),
        ("two", "finish"),
    ]


def test_events_say_when_each_step_began_and_ended(context: RunContext) -> None:
    run(Note(context, "one", ("a", "b")), Note(context, "two", ("c",), is_spread=False))
    events = [(row["step"], row["event"]) for row in lines(context, "log/events.jsonl")]
    assert events == [
        ("one", "begin"),
        ("one", "task"),
        ("one", "task"),
        ("one", "end"),
        ("two", "begin"),
        ("two", "end"),
    ]
    assert lines(context, "log/events.jsonl")[0]["tasks"] == 2
    assert all(row["cpu_seconds"] >= 0 for row in lines(context, "log/events.jsonl") if row["event"] != "begin")


def test_what_a_task_raises_is_written_down_at_once_and_nothing_after_it_runs(context: RunContext) -> None:
    steps = [Note(context, "one", ("a", "b"), bad="b"), Note(context, "two", ("c",))]
    with pytest.raises(Exception, match="b is bad"):
        run(*steps, num_bins=1)
    (row, *more) = lines(context, "log/raised.jsonl")
    assert {key: row[key] for key in ("step", "task", "error", "message")} == {
        "step": "one",
        "task": "b",
        "error": "DataError",
        "message": "b is bad",
    }
    assert 'raise DataError(f"{task.key} is bad")' in row["traceback"]
    assert all(other["task"] == "b" for other in more)  # Beam may try again
    assert {step for step, _ in notes(context)} == {"one"}
    assert ("one", "finish") not in notes(context)
    assert steps[0].records.has("a")


def test_what_is_raised_while_planning_or_finishing_names_that(context: RunContext) -> None:
    class NoPlan(Note):
        def all_tasks(self) -> list[Task]:
            raise ValueError("no list of shards")

    class NoEnd(Note):
        def close(self) -> None:
            raise OSError(28, "no space")

    with pytest.raises(ValueError, match="no list of shards"):
        plan(b"", [], closing=[], step=NoPlan(context, "one"), num_bins=1, take_turns=False)
    with pytest.raises(OSError, match="no space"):
        close(b"", [], closing=[NoEnd(context, "one")])
    found = [(row["task"], row["error"]) for row in lines(context, "log/raised.jsonl")]
    assert found == [("plan", "ValueError"), ("finish", "OSError")]


def test_an_interrupt_is_no_failure_of_the_stage(context: RunContext) -> None:
    with pytest.raises(KeyboardInterrupt), reporting(Note(context, "one"), "a"):
        raise KeyboardInterrupt
    assert lines(context, "log/raised.jsonl") == []


def test_the_parts_without_beam(context: RunContext) -> None:
    step = Note(context, "one", ("aaaa", "b", "cc", "d"))
    bins = plan(b"", [], closing=[], step=step, num_bins=2, take_turns=False)
    assert [(i, [task.key for task in one]) for i, one in bins] == [(0, ["aaaa"]), (1, ["b", "cc", "d"])]
    done = [one for number, tasks in bins for one in work((number, [tasks]), step=step, take_turns=False)]
    assert [(one.step, one.key) for one in done] == [("one", "aaaa"), ("one", "b"), ("one", "cc"), ("one", "d")]
    closed = close(b"", [None, *done[::-1]], closing=[step])
    assert closed == done
    assert plan(b"", [], closing=[], step=step, num_bins=2, take_turns=False) == []
    assert {row["step"] for row in lines(context, "log/events.jsonl")} == {"one"}


def test_workers_take_turns_heaviest_first_and_anew_after_a_stop(context: RunContext) -> None:
    step = Note(context, "one/two", ("aaaa", "b", "cc", "d"))
    for left in ("aaaa", "cc", "b", "d"), ("cc", "b", "d"):  # the second time after a worker died
        bins = plan(b"", [], closing=[], step=step, num_bins=2, take_turns=True)
        assert [(i, tuple(task.key for task in one)) for i, one in bins] == [(0, left), (1, left)]
        first, second = (work((number, [tasks]), step=step, take_turns=True) for number, tasks in bins)
        assert next(first).key == left[0]
    assert next(second).key == "b"
    assert [one.key for one in first] == ["d"]
    assert list(second) == []
    assert close(b"", [], closing=[step]) == []


def test_a_step_of_which_a_task_was_lost_is_not_finished(context: RunContext) -> None:
    step = Note(context, "one", ("a", "b", "c", "d", "e"))
    ((_, tasks),) = plan(b"", [], closing=[], step=step, num_bins=1, take_turns=True)
    next(work((0, [tasks]), step=step, take_turns=True))
    with pytest.raises(RunError, match=r"^one: 4 of its tasks not done: b, c, d\. The same command goes on from there"):
        close(b"", [], closing=[step])
    assert ("one", "finish") not in notes(context)
    assert [row["task"] for row in lines(context, "log/raised.jsonl")] == ["finish"]


def test_a_turn_that_cannot_be_taken_is_told_of_at_once(context: RunContext) -> None:
    step = Note(context, "one", ("a", "b"))
    ((_, tasks),) = plan(b"", [], closing=[], step=step, num_bins=1, take_turns=True)
    (context.path / "log/turns/one").unlink()
    with pytest.raises(FileNotFoundError):
        list(work((0, [tasks]), step=step, take_turns=True))
    assert [(row["task"], row["error"]) for row in lines(context, "log/raised.jsonl")] == [
        ("prepare", "FileNotFoundError")
    ]
    assert notes(context) == [("one", "tasks")]


def test_no_steps_are_nothing_to_do(context: RunContext) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    done = pipeline | beam.Create([None]) | RunSteps([], num_bins=1)
    done | "keep" >> beam.Map(keep, path=str(context.path / "done.jsonl"))
    pipeline.run().wait_until_finish()
    assert os.listdir(context.folder) == []


def test_the_stages_are_such_chains_of_steps() -> None:
    for one in (TagShards, DedupeShards, MixShards, TokenizeShards):
        assert issubclass(one, RunSteps)
        assert one.__doc__
    assert [one.__name__ for one in (TagShards, DedupeShards, MixShards, TokenizeShards)] == [
        "TagShards",
        "DedupeShards",
        "MixShards",
        "TokenizeShards",
    ]


def test_stages_are_chained_by_what_they_give(context: RunContext) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    first = pipeline | beam.Create([None]) | "tag" >> TagShards([Note(context, "tag", recipe_keys(4))], num_bins=4)
    first | "mix" >> MixShards([Note(context, "mix", ("a",))], num_bins=4)
    pipeline.run().wait_until_finish()
    order = [step for step, _ in notes(context)]
    assert order == sorted(order, key=["tag", "mix"].index)
    assert order.count("mix") == len(Note(context, "mix", ("a",)).expected())
