"""A job that goes on without its launcher: the next one says so, waits for it, or ends it. With a real job server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.tiny import files, tree
from tests.processes import wait_for

ROOT = Path(__file__).parents[2]

WAITING = '''
import pathlib, time

import dolma_pipeline as dp


@dp.tagger("waiting_v1", fields={"letters": int})
def waiting(doc: dp.Document, *, gate: str = "") -> dp.Attributes:
    """The length of a text, once there is a file."""
    pathlib.Path(gate + ".asked").touch()
    while not pathlib.Path(gate).exists():
        time.sleep(0.02)
    return {"letters": len(doc.text)}
'''


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Of the job server."""
    server = subprocess.Popen(
        [sys.executable, ROOT / "tests/pipeline/serve_jobs.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


class Launching:
    """Launchers of one recipe, whose job waits until a file is there."""

    def __init__(self, corpus: Path, place: Path, endpoint: str) -> None:
        self.corpus, self.run, self.gate = corpus, place / "run", place / "gate"
        (place / "waiting.py").write_text(WAITING)
        tag = {"taggers": ["length_v1", "marks_v1", {"tagger": "waiting_v1", "gate": str(self.gate)}]}
        job: dict[str, Any] = {
            "runner": "PortableRunner",
            "job_endpoint": endpoint,
            "environment_type": "beam:env:embedded_python:v1",
        }
        job["shared_disk"] = True
        modules = ["./marks.py", str(place / "waiting.py")]
        sources = {name: {"documents": f"{corpus}/in/{name}/*"} for name in ("web", "code", "forum")}
        self._recipe = place / "recipe.yaml"
        recipe = {"output": str(self.run), **tree(tag=tag, modules=modules, beam=job, sources=sources)}
        self._recipe.write_text(json.dumps(recipe))

    def begin(self, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dolma_pipeline", "run", str(self._recipe), *more],
            cwd=self.corpus,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self, *more: str) -> tuple[int, str]:
        """Exit code, and what was printed."""
        process = self.begin(*more)
        printed = process.communicate(timeout=120)
        return process.returncode, "\n".join(printed)

    def left_alone(self) -> None:
        """A launcher that is killed while its job works."""
        launcher = self.begin()
        wait_for(lambda: self.gate.with_suffix(".asked").exists() or launcher.poll() is not None)
        assert launcher.poll() is None, "\n".join(launcher.communicate())
        launcher.send_signal(signal.SIGKILL)
        launcher.communicate()


def test_a_job_without_its_launcher_is_told_and_attached_to(corpus: Path, tmp_path: Path, endpoint: str) -> None:
    launching = Launching(corpus, tmp_path, endpoint)
    launching.left_alone()
    code, printed = launching.ended()
    assert code == 2
    assert "on PortableRunner has been at work here since" in printed
    assert "which is gone. Give --attach to wait for it and go on from there, or --cancel to end it" in printed
    attached = launching.begin("--attach")
    assert attached.stderr is not None
    told = iter(attached.stderr.readline, "")
    assert any("waiting for job" in line for line in told)
    launching.gate.touch()
    _, rest = attached.communicate(timeout=120)
    assert attached.returncode == 0, rest
    assert "has ended" in rest
    made = files(launching.run)
    assert not (launching.run / "lock.json").exists()
    launching.run = tmp_path / "local"
    code, printed = launching.ended(f"output={launching.run}", "beam.runner=local")
    assert code == 0, printed
    assert files(launching.run) == made


def test_a_job_without_its_launcher_is_ended(corpus: Path, tmp_path: Path, endpoint: str) -> None:
    launching = Launching(corpus, tmp_path, endpoint)
    launching.left_alone()
    code, printed = launching.ended("--cancel")
    assert (code, "on PortableRunner has ended. What it has done stays done." in printed) == (0, True), printed
    code, printed = launching.ended("--cancel")
    assert (code, "has ended" in printed) == (0, True), printed  # its lock is still there, for the next run to take
    launching.gate.touch()
    code, printed = launching.ended()
    assert code == 0, printed
    assert launching.ended("--cancel")[0] == 2
