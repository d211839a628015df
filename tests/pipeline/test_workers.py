"""Two worker processes: the same bytes; one that dies or raises ends the run at once, and nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from dolma_pipeline.engines import choose
from dolma_pipeline.engines.forks import MODULE
from dolma_pipeline.engines.watchdog import descendants
from dolma_pipeline.errors import DataError, DolmaError, TaggerError, WorkerDiedError
from dolma_pipeline.runner import modules, run
from dolma_pipeline.storage import scratch
from tests.pipeline.tiny import files, recipe, tree, write_corpus
from tests.processes import is_alive, wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus of its own as the working directory."""
    write_corpus(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def workers() -> list[str]:
    """Commands of worker processes that were started from here and are at work (the killed ones leave at once)."""
    time.sleep(0.2)
    commands = [Path(f"/proc/{process}/cmdline") for process in descendants()]
    return [
        line
        for path in commands
        if path.exists() and ("sdk_worker_main" in (line := path.read_text()) or MODULE in line)
    ]


def test_two_workers_give_the_same_bytes_whatever_lies_in_the_folder(
    finished: Path, here: Path, tmp_path: Path
) -> None:
    """A file called like a standard module, in the working directory, is not looked at."""
    shadow = here / "queue.py"
    shadow.write_text("raise RuntimeError('this is not the module that you want')\n")
    try:
        run(recipe(tmp_path / "run", workers=2), quiet=True)
    finally:
        shadow.unlink()
    assert files(tmp_path / "run") == files(finished)
    events = [json.loads(line) for line in (tmp_path / "run/log/events.jsonl").read_text().splitlines()]
    tasks = Counter((event["step"], event["key"]) for event in events if event["event"] == "task")
    assert set(tasks.values()) == {1}
    assert workers() == []


def test_workers_that_beam_starts_by_itself_give_the_same_bytes(
    finished: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on systems where a process cannot be copied."""
    monkeypatch.setattr(choose, "can_fork", lambda: False)
    run(recipe(tmp_path / "run", workers=2), quiet=True)
    assert files(tmp_path / "run") == files(finished)
    assert workers() == []


def test_another_hash_seed_gives_the_same_bytes(finished: Path, here: Path, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(json.dumps({"output": str(tmp_path / "run"), **tree()}), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "dolma_pipeline", "-q", "run", tmp_path / "my.yaml"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stages\n")
    assert files(tmp_path / "run") == files(finished)


def test_a_run_with_two_workers_says_nothing_at_its_end(corpus: Path, tmp_path: Path) -> None:
    """Libraries have much to say when Beam's threads outlive the run."""
    nothing = dict.fromkeys(("dedupe", "tokenizer", "tokens"))
    rules = {"where": {"words": "length_v1.words > 2"}}
    settings = tree(workers=2, tag={"taggers": ["length_v1"]}, mix=rules, **nothing)
    (tmp_path / "my.yaml").write_text(json.dumps({"output": str(tmp_path / "run"), **settings}), encoding="utf-8")
    command = [sys.executable, "-m", "dolma_pipeline", "-q", "run", tmp_path / "my.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=corpus, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "leaked" in line or "nanobind" in line] == []


ONE_FAILS = """
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import dolma_pipeline as dp
from dolma_pipeline.errors import DataError


@dp.tagger("marks_v1")
@dataclass(frozen=True)
class Marks:
    \"\"\"Two processes set it up: the first one fails when the second one is at work.\"\"\"

    fields: ClassVar[dp.Fields] = {{"digits": float}}

    def setup(self) -> None:
        if os.path.exists("well"):
            return
        try:
            os.close(os.open("first", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            open("second", "w").close()
            time.sleep(40)
        while not os.path.exists("second"):
            time.sleep(0.01)
        open("raised", "w").close()
        {act}

    def tag(self, batch: dp.Batch) -> Mapping[str, Any]:
        return {{"digits": [0.0] * len(batch)}}
"""


def tag_only(folder: Path, *, workers: int) -> None:
    nothing = dict.fromkeys(("dedupe", "tokenizer", "mix", "tokens"))
    run(recipe(folder / "run", workers=workers, **nothing), quiet=True)


LEAVES_SOMETHING = """
import atexit
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import dolma_pipeline as dp


@dp.tagger("marks_v1")
@dataclass
class Marks:
    \"\"\"Two processes set it up, each waits for the other.\"\"\"

    fields = {"digits": float}

    def setup(self) -> None:
        assert subprocess.run(["cat"], capture_output=True, check=True).stdout == b""
        atexit.register(Path(f"left-{os.getpid()}").touch)
        Path(f"drew-{os.getpid()}").write_text(str(np.random.random()))
        while len(list(Path().glob("drew-*"))) < 2:
            time.sleep(0.01)

    def tag(self, batch):
        return {"digits": [0.0] * len(batch)}
"""


def test_copies_are_processes_of_their_own_to_a_users_tagger(mine: Path) -> None:
    """What it starts finds an empty standard input, what it draws is its own, and its exit handlers are run."""
    (mine / "marks.py").write_text(LEAVES_SOMETHING, encoding="utf-8")
    tag_only(mine, workers=2)
    assert len({path.read_text() for path in mine.glob("drew-*")}) == 2
    assert len(list(mine.glob("left-*"))) == 2


KILLED = "os.kill(os.getpid(), 9)"


@pytest.mark.parametrize(
    ("act", "forks", "kind", "said"),
    [
        (
            "raise ValueError('no such model')",
            True,
            TaggerError,
            r"^scan, \w+/\w: tagger 'marks_v1': setup\(\) raised ValueError: no such model \(marks\.py:\d+\)$",
        ),
        ("raise DataError('marks.txt: damaged')", True, DataError, r"^scan, \w+/\w: marks\.txt: damaged$"),
        ("raise DataError('marks.txt: damaged')", False, DataError, r"^scan, \w+/\w: marks\.txt: damaged$"),
        (
            KILLED,
            True,
            WorkerDiedError,
            r"^a worker process ended unasked \(signal SIGKILL\), killed from outside, or out of memory\. Worker log: ",
        ),
        (
            "os._exit(0)",
            True,
            WorkerDiedError,
            r"^a worker process ended unasked \(exit code 0\)\. Worker log: ",
        ),
        (
            KILLED,
            False,
            WorkerDiedError,
            r"^a worker process ended unasked \(.*137.*\), killed from outside, or out of memory\. Worker log: ",
        ),
    ],
)
def test_a_worker_that_fails_ends_the_run_at_once(
    mine: Path,
    act: str,
    forks: bool,
    kind: type[DolmaError],
    said: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards the two private names of Beam that `engines/watchdog.py` hooks: without them this waits or hangs."""
    monkeypatch.setattr(choose, "can_fork", lambda: forks)
    monkeypatch.setattr(modules, "_said", set())  # a process says once that it loads them
    (mine / "marks.py").write_text(ONE_FAILS.format(act=act), encoding="utf-8")
    with pytest.raises(kind, match=said) as caught:
        tag_only(mine, workers=2)
    assert time.time() - (mine / "raised").stat().st_mtime < 20  # the other worker sleeps 40
    assert caught.value.exit_code == 1
    assert workers() == []
    assert capfd.readouterr().err.splitlines() == ["loading modules: ./marks.py"]
    assert not (mine / "run" / "lock.json").exists()
    if kind is WorkerDiedError:
        assert "What is done stays done: the same command resumes." in str(caught.value)
        assert ("Fewer workers need less memory" in str(caught.value)) == (act == KILLED)
    (mine / "well").touch()
    tag_only(mine, workers=1)
    assert (mine / "run" / "attributes" / "marks_v1" / "manifest.json").is_file()


@pytest.mark.parametrize("moment", ["they are about to start", "they begin", "they are at work"])
def test_sigterm_leaves_no_worker(corpus: Path, tmp_path: Path, moment: str) -> None:
    (tmp_path / "my.yaml").write_text(json.dumps({"output": str(tmp_path / "run"), **tree(workers=2)}))
    command = [sys.executable, "-m", "dolma_pipeline", "-q", "run", tmp_path / "my.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), scratch.VARIABLE: str(tmp_path / "scratch")}
    process = subprocess.Popen(command, cwd=corpus, env=environment, stderr=subprocess.PIPE, text=True)
    signs = {
        "they are about to start": lambda: descendants(process.pid) and (tmp_path / "run/lock.json").exists(),
        "they begin": lambda: [*(tmp_path / "scratch").rglob("workers.txt")],
        "they are at work": lambda: [*(tmp_path / "scratch").rglob("log/progress/*/*.jsonl")],
    }
    wait_for(signs[moment])
    begun = descendants(process.pid)
    assert begun
    process.terminate()
    said = process.communicate(timeout=30)[1]
    assert (process.returncode, said.splitlines()[-1:]) == (
        143,
        ["error: ended by SIGTERM; what is done stays done, the same command goes on from there"],
    )
    wait_for(lambda: not any(map(is_alive, begun)))
    wait_for(lambda: not [one for one in Path("/proc").glob("[0-9]*/fd/2") if _leads(one, tmp_path)])
    assert not (tmp_path / "run" / "lock.json").exists()


def _leads(link: Path, folder: Path) -> bool:
    """Whether a process's standard error goes into this folder, as that of a worker does."""
    with contextlib.suppress(OSError):
        return os.readlink(link).startswith(str(folder))
    return False


def test_a_run_that_is_killed_with_its_workers_goes_on(finished: Path, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(json.dumps({"output": str(tmp_path / "run"), **tree(workers=2)}))
    command = [sys.executable, "-m", "dolma_pipeline", "-q", "run", tmp_path / "my.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), scratch.VARIABLE: str(tmp_path / "scratch")}
    process = subprocess.Popen(command, cwd=corpus, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    wait_for(lambda: [*(tmp_path / "run" / ".done").glob("mix.decide-*/*/*.json")])
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert (tmp_path / "run" / "lock.json").exists()
    assert not (tmp_path / "run" / "tokens" / "manifest.json").exists()
    with contextlib.chdir(corpus):
        run(recipe(tmp_path / "run"), quiet=True)
    assert files(tmp_path / "run") == files(finished)


@pytest.mark.slow
def test_two_workers_keep_what_was_decided_as_one_does(mine: Path) -> None:
    """Files that come one by one, with `dedupe.keep: old`."""
    later = (mine / "in/web/b.jsonl").read_text()
    for count in (1, 2):
        (mine / "in/web/b.jsonl").unlink()
        for content in ("", later):
            if content:
                (mine / "in/web/b.jsonl").write_text(content)
            run(recipe(mine / f"run{count}", workers=count, dedupe__keep="old"), quiet=True)
    assert files(mine / "run1") == files(mine / "run2")
    assert json.loads((mine / "run2/attributes/minhash/manifest.json").read_text())["earlier"]["new"] > 0
