"""Engines for workers elsewhere, measured in this process.

    elsewhere_once.py tasks NUMBER             so many tasks that do nothing, by Beam's runner in memory
    elsewhere_once.py pool RECIPE KEY=VALUE... a run by a pool of workers on this machine
    elsewhere_once.py store RECIPE             a run whose folder is on an S3 store on loopback, by one worker
    elsewhere_once.py listing                  a bucket of 100,000 keys

Prints one JSON line.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from run_once import STAGES, manifest, usage


def tasks(number: str) -> dict[str, object]:
    """A phase of tasks that leave nothing but their record, and one before it, so that all is loaded."""
    from dolma_pipeline.config.loader import recipe_from_text
    from dolma_pipeline.engines.beam import OnBeam
    from dolma_pipeline.run.phase import Phase, Task, Work
    from dolma_pipeline.run.run import Run
    from dolma_pipeline.storage.folder import run_folder

    @dataclass(frozen=True)
    class Nothing(Phase):
        """Tasks that do nothing."""

        number: int = 0

        @property
        def name(self) -> str:
            return "nothing"

        def tasks(self, run: Run) -> Any:
            return (Task(f"{place:06d}") for place in range(self.number))

        def work(self, process: Any, task: Task) -> Work:
            return Work()

    recipe = recipe_from_text("{output: x, sources: {web: {documents: x}}, tag: {taggers: [length_v1]}}")
    begun = 0.0, 0.0
    for count in (10, int(number)):
        begun = time.perf_counter(), usage()[0]
        folder = run_folder(f"memory://{secrets.token_hex(4)}")
        OnBeam("FnApiRunner").run(Run(recipe, folder), [Nothing(number=count)])
    return {"wall_s": time.perf_counter() - begun[0], "cpu_s": usage()[0] - begun[1], "peak_mb": usage()[1]}


def session_cpu(session: int) -> float:
    """CPU seconds of all processes of a session, ended children of them included."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def pool(recipe: str, *overrides: str) -> dict[str, object]:
    """The run by a pool of one worker that this process starts and ends, so that its CPU time counts."""
    from dolma_pipeline.config import load_recipe
    from dolma_pipeline.runner import run

    begun = resource.getrusage(resource.RUSAGE_SELF)
    cpu = begun.ru_utime + begun.ru_stime
    wall = time.perf_counter()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = Path(sys.executable).parent
    options = ("job_endpoint=embed", "environment_type=EXTERNAL", f"environment_config=localhost:{port}")
    beam = ["beam.runner=PortableRunner", "beam.shared_disk=true", *(f"beam.{one}" for one in options)]
    with tempfile.TemporaryFile() as said:
        command = ["python", "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
        variables = {**os.environ, "PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}
        process = subprocess.Popen(command, env=variables, stdout=said, stderr=said, start_new_session=True)
        try:
            loaded = load_recipe(recipe, *beam, *overrides)
            run(loaded, stages=STAGES, quiet=True)
            of_pool = session_cpu(process.pid)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the pool itself leaves its workers behind
            process.wait()
    mix = manifest(loaded.output, "mix")
    text = sum(counts["bytes_in"] for counts in mix["counts"].values())
    own = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_s": own.ru_utime + own.ru_stime - cpu + of_pool,
        "wall_s": time.perf_counter() - wall,
        "text_mb": text / 1e6,
    }


@contextlib.contextmanager
def served(kind: str) -> Iterator[tuple[str, Callable[[], dict[str, int]]]]:
    """A store in a process of its own: its endpoint, and what ends it and gives its counts of requests."""
    place = Path(__file__).with_name("serve_store.py")
    server = subprocess.Popen([sys.executable, place, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None

    def end() -> dict[str, int]:
        found: dict[str, int] = json.loads(server.communicate()[0])
        return found

    try:
        yield server.stdout.readline().strip(), end
    finally:
        server.kill()
        server.wait()


def credentials() -> None:
    """Those that the store on loopback takes."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.dolma_pipeline.storage.fake_objects import KEY_ID, SECRET

    os.environ.update(AWS_ACCESS_KEY_ID=KEY_ID, AWS_SECRET_ACCESS_KEY=SECRET, AWS_EC2_METADATA_DISABLED="true")


def store(recipe: str) -> dict[str, object]:
    """The run by one worker, its folder on the store, its inputs on this disk."""
    from dolma_pipeline.config import load_recipe
    from dolma_pipeline.runner import run
    from dolma_pipeline.storage.folder import run_folder

    credentials()
    url = "s3://bucket/run"
    with served("objects") as (endpoint, end):
        cpu, wall = usage()[0], time.perf_counter()
        run(
            load_recipe(recipe, f"output={url}", f"storage.endpoint={endpoint}", "workers=1"), stages=STAGES, quiet=True
        )
        cpu, wall = usage()[0] - cpu, time.perf_counter() - wall
        folder = run_folder(url, {"endpoint": endpoint})
        shards = folder.read("shards.jsonl").count(b"\n")
        text = sum(one["bytes_in"] for one in json.loads(folder.read("mix/manifest.json"))["counts"].values())
        return {"cpu_s": cpu, "wall_s": wall, "text_mb": text / 1e6, "shards": shards, "requests": end()}


def listing() -> dict[str, object]:
    """All keys, from first to last."""
    from dolma_pipeline.storage.folder import run_folder

    credentials()
    with served("many") as (endpoint, end):
        cpu, wall = usage()[0], time.perf_counter()
        count = sum(1 for _ in run_folder("s3://bucket/run", {"endpoint": endpoint}).list())
        cpu, wall = usage()[0] - cpu, time.perf_counter() - wall
        return {"cpu_s": cpu, "wall_s": wall, "keys": count, "requests": end()}


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    ways = {"tasks": tasks, "pool": pool, "store": store, "listing": listing}
    print(json.dumps(ways[name](*arguments)))
