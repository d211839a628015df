"""A pool of Beam workers that see nothing of the launcher's: another process, folder, HOME, and environment.

It has what an image of workers has: this library, Python first on its PATH, and credentials of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dolma_pipeline.config import Recipe
from tests.dolma_pipeline.storage.fake_objects import KEY_ID, SECRET
from tests.dolma_pipeline.storage.fake_store import Server
from tests.pipeline.test_inputs_elsewhere import sources, upload
from tests.pipeline.tiny import recipe

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Pool:
    """A pool. process: its service, which starts workers when a job asks for them. log: takes all that it says."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def options(self) -> dict[str, str]:
        """What a recipe's `beam` says to have it work."""
        return {
            "runner": "PortableRunner",
            "job_endpoint": "embed",
            "environment_type": "EXTERNAL",
            "environment_config": f"localhost:{self.port}",
        }

    def recipe(self, server: Server, name: str, **changes: object) -> Recipe:
        """The tiny recipe over the corpus of the working directory, inputs and output on a store, done by the pool."""
        upload(server, Path("in"))
        there = {"storage": {"endpoint": server.endpoint}, "beam": self.options(), "sources": sources("s3")}
        return recipe(f"s3://bucket/{name}", **there, **changes)

    def workers(self) -> list[int]:
        """Process ids of its workers that live."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                state, parent = path.read_text().rpartition(")")[2].split()[:2]
                if int(parent) == self.process.pid and state != "Z":
                    found.append(int(path.parent.name))
        return found


def environment(home: Path, **more: str) -> dict[str, str]:
    """All that workers find in their environment."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),  # in an image it is installed
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_GCE_CHECK": "true",
        **more,
    }


@contextlib.contextmanager
def pool(folder: Path, **more: str) -> Iterator[Pool]:
    """A pool for the block, in a folder of its own. more: environment variables."""
    (home := folder / "home").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = folder / "pool.txt"
    with open(log, "wb") as said:
        process = subprocess.Popen(
            ["python", "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"],
            cwd=home,
            env=environment(home, **more),
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        _wait(process, port, log)
        yield Pool(process, port, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(f"no pool of workers: {log.read_text()}")
