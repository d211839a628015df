"""Workers that are copies: how they start, what they are given, and that none is ever left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dolma_pipeline.documents import Batch
from dolma_pipeline.engines import fork_server
from dolma_pipeline.engines.forks import SERVERS, ForkServer, can_fork, shared_taggers
from dolma_pipeline.engines.watchdog import descendants
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.tagging import LoadedTagger
from tests.pipeline.tiny import recipe
from tests.processes import PATIENCE_SECONDS, is_alive, wait_for

pytestmark = pytest.mark.skipif(not can_fork(), reason="workers are copies on Linux only")
ROOT = Path(__file__).parents[3]


def harness(port: int) -> dict[str, str]:
    """What Beam's harness needs to know."""
    return {
        "CONTROL_API_SERVICE_DESCRIPTOR": f'url: "127.0.0.1:{port}"',
        "PIPELINE_OPTIONS": "{}",
        "WORKER_ID": "worker_7",
    }


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and says nothing: a worker waits there for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    with ForkServer([("length_v1", {})]) as server:
        yield server


def test_a_worker_ends_as_its_harness_does_and_its_words_are_kept(tmp_path: Path, forks: ForkServer) -> None:
    """Twice: the process that makes workers outlives them."""
    for name in ("one", "two"):
        misled = {**harness(port=1), "CONTROL_API_SERVICE_DESCRIPTOR": name}
        assert forks.run_worker(misled, worker_log=tmp_path / name) == "exit code 1"
        said = (tmp_path / name).read_text()
        assert "Traceback" in said
        assert f'has no field named "{name}"' in said


def test_a_worker_that_is_killed_is_told_of_and_others_go_on(
    tmp_path: Path, forks: ForkServer, silent_port: int
) -> None:
    with ThreadPoolExecutor() as pool:
        before = set(descendants())
        ends = [pool.submit(forks.run_worker, harness(silent_port), worker_log=tmp_path / f"{i}.txt") for i in range(2)]
        wait_for(lambda: len(set(descendants()) - before) == 2)
        first, second = sorted(set(descendants()) - before)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: any(one.done() for one in ends))
        assert [one.result() for one in ends if one.done()] == ["signal SIGKILL"]
        assert is_alive(second)
        os.kill(second, signal.SIGTERM)
        assert sorted(one.result() for one in ends) == ["signal SIGKILL", "signal SIGTERM"]


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_no_worker_outlives_the_process_that_made_it(tmp_path: Path, silent_port: int, how: str) -> None:
    before = set(descendants())
    ends: list[str] = []
    with ForkServer() as forks:
        (server,) = set(descendants()) - before
        assert server in SERVERS
        thread = threading.Thread(
            target=lambda: ends.append(forks.run_worker(harness(silent_port), worker_log=tmp_path / "said"))
        )
        thread.start()
        wait_for(lambda: len(set(descendants()) - before) == 2)
        (worker,) = set(descendants()) - before - {server}
        if how == "killed":
            os.kill(server, signal.SIGKILL)
            thread.join(PATIENCE_SECONDS)
            assert forks.run_worker(harness(silent_port), worker_log=tmp_path / "said") == ends[0]
    thread.join(PATIENCE_SECONDS)
    assert ends == ["the process that makes workers: signal SIGKILL"]
    assert server not in SERVERS
    wait_for(lambda: not is_alive(worker))
    assert not is_alive(server)


def test_nothing_is_left_when_the_launcher_is_killed(tmp_path: Path, silent_port: int) -> None:
    script = (
        "from pathlib import Path\n"
        "from dolma_pipeline.engines.forks import ForkServer\n"
        "with ForkServer() as forks:\n"
        f"    forks.run_worker({harness(silent_port)!r}, worker_log=Path({str(tmp_path / 'said')!r}))\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_for(lambda: len(descendants(launcher.pid)) == 2)
    left = descendants(launcher.pid)
    launcher.kill()
    launcher.wait()
    wait_for(lambda: not any(map(is_alive, left)))


def test_a_server_that_cannot_load_says_why(tmp_path: Path) -> None:
    with ForkServer([("lenght_v1", {})]) as forks:
        end = forks.run_worker(harness(port=1), worker_log=tmp_path / "said")
    assert end.startswith("the process that makes workers: exit code 1; ")
    assert "no built-in tagger named 'lenght_v1'" in end
    assert "length_v1" in end
    assert not (tmp_path / "said").exists()


def test_any_signal_is_told_of(tmp_path: Path, forks: ForkServer, silent_port: int) -> None:
    before = set(descendants())
    with ThreadPoolExecutor() as pool:
        end = pool.submit(forks.run_worker, harness(silent_port), worker_log=tmp_path / "said")
        wait_for(lambda: set(descendants()) - before)
        os.kill((set(descendants()) - before).pop(), 40)
        assert end.result(PATIENCE_SECONDS) == "signal 40"


def test_only_built_in_taggers_are_shared() -> None:
    """A user's tagger may open connections or start threads, which a copy would not have."""
    theirs = {"tagger": "dolma_v1", "dolma_class": "marks:Marks", "types": ["x"]}
    urls = {"tagger": "url_v1", "name": "other_urls", "key": "link"}
    tag = {"taggers": ["length_v1", {"tagger": "gopher_v1", "name": "mine_v1"}, "marks_v1", theirs, urls]}
    shared = shared_taggers(recipe("x", modules=["./marks.py"], tag=tag))
    assert shared == [("length_v1", {}), ("gopher_v1", {}), ("url_v1", {"key": "link"})]
    assert shared_taggers(recipe("x", tag=None)) == []


def test_a_tagger_that_cannot_be_used_yet_is_left_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its model comes with the run, or what is wrong with it is told by the worker, with the place in the recipe."""
    used: list[tuple[str, object]] = []

    def noted(self: LoadedTagger, batch: Batch) -> None:
        used.append((self.spec.name, self.parameters.get("key")))
        if self.spec.name == "pii_names_v1":
            raise TaggerError("its model is not here")

    monkeypatch.setattr(LoadedTagger, "attributes", noted)
    fork_server.use_taggers(
        [
            ("perplexity_v1", {"model": "./web.ngrams"}),
            ("pii_names_v1", {}),
            ("url_v1", {"key": "link"}),
        ]
    )
    assert used == [("pii_names_v1", None), ("url_v1", "link")]


def test_workers_get_what_a_request_says_and_nothing_of_the_server_is_torn(tmp_path: Path, forks: ForkServer) -> None:
    misled = {**harness(port=1), "CONTROL_API_SERVICE_DESCRIPTOR": "x", "DOLMA_CONTROL": str(tmp_path / "control")}
    assert forks.run_worker(misled, worker_log=tmp_path / "said") == "exit code 1"
    assert "DOLMA_CONTROL" not in os.environ


def test_the_process_that_makes_workers_uses_no_run_folder(tmp_path: Path) -> None:
    """Clients of object stores do not outlive a fork, so none may have been made by what is loaded."""
    script = (
        "from dolma_pipeline.engines import fork_server\n"
        "from dolma_pipeline.storage import folder, local, memory\n"
        "def refuse(*_, **__): raise AssertionError('a run folder before the fork')\n"
        "folder.RunFolder.__new__ = refuse\n"
        "fork_server.load([('length_v1', {})])\n"
        "try: memory.MemoryFolder('memory://x')\n"
        "except AssertionError: print('would be seen')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "would be seen\n"
