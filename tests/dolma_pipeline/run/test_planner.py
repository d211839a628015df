"""From what is left to phases in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.errors import RunError
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.phase import Phase, Task, Work
from dolma_pipeline.run.planner import plan
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from tests.dolma_pipeline.run.toys import Toy

ANY = Artifact("any", "toy")


@dataclass(frozen=True)
class Doing(Phase):
    label: str = ""
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.label

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(self.after)

    def tasks(self, run: Run) -> Iterator[Task]:
        yield Task("all")

    def work(self, process: Process, task: Task) -> Work:
        return Work()


def reads(label: str, *after: str, wants: tuple[str, ...] = ()) -> Toy:
    return Toy(ANY, label, after=after, wants=wants)


def does(label: str, *after: str) -> Doing:
    return Doing(label=label, after=after)


def shown(phases: list[Phase]) -> list[str]:
    return ["+".join(one.name for one in getattr(phase, "consumers", ())) or phase.name for phase in phases]


def test_consumers_whose_needs_are_met_read_together_and_phases_go_first() -> None:
    steps = [reads("a"), reads("b"), does("c", "b"), reads("d", "c"), does("e"), reads("f", "e")]
    assert shown(plan(steps, ())) == ["e", "a+b+f", "c", "d"]


def test_a_consumer_waits_for_a_column_that_is_not_handed_on() -> None:
    steps = [reads("attributes/x"), reads("y", "attributes/x"), reads("z", "attributes/x", wants=("x",))]
    assert shown(plan(steps, ())) == ["attributes/x+z", "y"]


def test_what_is_made_already_is_not_waited_for() -> None:
    assert shown(plan([reads("a", "old"), does("b", "a", "old")], {"old"})) == ["a", "b"]


def test_of_two_steps_of_one_name_the_first_counts() -> None:
    first, second = reads("a"), Toy(ANY, "a", reads=False)
    (phase,) = plan([first, second], ())
    assert getattr(phase, "consumers", ()) == (first,)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([reads("a", "b", "c")], r"^a needs b, c, which nothing in this run makes\.$"),
        ([does("a", "b"), does("b", "a")], r"^a needs b, which nothing in this run makes\.$"),
        ([reads("a"), does("z", "a", "y")], r"^z needs y, which nothing"),
    ],
)
def test_what_nothing_makes(steps: list[Doing | Toy], words: str) -> None:
    with pytest.raises(RunError, match=words):
        plan(steps, ())


@given(st.data(), st.integers(0, 12))
def test_every_step_comes_once_and_behind_what_it_needs(data: st.DataObject, count: int) -> None:
    steps: list[Doing | Toy] = []
    for i in range(count):
        after = data.draw(st.lists(st.sampled_from([one.name for one in steps]), unique=True)) if steps else []
        steps.append(data.draw(st.sampled_from([reads, does]))(f"s{i}", *after))
    shuffled = data.draw(st.permutations(steps))
    there: set[str] = set()
    for phase in plan(shuffled, ()):
        assert phase.needs <= there
        there |= phase.makes
    assert {name for name in there if name.startswith("s")} == {step.name for step in steps}
    found = [name for one in shown(plan(shuffled, ())) for name in one.split("+")]
    assert sorted(found) == sorted(step.name for step in steps)
