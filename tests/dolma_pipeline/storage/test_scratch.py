"""A process's own disk space: nobody else's, and gone with the process."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.storage.scratch import PREFIX, OwnFolder, Scratch

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOLMA_SCRATCH", str(tmp_path / "big"))
    return tmp_path / "big"


def test_made_on_first_use_and_removed(place: Path) -> None:
    scratch = Scratch()
    assert not place.exists()
    first, second = scratch.path(".npy"), scratch.path(".npy")
    assert first != second
    assert first.suffix == ".npy"
    assert not first.exists()
    assert first.parent.parent == place
    first.write_bytes(b"1")
    scratch.close()
    assert os.listdir(place) == []
    scratch.path().write_bytes(b"2")
    scratch.close()
    assert os.listdir(place) == []


def test_cached_is_made_once_a_key() -> None:
    scratch, made = Scratch(), list[str]()

    def fill(path: Path) -> None:
        made.append(path.name)
        path.write_bytes(b"content")

    for key in ("a", "b/c", "a", "b/c"):
        assert scratch.cached(key, fill).read_bytes() == b"content"
    assert len(made) == 2
    with pytest.raises(UsageError, match=r"'\.\./a' cannot be the name"):
        scratch.cached("../a", fill)
    scratch.close()


def test_a_cached_file_that_cannot_be_made_is_not_there() -> None:
    scratch = Scratch()

    def half(path: Path) -> None:
        path.write_bytes(b"half")
        raise RunError("no model")

    with pytest.raises(RunError, match="no model"):
        scratch.cached("a", half)
    assert scratch.cached("a", lambda path: fill(path, b"whole")).read_bytes() == b"whole"
    scratch.close()


def test_threads_share_one_cached_file() -> None:
    scratch, barrier, found = Scratch(), threading.Barrier(6), set[bytes]()
    assert scratch.folder.is_dir()

    def ask() -> None:
        barrier.wait()
        found.add(scratch.cached("a", lambda path: fill(path, b"x" * 10_000)).read_bytes())

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {b"x" * 10_000}
    scratch.close()


def test_a_copy_of_the_process_has_its_own(place: Path) -> None:
    scratch = Scratch()
    mine = scratch.path()
    mine.write_bytes(b"1")
    if not (child := os.fork()):
        code = 1
        try:
            scratch.close()  # the parent's, so nothing
            other = scratch.folder
            code = 0 if other != mine.parent and mine.exists() else 2
            scratch.close()
            code = code or (3 if other.exists() else 0)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert mine.read_bytes() == b"1"
    scratch.close()
    assert os.listdir(place) == []


def test_what_travels_is_empty() -> None:
    scratch = Scratch()
    folder = scratch.folder
    other = pickle.loads(pickle.dumps(scratch))
    assert other.folder != folder
    other.close()
    assert folder.is_dir()
    scratch.close()


def fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _other(body: str) -> subprocess.Popen[str]:
    script = (
        "import os, signal, sys\nfrom dolma_pipeline.storage.scratch import Scratch\n"
        f"scratch = Scratch()\nprint(scratch.folder, flush=True)\n{body}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def test_it_goes_with_its_process(place: Path) -> None:
    ended = _other("child = os.fork()\nif child: os.waitpid(child, 0)\nassert scratch.folder.is_dir()\n")
    assert ended.communicate()[0].startswith(str(place))
    assert ended.returncode == 0
    assert os.listdir(place) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(place: Path) -> None:
    alive = _other("sys.stdin.read()")
    assert alive.stdout is not None
    held = Path(alive.stdout.readline().strip())
    killed = _other("os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.stdout is not None
    left = Path(killed.stdout.readline().strip())
    assert killed.wait() == -signal.SIGKILL
    assert left.is_dir()
    (place / f"{PREFIX}somebody").mkdir()  # about to be locked
    own = OwnFolder()
    assert sorted(one.name for one in place.iterdir()) == sorted([held.name, own.path.name, f"{PREFIX}somebody"])
    alive.communicate("")
    own.close()
    own.close()
    assert [one.name for one in place.iterdir()] == [f"{PREFIX}somebody"]


def test_a_place_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("DOLMA_SCRATCH", str(tmp_path / "file" / "x"))
    with pytest.raises(RunError, match=r"/file/x cannot be written: not a directory\. A file stands where a folder is"):
        assert Scratch().folder
