"""Shard level: a step is `plan | GroupByKey | work`, then one element that closes it. Only names cross a shuffle.

A barrier between steps is a side input: what a step plans depends on the files that the step before it left.
So a whole run is one pipeline, and its workers load their models once.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam

from dolma_pipeline.stages.step import Step, Task, append_line, heaviest_first, log_event, pack
from dolma_pipeline.stages.step import take_turns as turns_of


class Done(NamedTuple):
    """A finished task: its step, its key, the CPU seconds that it took."""

    step: str
    key: str
    cpu_seconds: float


class RunSteps(beam.PTransform):
    """Steps one after the other; each begins when all tasks of the one before it are done.

    Takes any collection (its elements are waited for, not used), gives the `Done`s of the last step with tasks.

    Args:
        steps: what to do.
        num_bins: into how many bins of equal weight a step's tasks are packed; or how many workers take turns.
        take_turns: workers of one machine take tasks one by one, which evens out what no weight tells. Only for a
            runner that never does a bin again: the local one, where a worker that dies ends the run.
    """

    def __init__(self, steps: Sequence[Step], *, num_bins: int, take_turns: bool = False) -> None:
        super().__init__()
        self.steps, self.num_bins, self.take_turns = list(steps), num_bins, take_turns

    def expand(self, before: Any) -> Any:
        """Chain the steps: between two spread ones, a single element closes the first and plans the second."""
        to_close: list[Step] = []
        for i, step in enumerate(self.steps):
            if not step.spread:
                to_close.append(step)
                continue
            label = f"{i:02d} {step.name}"
            turn = beam.FlatMap(
                plan,
                beam.pvalue.AsList(before),
                closing=to_close,
                step=step,
                num_bins=self.num_bins,
                take_turns=self.take_turns,
            )
            tasks = before.pipeline | f"{label}: begin" >> beam.Impulse() | f"{label}: plan" >> turn
            spread = tasks | f"{label}: spread" >> beam.GroupByKey()
            before = spread | f"{label}: work" >> beam.FlatMap(work, step=step, take_turns=self.take_turns)
            to_close = [step]
        last = beam.FlatMap(close, beam.pvalue.AsList(before), closing=to_close)
        return before.pipeline | "end" >> beam.Impulse() | "close" >> last


Bin = tuple[int, list[Task]]
"""Tasks for one worker, and their number: a key of its own, so that grouping spreads the bins and costs nothing."""


def plan(
    _: bytes, before: Iterable[Any], *, closing: Sequence[Step], step: Step, num_bins: int, take_turns: bool
) -> list[Bin]:
    """Close the steps before, then say what is left of this one, in bins; `before` is only waited for."""
    close(_, before, closing=closing)
    with reporting(step, "plan"):
        step.context.prepare()
        tasks = step.tasks()
        log_event(step.context, step.name, "begin", tasks=len(tasks))
        if not take_turns:
            return list(enumerate(pack(tasks, num_bins)))
        turns = _turns(step)
        turns.parent.mkdir(parents=True, exist_ok=True)
        turns.write_bytes(b"")
        return [(i, heaviest_first(tasks)) for i in range(min(num_bins, len(tasks)))]


def _turns(step: Step) -> Path:
    return step.context.path / "log" / "turns" / step.name.replace("/", "-")


def close(_: bytes, before: Iterable[Any], *, closing: Sequence[Step]) -> list[Any]:
    """Finish a spread step whose tasks are done, and do whole those that are not spread. A runner may repeat this."""
    done = sorted(one for one in before if isinstance(one, Done))
    for step in closing:
        with reporting(step, "finish"):
            step.context.prepare()
            if step.spread:
                seconds = sum(one.cpu_seconds for one in done if one.step == step.name)
                step.finish()
            else:
                log_event(step.context, step.name, "begin", tasks=1)
                begin = time.process_time()
                step.run_here()
                seconds = time.process_time() - begin
            log_event(step.context, step.name, "end", cpu_seconds=round(seconds, 3))
    return done


def work(found: tuple[int, Iterable[Sequence[Task]]], *, step: Step, take_turns: bool) -> Iterator[Done]:
    """Do a bin of tasks, or those of it that fall to this worker."""
    with reporting(step, "prepare"):
        step.context.prepare()
    listed = [task for tasks in found[1] for task in tasks]
    tasks = turns_of(listed, _turns(step)) if take_turns else iter(listed)
    while True:
        with reporting(step, "prepare"):
            task = next(tasks, None)
        if task is None:
            return
        begin = time.process_time()
        with reporting(step, task.key):
            step.work(task)
        seconds = time.process_time() - begin
        log_event(step.context, step.name, "task", key=task.key, cpu_seconds=round(seconds, 3))
        yield Done(step.name, task.key, seconds)


class reporting:
    """Leaves what a stage raised in `log/raised.jsonl` at once: the runner tells the launcher only at the end."""

    def __init__(self, step: Step, task: str) -> None:
        self.path, self.step, self.task = Path(step.context.folder) / "log" / "raised.jsonl", step.name, task

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is not None and isinstance(error, Exception):
            row: dict[str, object] = {
                "step": self.step,
                "task": self.task,
                "error": type(error).__name__,
                "message": str(error),
                "traceback": "".join(traceback.format_exception(error)),
            }
            append_line(self.path, row)


def _shards(name: str, doc: str) -> type[RunSteps]:
    return type(name, (RunSteps,), {"__doc__": doc})


TagShards = _shards("TagShards", "Tag every shard. See `stages.tag`.")
DedupeShards = _shards("DedupeShards", "Mark duplicates among all shards. See `stages.dedupe` and `stages.elect`.")
MixShards = _shards("MixShards", "Filter, edit and sample every shard. See `stages.mix`.")
TokenizeShards = _shards("TokenizeShards", "Write token shards. See `stages.tokenize`.")
