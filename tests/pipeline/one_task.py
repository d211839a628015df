"""One task of a run of many shards, as a worker gets it: in an element, without the launcher.

one_task.py plan FOLDER SHARDS    in the corpus' folder: the first task of the scan, into FOLDER/task
one_task.py work FOLDER           does it; prints the most memory that this process held, in MB
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.run import layout, perform
from dolma_pipeline.runner import run
from tests.benchmarks.run_once import peak_memory
from tests.pipeline.tiny import engine, recipe


class Caught:
    """An engine that keeps what it was given."""

    def run(self, run: Any, phases: Any, *, say: Any = None) -> None:
        self.given = run, phases
        raise KeyboardInterrupt


def plan(folder: Path, num_shards: int) -> None:
    """A run whose list has so many shards; all but the first ones have no file, which nobody looks for."""
    caught: Any = Caught()
    with engine(caught):
        try:
            run(recipe(folder / "run", mix=None, tokens=None, tokenizer=None, dedupe=None), quiet=True)
        except KeyboardInterrupt:
            one, (scan, *_) = caught.given
    first = orjson.loads(one.folder.read(layout.SHARDS).splitlines()[0])
    more = ({**first, "path": f"z{number:06d}.jsonl"} for number in range(num_shards - 1))
    one.folder.write(layout.SHARDS, b"".join(orjson.dumps(shard) + b"\n" for shard in (first, *more)))
    tasks = list(perform.begin(one, scan))
    assert len(tasks) == num_shards
    (folder / "task").write_bytes(pickle.dumps((one, scan, tasks[0])))


def work(folder: Path) -> None:
    """The task, in a process that knows nothing else."""
    one, scan, task = pickle.loads((folder / "task").read_bytes())
    done = perform.work(one, scan, task)
    assert done.documents == 70
    print(f"{peak_memory():.1f}")


if __name__ == "__main__":
    if sys.argv[1] == "plan":
        plan(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        work(Path(sys.argv[2]))
