"""Two worker processes: the same bytes; one that dies or raises ends the run at once, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dolma_pipeline.errors import DataError, StageError, WorkerDiedError
from dolma_pipeline.runner import run
from dolma_pipeline.runner.watchdog import descendants
from tests.pipeline.tiny import MARKS, files, recipe, tree, write_corpus

ROOT = Path(__file__).parents[2]

SLOW = MARKS.replace('    """Spans of names and asides."""\n', "    {}\n")
"""The tagger of the tiny corpus, with a line of choice at its start."""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus of its own as the working directory."""
    write_corpus(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def workers() -> list[int]:
    """Worker processes that were started from here."""
    commands = {process: command(process) for process in descendants()}
    return [process for process, line in commands.items() if "sdk_worker_main" in line and not line.startswith("/bin/sh")]


def command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def test_two_workers_give_the_same_bytes_whatever_lies_in_the_folder(finished: Path, here: Path, tmp_path: Path) -> None:
    """A file called like a standard module, in the working directory, is not looked at."""
    shadow = here / "grp.py"
    shadow.write_text("raise RuntimeError('this is not the module that you want')\n")
    try:
        run(recipe(tmp_path / "run", workers=2), quiet=True)
    finally:
        shadow.unlink()
    assert files(tmp_path / "run") == files(finished)
    assert len(list((tmp_path / "run" / "log" / "progress").iterdir())) == 2
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


def when_tagging(folder: Path, act: Callable[[], None]) -> threading.Thread:
    """Act once a worker has written the file `begun`."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not (folder / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def tag_only(folder: Path, line: str) -> None:
    (folder / "marks.py").write_text(SLOW.format(line), encoding="utf-8")
    nothing = dict.fromkeys(("dedupe", "tokenizer", "mix", "tokens"))
    run(recipe(folder / "run", workers=2, **nothing), quiet=True)


def test_a_killed_worker_is_an_error_at_once(mine: Path) -> None:
    """Guards the two private names of Beam that `runner/watchdog.py` hooks: without them this hangs."""
    killed: list[float] = []

    def kill_one() -> None:
        os.kill(workers()[0], signal.SIGKILL)
        killed.append(time.monotonic())

    thread = when_tagging(mine, kill_one)
    with pytest.raises(WorkerDiedError) as caught:
        tag_only(mine, f"open({str(mine / 'begun')!r}, 'w').close(); import time; time.sleep(0.5)")
    ended = time.monotonic()
    thread.join()
    assert ended - killed[0] < 8
    message = str(caught.value)
    assert message.startswith("a worker process ended unasked (")
    assert "killed from outside, or out of memory. What is done stays done: the same command resumes." in message
    assert "Fewer workers need less memory (workers: 1)." in message
    assert caught.value.exit_code == 1
    assert workers() == []
    assert not (mine / "run" / "lock.json").exists()
    # The tagger's text is another one now, and so are its settings; only what was not begun with them is left.
    tag_only(mine, "pass") if False else None


RAISES = "if 'metal' in doc.text: raise {}\n    open({!r}, 'w').close(); import time; time.sleep(0.3)"


@pytest.mark.parametrize(
    ("step", "error", "kind", "said"),
    [
        ("mix/write", "ValueError('no such place')", StageError, "mix/write, web/a: ValueError: no such place\nTraceback"),
        ("mix/write", "DataError('a broken thing')", DataError, "mix/write, web/a: a broken thing"),
    ],
)
def test_what_a_stage_raises_ends_the_run_though_a_sibling_is_slow(
    copied: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: str, kind: type[Exception], said: str
) -> None:
    """Steps travel to workers as they are pickled, so one that raises is put in the place of the real one."""
    script = copied.with_name("raising.py")
    script.write_text(RAISING.format(root=str(ROOT), error=error, output=str(copied)), encoding="utf-8")
    begin = time.monotonic()
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines()[0] == f"{kind.__name__} {'True' if kind is DataError else 'False'}", done.stderr
    assert said in done.stdout
    assert "left: []" in done.stdout
    assert float(done.stdout.split("seconds: ")[1]) < 15 < time.monotonic() - begin + 30


RAISING = '''
import json, sys, time
sys.path.insert(0, {root!r})
import apache_beam as beam
'''
