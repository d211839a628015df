"""Runs a recipe again and again in child processes that kill -9 themselves at chosen points, then once to its end.

    killed.py TREE OUTPUT POINTS beam|plain       in the corpus' folder; prints the signal that ended each child

TREE: the recipe as JSON. POINTS: JSON list of [step, n]: die at the n-th rename or removal of a folder after that
step has begun ("" is before the first one). plain: the steps without Beam, four times as fast. Renames and removals are the moments between which files are there or
not, so this is every kind of half-done state. One process imports everything; the children are its forks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from typing import Any

import dolma_pipeline.transforms.stages as beam_stages
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.runner import launcher, run


class Point:
    """Counts the renames and removals since a step began, and dies at the n-th."""

    def __init__(self, step: str, number: int) -> None:
        self.step, self.number, self.current = step, number, ""

    def watch(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            if self.current == self.step:
                self.number -= 1
                if self.number == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **options)

        return watched

    def log(self, log_event: Callable[..., None]) -> Callable[..., None]:
        def logged(context: Any, step: str, event: str, **more: Any) -> None:
            log_event(context, step, event, **more)
            if event == "begin":
                self.current = step

        return logged

    def run_plain(self, context: Any, steps: Any, **options: Any) -> None:
        for step in steps:
            self.current = step.name
            step.run_here()

    def install(self) -> None:
        os.replace = self.watch(os.replace)
        shutil.rmtree = self.watch(shutil.rmtree)
        beam_stages.log_event = self.log(beam_stages.log_event)


def main(tree: str, output: str, points: str, how: str) -> None:
    ends = []
    for step, number in [*json.loads(points), ["", 0]]:
        child = os.fork()
        if child == 0:
            point = Point(step, number)
            point.install()
            if how == "plain":
                launcher.run_on_beam = point.run_plain
            run(recipe_from_text(json.dumps({"output": output, **json.loads(tree)})), quiet=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ends.append(os.waitstatus_to_exitcode(status))
    print(json.dumps(ends))


if __name__ == "__main__":
    main(*sys.argv[1:])
