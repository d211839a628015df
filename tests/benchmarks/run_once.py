"""One whole run, measured in this process: `run_once.py beam|plain RECIPE WORKERS`, `idle RECIPE` or `warm`.

`plain` does the steps one after the other without Beam; `idle` is what a worker holds before it sees a text, and
`copy RECIPE` what one of several does; `warm` compiles the kernels, so that no measurement pays for it. Prints one
JSON line.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STAGES = ("tag", "dedupe", "tokenizer", "mix", "tokens")


def usage() -> tuple[float, float]:
    """CPU seconds of this process and its ended children, and this process's peak memory in MB."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in both), peak_memory()


def peak_memory() -> float:
    """The most memory that this program held, in MB.

    Linux tells it in /proc; `ru_maxrss` there begins with what the process was before it became this program,
    a copy of the one that started it. It is used where there is no /proc.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) / 1e3 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    scale = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def run_plainly() -> None:
    """Put the steps' own loop in the place of the Beam pipeline."""
    from dolma_pipeline.stages.step import run_steps

    def steps_only(context: object, steps: Sequence[Any], **rest: object) -> None:
        run_steps(steps)

    holders = [m for name, m in sys.modules.items() if name.startswith("dolma_pipeline.") and "run_on_beam" in vars(m)]
    if not holders:
        raise SystemExit("dolma_pipeline.runner has no run_on_beam any more; the plain run must be started another way")
    for module in holders:
        vars(module)["run_on_beam"] = steps_only


def whole(how: str, recipe: str, workers: str) -> dict[str, object]:
    """The run and what it cost, imports included."""
    cpu, _ = usage()
    wall = time.perf_counter()
    from dolma_pipeline.config import load_recipe
    from dolma_pipeline.runner import run

    loaded = load_recipe(recipe, f"workers={workers}")
    if how == "plain":
        run_plainly()
    run(loaded, stages=STAGES, quiet=True)
    wall = time.perf_counter() - wall
    after, peak = usage()
    mix = manifest(loaded.output, "mix")
    return {
        "cpu_s": after - cpu,
        "wall_s": wall,
        "peak_mb": peak,
        "text_mb": sum(counts["bytes_in"] for counts in mix["counts"].values()) / 1e6,
        "kept_mb": sum(counts["bytes_kept"] for counts in mix["counts"].values()) / 1e6,
        "tokens": sum(counts["tokens_kept"] for counts in mix["counts"].values()),
        "cpu_s_by_step": by_step(Path(loaded.output)),
    }


def manifest(output: str, unit: str) -> dict[str, Any]:
    """The manifest of a unit of the run."""
    found: dict[str, Any] = json.loads((Path(output) / unit / "manifest.json").read_text())
    return found


def by_step(folder: Path) -> dict[str, float]:
    """CPU seconds of each step's tasks, from the run's own log (which only a run on Beam writes)."""
    log = folder / "log" / "events.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return {event["step"]: event["cpu_seconds"] for event in events if event["event"] == "end"}


def idle(recipe: str) -> dict[str, object]:
    """Beam, this library and all taggers of the recipe, set up; they have seen one word."""
    import apache_beam  # noqa: F401

    from dolma_pipeline.config import load_recipe
    from dolma_pipeline.documents import Batch
    from dolma_pipeline.registry import load_tagger

    tag = load_recipe(recipe).tag
    for use in tag.taggers if tag else ():
        load_tagger(use.tagger, **use.parameters).attributes(Batch.of(["word"]))
    return {"peak_mb": usage()[1]}


def copy(recipe: str) -> dict[str, object]:
    """One of several workers before it sees a text: memory of its own, and with its share of what they have in common.

    Where workers are no copies, both are what one holds alone.
    """
    import socket
    import threading

    from dolma_pipeline.runner.forks import ForkServer, can_fork, shared_taggers
    from dolma_pipeline.runner.watchdog import descendants

    from dolma_pipeline.config import load_recipe
    from dolma_pipeline.stages.warming import kernels_of

    if not can_fork():
        alone = idle(recipe)["peak_mb"]
        return {"own_mb": alone, "share_mb": alone}
    loaded = load_recipe(recipe)
    server = ForkServer(shared_taggers(loaded), kernels=kernels_of(loaded, STAGES))
    with socket.create_server(("127.0.0.1", 0)) as silent, server as forks:
        environment = {
            "CONTROL_API_SERVICE_DESCRIPTOR": f'url: "127.0.0.1:{silent.getsockname()[1]}"',
            "PIPELINE_OPTIONS": "{}",
            "WORKER_ID": "idle",
        }
        ask = {"target": forks.run_worker, "args": (environment,), "kwargs": {"said": Path(os.devnull)}, "daemon": True}
        for _ in range(2):
            threading.Thread(**ask).start()
        silent.accept()[0].close()  # one of them is up
        lines = Path(f"/proc/{max(descendants())}/smaps_rollup").read_text().splitlines()[1:]
        sizes = {name: int(rest.split()[0]) / 1e3 for name, _, rest in (line.partition(":") for line in lines)}
    return {"own_mb": sizes["Private_Dirty"] + sizes["Private_Clean"], "share_mb": sizes["Pss"]}


def warm() -> dict[str, object]:
    """Compile every kernel, once for this machine."""
    from dolma_pipeline.kernels.warm import ensure

    ensure()
    return {"cpu_s": usage()[0]}


if __name__ == "__main__":
    actions = {"idle": idle, "copy": copy, "warm": warm}
    name, *arguments = sys.argv[1:]
    print(json.dumps(actions[name](*arguments) if name in actions else whole(name, *arguments)))
