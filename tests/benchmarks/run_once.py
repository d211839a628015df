"""One whole run, measured in this process, by whichever state of the program Python finds.

    run_once.py local|here|redo RECIPE WORKERS KEY=VALUE...   a run; `here`: by a plain loop without Beam
    run_once.py idle|copy RECIPE        what a worker holds before it sees a text: the only one, one of several
    run_once.py compile RECIPE          compiles the kernels that a recipe needs
    run_once.py warm                    compiles all kernels, so that no measurement pays for it

`redo` changes a finished run. Prints one JSON line.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
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


def run_here() -> None:
    """Put the plain loop in the place of the engine that a recipe asks for."""
    from dolma_pipeline.engines import Here
    from dolma_pipeline.engines.choose import EngineChoice

    def here(choice: object, say: object = None, *, note: object = None) -> Here:
        return Here()

    vars_of: Any = EngineChoice
    vars_of.engine = here


def whole(how: str, recipe: str, workers: str, *overrides: str) -> dict[str, object]:
    """The run and what it cost, imports included."""
    cpu, _ = usage()
    wall = time.perf_counter()
    from counted import Counted

    from dolma_pipeline.config import load_recipe
    from dolma_pipeline.runner import run

    loaded = load_recipe(recipe, f"workers={workers}", *overrides)
    counted = Counted()
    if how == "here":
        run_here()
    begun = time.time()
    run(loaded, stages=STAGES, redo=how == "redo", quiet=True)
    wall = time.perf_counter() - wall
    after, peak = usage()
    mix = manifest(loaded.output, "mix")
    totals = {
        name: sum(counts[name] for counts in mix["counts"].values())
        for name in ("bytes_in", "bytes_kept", "tokens_kept", "in", "kept")
    }
    seen = {"read_mb": counted.read / 1e6, "encoded_mb": counted.encoded / 1e6} if workers == "1" else {}
    return {
        "cpu_s": after - cpu,
        "wall_s": wall,
        "peak_mb": peak,
        "text_mb": totals["bytes_in"] / 1e6,
        "kept_mb": totals["bytes_kept"] / 1e6,
        "tokens": totals["tokens_kept"],
        "documents": totals["in"],
        "kept": totals["kept"],
        **seen,
        "cpu_s_by_step": by_step(Path(loaded.output), since=begun),
    }


def manifest(output: str, unit: str) -> dict[str, Any]:
    """The manifest of a unit of the run."""
    found: dict[str, Any] = json.loads((Path(output) / unit / "manifest.json").read_text())
    return found


def by_step(folder: Path, *, since: float) -> dict[str, float]:
    """CPU seconds of each phase's tasks, from the run's own log; since: events before this time are another run's."""
    log = folder / "log" / "events.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return {e["step"]: e["cpu_seconds"] for e in events if e["event"] == "end" and e["time"] >= since}


def idle(recipe: str) -> dict[str, object]:
    """Beam, this library and all taggers of the recipe, set up; they have seen a short text."""
    import apache_beam  # noqa: F401

    from dolma_pipeline.config import load_recipe
    from dolma_pipeline.documents import Batch
    from dolma_pipeline.engines.fork_server import TEXT
    from dolma_pipeline.registry import load_tagger

    tag = load_recipe(recipe).tag
    for use in tag.taggers if tag else ():
        load_tagger(use.tagger, **use.parameters).attributes(Batch.of([TEXT]))
    return {"peak_mb": usage()[1]}


def copy(recipe: str) -> dict[str, object]:
    """One of several workers before it sees a text: memory of its own, and with its share of what they have in common.

    Where workers are no copies, both are what one holds alone.
    """
    import socket
    import threading

    from dolma_pipeline.config import load_recipe
    from dolma_pipeline.engines.forks import ForkServer, can_fork, shared_taggers
    from dolma_pipeline.engines.watchdog import descendants
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
        ask = {
            "target": forks.run_worker,
            "args": (environment,),
            "kwargs": {"worker_log": Path(os.devnull)},
            "daemon": True,
        }
        for _ in range(2):
            threading.Thread(**ask).start()
        silent.accept()[0].close()  # one of them is up
        lines = Path(f"/proc/{max(descendants())}/smaps_rollup").read_text().splitlines()[1:]
        sizes = {name: int(rest.split()[0]) / 1e3 for name, _, rest in (line.partition(":") for line in lines)}
    return {"own_mb": sizes["Private_Dirty"] + sizes["Private_Clean"], "share_mb": sizes["Pss"]}


def warm() -> dict[str, object]:
    """Compile every kernel, once for this machine."""
    from dolma_pipeline.kernels import warm as kernels

    wall = time.perf_counter()
    compile_all: Any = getattr(kernels, "ensure", kernels.warm)  # before, one process compiled everything
    compile_all()
    return {"wall_s": time.perf_counter() - wall, "cpu_s": usage()[0]}


def compile_for(recipe: str) -> dict[str, object]:
    """What a first run of a recipe waits for: kernels, compiled on disk as its engine has them compiled."""
    from dolma_pipeline.config import load_recipe
    from dolma_pipeline.engines.warming import compile_kernels
    from dolma_pipeline.stages.warming import kernels_of

    loaded = load_recipe(recipe)
    kernels = kernels_of(loaded, loaded.stages())
    said: list[str] = []
    wall = time.perf_counter()
    compile_kernels(kernels, said.append)
    wall = time.perf_counter() - wall
    return {"wall_s": wall, "cpu_s": usage()[0], "num_kernels": len(kernels), "num_lines_said": len(said)}


if __name__ == "__main__":
    actions = {"idle": idle, "copy": copy, "warm": warm, "compile": compile_for}
    name, *arguments = sys.argv[1:]
    print(json.dumps(actions[name](*arguments) if name in actions else whole(name, *arguments)))
