"""Runs a recipe again and again in child processes that kill -9 themselves at chosen points, then once to its end.

    killed.py TREE OUTPUT POINTS beam|plain       in the corpus' folder; prints the signal that ended each child

TREE: the recipe as JSON. POINTS: JSON list of paths in OUTPUT (with wildcards): die just before a file gets that
name, or a folder of that name is removed. Between these moments nothing is seen to change, so this is every kind
of half-done state. plain: the steps without Beam, four times as fast. One process imports everything; the children
are its forks.
"""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from typing import Any

import awkward  # noqa: F401 what a run loads late is loaded once, here
import dolma_pipeline.transforms.stages  # noqa: F401
import duckdb  # noqa: F401
import gigatoken  # noqa: F401
from dolma_pipeline.stages.step import run_steps

from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.kernels.warm import warm
from dolma_pipeline.runner import launcher, run


def die_before(point: str) -> None:
    """From now on, die when what the point names is about to appear or to go."""

    def watched(change: Callable[..., Any], at: int) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if fnmatch.fnmatchcase(str(args[at]), point):
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **options)

        return call

    os.replace = watched(os.replace, 1)
    os.link = watched(os.link, 1)
    shutil.rmtree = watched(shutil.rmtree, 0)


def main(tree: str, output: str, points: str, how: str) -> None:
    warm()
    ends = []
    for point in [*json.loads(points), None]:
        child = os.fork()
        if child == 0:
            if point is not None:
                die_before(f"{output}/{point}")
            if how == "plain":
                launcher.run_on_beam = lambda context, steps, **options: run_steps(steps)
            run(recipe_from_text(json.dumps({"output": output, **json.loads(tree)})), quiet=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ends.append(os.waitstatus_to_exitcode(status))
    print(json.dumps(ends))


if __name__ == "__main__":
    main(*sys.argv[1:])
