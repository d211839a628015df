"""Runs a recipe again and again in child processes that kill -9 themselves at chosen points (null: runs to its end).

    killed.py TREE            in the corpus' folder; reads lines `[OUTPUT, POINTS, "beam"|"plain"]`, and answers each
                              with the signals that ended its children

TREE: the recipe as JSON. POINTS: JSON list of paths in OUTPUT (with wildcards): die just before a file gets that
name, or, with `-` before it, before a file or folder of that name is removed. Between these moments nothing is seen to
change, so this is every kind of half-done state. plain: the phases without Beam, four times as fast. One process
imports everything and does nothing else; the children are its forks.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import awkward  # noqa: F401 what a run loads late is loaded once, here
import duckdb  # noqa: F401
import gigatoken  # noqa: F401

import dolma_pipeline.engines.chain
import dolma_pipeline.engines.local  # noqa: F401
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.engines import Here
from dolma_pipeline.kernels.warm import warm
from dolma_pipeline.runner import run
from tests.pipeline.tiny import engine


def die_before(output: str, point: str) -> None:
    """From now on, die when what the point names is about to appear or to go."""
    goes, path = point.startswith("-"), f"{output}/{point.removeprefix('-')}"

    def watched(change: Callable[..., Any], at: int) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if fnmatch.fnmatchcase(str(args[at]), path):
                os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **options)

        return call

    if goes:
        os.unlink, os.rmdir = watched(os.unlink, 0), watched(os.rmdir, 0)
        shutil.rmtree = watched(shutil.rmtree, 0)
    else:
        os.replace, os.link = watched(os.replace, 1), watched(os.link, 1)


def ends(tree: str, output: str, points: list[str | None], how: str) -> list[int]:
    """Exit codes of the children, one for each point."""
    found = []
    for point in points:
        child = os.fork()
        if child == 0:
            signal.alarm(300)  # it ends with a signal of its own, should it hang
            try:
                if point is not None:
                    die_before(output, point)
                with engine(Here()) if how == "plain" else contextlib.nullcontext():
                    run(recipe_from_text(json.dumps({"output": output, **json.loads(tree)})), quiet=True)
            except BaseException:  # noqa: BLE001 it is the test that fails
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        found.append(os.waitstatus_to_exitcode(status))
    return found


def main(tree: str) -> None:
    warm()
    for line in sys.stdin:
        print(json.dumps(ends(tree, *json.loads(line))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
