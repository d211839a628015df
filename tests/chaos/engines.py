"""Engines that do all that an engine may do: twice at once, again, late, and with workers that are killed."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from tests.chaos.phases import Phase
from tests.chaos.workers import AFTER, Failed, Order, Worker

Commits = dict[str, dict[str, int]]
"""Phase -> task (`finish`: its end) -> commits, as an undisturbed run makes them."""


class Stopped(Exception):
    """The run breaks here, as one of its workers was killed."""


class Chaos(ABC):
    """What the engines share: workers, chance from a seed, and notes of what was done to each phase.

    pool: workers that have done nothing yet, `num_workers` of them. thorough: do it at more points.
    """

    def __init__(self, pool: list[Worker], *, seed: int, commits: Commits, thorough: bool = False) -> None:
        self.pool, self.commits, self.thorough = pool, commits, thorough
        self.chance = random.Random(seed)
        self.notes: list[tuple[str, ...]] = []

    @property
    @abstractmethod
    def num_workers(self) -> int:
        """Workers that it needs."""

    @abstractmethod
    def __call__(self, phases: Sequence[Phase]) -> None:
        """Carry out a run, or what is left of it."""

    def note(self, phase: Phase, *what: object) -> None:
        """Write down what was done to a phase."""
        self.notes.append((phase.name, *map(str, what)))

    def point(self, phase: Phase, task: str) -> int | None:
        """One of the commits of a task, by chance; None if it has none."""
        num = self.commits[phase.name][task]
        return self.chance.randint(1, num) if num else None

    def dismiss(self) -> None:
        """End the workers that are left."""
        for worker in self.pool:
            worker.dismiss()


class Undisturbed(Chaos):
    """Everything once, in order; counts the commits."""

    num_workers = 1

    def __call__(self, phases: Sequence[Phase]) -> None:
        worker = self.pool[0]
        for phase in phases:
            counts: dict[str, int] = {}
            for task in worker.do(Order(phase, "tasks")):
                worker.do(Order(phase, "work", task))
                counts[task] = worker.commits
            worker.do(Order(phase, "finish"))
            self.commits[phase.name] = counts | {"finish": worker.commits}


class Twice(Chaos):
    """Each task and each finish twice at once, each finish once more, and at the end all plans again.

    One copy stops before a commit; the other does all of it, or begins to commit; then both go on.
    """

    num_workers = 2

    def __call__(self, phases: Sequence[Phase]) -> None:
        for phase in phases:
            for task in self.pool[0].do(Order(phase, "tasks")):
                self._twice(phase, "work", task)
            self._twice(phase, "finish", "finish")
            self.pool[self.chance.randrange(2)].do(Order(phase, "finish"))
            for worker in self.pool[:2]:
                assert worker.do(Order(phase, "tasks")) == [], phase.name
        for phase in phases:
            for worker in self.pool[:2]:
                assert worker.do(Order(phase, "tasks")) == [], phase.name
                worker.do(Order(phase, "finish"))
            self.note(phase, "planned again")

    def _twice(self, phase: Phase, verb: Any, task: str) -> None:
        one, other = self.chance.sample(self.pool[:2], 2)
        point = self.point(phase, task)
        one.begin(Order(phase, verb, task, stop=point or 0))
        one.paused()
        side_by_side = self.chance.random() < 0.3
        first = min(point or 0, 1)  # what the one has done, the other need not do: its commits may be fewer
        other.begin(Order(phase, verb, task, stop=first if side_by_side else None))
        if side_by_side:
            other.paused()
            one.go()
            other.go()
            one.end()
            other.end()
        else:
            other.end()
            one.go()
            one.end()
        self.note(phase, verb, "twice", task, point)


class Forgetful(Chaos):
    """The run breaks in some phases, whose tasks are done; before the same command is given again, somebody removes the
    cache. thorough: in each phase."""

    def __init__(self, pool: list[Worker], *, seed: int, commits: Commits, thorough: bool = False) -> None:
        super().__init__(pool, seed=seed, commits=commits, thorough=thorough)
        self.left = set(commits if thorough else self.chance.sample([*commits], 3))

    @property
    def num_workers(self) -> int:
        return 1 + len(self.left)

    def __call__(self, phases: Sequence[Phase]) -> None:
        worker = self.pool.pop()  # another process each time: nothing that one keeps outlives its run
        for phase in phases:
            for task in worker.do(Order(phase, "tasks")):
                worker.do(Order(phase, "work", task))
            if phase.name in self.left:
                self.left.remove(phase.name)
                self.note(phase, "forgot")
                worker.dismiss()
                raise Stopped(f"{phase.name}: the cache is removed")
            worker.do(Order(phase, "finish"))
        self.pool.append(worker)


class Abandoned(Chaos):
    """A run of another recipe is broken off at its last phase, with a worker left in each of its phases; they go on
    when the new run has made the folder ready for itself."""

    @property
    def num_workers(self) -> int:
        return 2 + len(self.commits)

    def __init__(self, pool: list[Worker], *, seed: int, commits: Commits, thorough: bool = False) -> None:
        super().__init__(pool, seed=seed, commits=commits, thorough=thorough)
        self.zombies: list[tuple[Phase, Worker]] = []

    def __call__(self, phases: Sequence[Phase]) -> None:
        if self.zombies:
            self._again(phases)
            return
        for phase in phases:
            tasks, straggler = self.pool[0].do(Order(phase, "tasks")), self.pool.pop()
            straggler.begin(Order(phase, "work", self.chance.choice(tasks), stop=self.chance.choice([0, 0, 1])))
            straggler.paused()
            self.zombies.append((phase, straggler))
            for task in tasks:
                self.pool[0].do(Order(phase, "work", task))
            if phase is phases[-1]:
                raise Stopped(f"{phase.name}: this run is given up")
            self.pool[0].do(Order(phase, "finish"))

    def _again(self, phases: Sequence[Phase]) -> None:
        for phase, straggler in self.zombies:
            straggler.go()
            try:
                straggler.end()
            except Failed as error:
                self.note(phase, "zombie", error.kind, error.message)
            else:
                self.note(phase, "zombie", "done")
            self.pool.append(straggler)
        for phase in phases:
            for task in self.pool[1].do(Order(phase, "tasks")):
                self.pool[1].do(Order(phase, "work", task))
            self.pool[1].do(Order(phase, "finish"))
            self.note(phase, "made anew")


class Killed(Chaos):
    """In each phase a worker is killed: before, in the middle of, or after a task, or of the finish.

    thorough: at each commit of each task. After most of the kills another worker does the task, after the others the
    run breaks, and the same command is given again.
    """

    def __init__(self, pool: list[Worker], *, seed: int, commits: Commits, thorough: bool = False) -> None:
        super().__init__(pool, seed=seed, commits=commits, thorough=thorough)
        self.left = {name: self._every(name) if thorough else self._some(i, name) for i, name in enumerate(commits)}

    @property
    def num_workers(self) -> int:
        return 1 + sum(map(len, self.left.values()))

    def _every(self, phase: str) -> list[tuple[str, int]]:
        """(task, point) of the kills in a phase, in the order in which they come."""
        return [(task, at) for task, num in self.commits[phase].items() for at in (0, *range(1, num + 1), AFTER)]

    def _some(self, number: int, phase: str) -> list[tuple[str, int]]:
        """One of a task, by turns before, in the middle and after; and one of the finish, if it writes."""
        *tasks, finish = self.commits[phase]
        found = []
        if tasks:
            task = self.chance.choice(tasks)
            num = self.commits[phase][task]
            found.append((task, (0, self.chance.randint(1, num), AFTER)[number % 3]))
        if num := self.commits[phase][finish]:
            found.append((finish, self.chance.choice([*range(1, num + 1), AFTER])))
        return found

    def __call__(self, phases: Sequence[Phase]) -> None:
        for phase in phases:
            for task in self.pool[0].do(Order(phase, "tasks")):
                self._kill(phase, "work", task)
                self.pool[0].do(Order(phase, "work", task))
            self._kill(phase, "finish", "finish")
            self.pool[0].do(Order(phase, "finish"))

    def _kill(self, phase: Phase, verb: Any, task: str) -> None:
        left = self.left[phase.name]
        for key, point in [one for one in left if one[0] == task]:
            left.remove((key, point))
            worker = self.pool.pop(0)
            worker.begin(Order(phase, verb, task, stop=point, how="die"))
            killed = worker.died()
            self.note(phase, "killed" if killed else "outlived", task, point)
            if not killed:  # those before it had done so much that its commits were fewer
                self.pool.append(worker)
                continue
            if len(self.notes) % 5 == 2:
                raise Stopped(f"{phase.name}: a worker was killed")


class Stragglers(Chaos):
    """In each phase a copy of a task begins before its end and ends after it, or after the end of all, or after the
    launcher has cleared up; another begins after the phase's end, and one more after the end of all."""

    def __init__(self, pool: list[Worker], *, seed: int, commits: Commits, thorough: bool = False) -> None:
        super().__init__(pool, seed=seed, commits=commits, thorough=thorough)
        self.zombies: list[tuple[Phase, Worker]] = []
        self.phases: Sequence[Phase] = ()

    @property
    def num_workers(self) -> int:
        return 1 + len(self.commits)

    def __call__(self, phases: Sequence[Phase]) -> None:
        self.phases = phases
        late: list[tuple[Phase, Worker]] = []
        for phase in phases:
            tasks = self.pool[0].do(Order(phase, "tasks"))
            task, straggler = self.chance.choice(tasks), self.pool.pop()
            for one in tasks:  # in order: a phase that is not spread may count on it
                if one == task:
                    straggler.begin(Order(phase, "work", task, stop=self.point(phase, task) or 0))
                    straggler.paused()
                self.pool[0].do(Order(phase, "work", one))
            self.pool[0].do(Order(phase, "finish"))
            until = self.chance.choice(["phase", "phase", "all", "cleared"])
            self.note(phase, "straggles until the end of", until)
            if until == "phase":
                straggler.go()
                straggler.end()
                self.pool.append(straggler)
            else:
                (late if until == "all" else self.zombies).append((phase, straggler))
            self.pool[0].do(Order(phase, "work", self.chance.choice(tasks)))
        for _, straggler in late:
            straggler.go()
            straggler.end()
            self.pool.append(straggler)
        for phase in phases:
            for task in self._some(phase):
                self.pool[0].do(Order(phase, "work", task))
            self.note(phase, "worked again after all")

    def after_the_end(self) -> None:
        """When the launcher has cleared up: what still works, and begins to, raises or gives the same bytes."""
        for phase, straggler in self.zombies:
            straggler.go()
            self._ends(phase, straggler)
            self.pool.append(straggler)
        for phase in self.phases:
            assert self.pool[0].do(Order(phase, "tasks")) == [], phase.name
            self.pool[0].do(Order(phase, "finish"))
            for task in self._some(phase):
                self.pool[0].begin(Order(phase, "work", task))
                self._ends(phase, self.pool[0])

    def _some(self, phase: Phase) -> list[str]:
        """Tasks of a phase: all, or one by chance."""
        *tasks, _ = self.commits[phase.name]
        return tasks if self.thorough else [self.chance.choice(tasks)]

    def _ends(self, phase: Phase, worker: Worker) -> None:
        try:
            worker.end()
        except Failed as error:
            self.note(phase, "zombie", error.kind, error.message)
        else:
            self.note(phase, "zombie", "done")
