"""Carries out scenarios, one after the other, for as long as it is told to; one process, so that all is loaded once.

    host.py               in the corpus' folder; reads a line of JSON for each scenario, answers with one

A line: `scenario` (a key of `SCENARIOS`, or `launched`), `of` (whole, toys), `tree` (the recipe, or the toys' texts),
`output`, `seed`, `thorough`, and `commits` (a file that an undisturbed run writes and the others read). abandoned:
`before`, the recipe that is given up for `tree`. launched: `kills`, before which changes launchers die (0: never).
An answer: `notes` of what was done to which phase and how often the run was `begun`, or the `error`; launched: `ends`,
how many changes each launcher made before its phases and in all (null: it was killed). Each scenario is a copy of this
process, and its workers are copies of that, made before it has started anything: whoever copies itself has no threads.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from tests.chaos import adapter
from tests.chaos.engines import (
    Abandoned,
    Chaos,
    Commits,
    Forgetful,
    Killed,
    Stopped,
    Stragglers,
    Twice,
    Undisturbed,
)
from tests.chaos.launches import launch
from tests.chaos.phases import Phase
from tests.chaos.workers import Worker

SCENARIOS: dict[str, type[Chaos]] = {
    "undisturbed": Undisturbed,
    "twice": Twice,
    "killed": Killed,
    "stragglers": Stragglers,
    "forgetful": Forgetful,
    "abandoned": Abandoned,
}


def carry_out(asked: dict[str, Any]) -> dict[str, Any]:
    """One scenario."""
    run = adapter.RUNS[asked["of"]]
    if asked["scenario"] == "launched":
        return {"ends": [launch(run, asked["tree"], asked["output"], at=at) for at in asked["kills"]]}
    kind, output, commits_file = SCENARIOS[asked["scenario"]], asked["output"], Path(asked["commits"])
    commits: Commits = {} if kind is Undisturbed else json.loads(commits_file.read_text(encoding="utf-8"))
    settings: dict[str, Any] = {"seed": asked["seed"], "thorough": asked["thorough"], "commits": commits}
    pool = [Worker(output) for _ in range(kind(pool=[], **settings).num_workers)]
    engine = kind(pool=pool, **settings)
    try:
        answer = {"begun": _begun(asked, engine), "notes": engine.notes}
    finally:
        engine.dismiss()
    if kind is Undisturbed:
        commits_file.write_text(json.dumps(commits), encoding="utf-8")
    return answer


def _begun(asked: dict[str, Any], engine: Chaos) -> int:
    """Carry it out, as often as it takes; how often that was."""
    run, output = adapter.RUNS[asked["of"]], asked["output"]
    begun, tree = 0, asked.get("before", asked["tree"])
    while True:
        begun += 1
        try:
            run(tree, output, engine)
        except Stopped:
            tree = asked["tree"]
            if isinstance(engine, Forgetful) and os.path.isdir(f"{output}/cache"):
                shutil.rmtree(f"{output}/cache")
            continue
        break
    if isinstance(engine, Stragglers):
        engine.after_the_end()
        run(asked["tree"], output, _nothing_left)
    return begun


def _nothing_left(phases: Sequence[Phase]) -> None:
    raise AssertionError(f"after the end there are phases to do: {[phase.name for phase in phases]}")


def main() -> None:
    adapter.prepare()
    for line in sys.stdin:
        ours, theirs = Pipe()
        process = os.fork()
        if process == 0:
            try:
                answer = carry_out(json.loads(line))
            except BaseException:  # noqa: BLE001 it is the test that fails
                answer = {"error": traceback.format_exc()}
            theirs.send(answer)
            os._exit(0)
        theirs.close()
        print(json.dumps(ours.recv()), flush=True)
        os.waitpid(process, 0)


if __name__ == "__main__":
    main()
