"""What is a disk's own: attempts that died, what it refuses, links, copies of a process."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.storage.folder import run_folder
from dolma_pipeline.storage.local import LocalFolder

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path / "run")


def names(folder: LocalFolder) -> list[str]:
    return [entry.name for entry in folder.list()]


@pytest.mark.parametrize("scheme", ["", "file://", "FILE://"])
def test_opened_by_its_path_or_url(tmp_path: Path, scheme: str) -> None:
    run_folder(f"{scheme}{tmp_path}/run").write("a", b"1")
    assert (tmp_path / "run" / "a").read_bytes() == b"1"
    assert run_folder(str(tmp_path / "run")).local_path() == tmp_path / "run"


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = run_folder("run")
    monkeypatch.chdir("/")
    folder.write("a", b"")
    assert (tmp_path / "run" / "a").exists()


@pytest.mark.parametrize("url", ["", "file://", "file://run"])
def test_urls_of_no_folder(url: str) -> None:
    with pytest.raises(UsageError, match=r"is not a folder of this machine\. Give a path, or file:///and/its/path\."):
        run_folder(url)


def test_schemes_that_a_run_cannot_have() -> None:
    schemes = "az, file, gs, memory, s3"
    with pytest.raises(UsageError, match=rf"^ftp://x: a run's folder cannot be at ftp://\. There are: {schemes}\.$"):
        run_folder("ftp://x")
    with pytest.raises(UsageError, match=r"^'memory://' has no name: write memory://name\.$"):
        run_folder("memory://")


def test_durable_files_are_synced_and_others_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for durable, expected in ((True, 3), (False, 0)):
        folder = LocalFolder(tmp_path / str(durable), durable=durable)
        synced.clear()
        folder.write("a", b"1")
        folder.create("b", b"1")
        assert folder.replace("a", b"2", folder.stat("a").version)  # type: ignore[union-attr]
        assert len(synced) == expected


def test_an_attempt_that_was_killed_is_not_seen_and_the_launcher_removes_it(folder: LocalFolder) -> None:
    script = (
        "import os, signal\n"
        "from dolma_pipeline.storage.local import LocalFolder\n"
        f"with LocalFolder({folder.url!r}).committing('a') as file:\n"
        "    file.write(b'x' * 5_000_000)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list((folder.root / ".tmp").iterdir())) == 1
    assert names(folder) == []
    folder.write("b", b"")
    folder.remove_attempts()
    folder.remove_attempts()
    assert os.listdir(folder.root) == ["b"]


@pytest.mark.parametrize("verb", [LocalFolder.remove_attempts, lambda folder: folder.delete_tree("a")])
def test_others_take_away_and_put_something_while_a_folder_is_removed(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch, verb: Callable[[LocalFolder], None]
) -> None:
    real = os.scandir

    def meanwhile(path: Any) -> Any:
        found = list(real(path))
        if os.path.basename(path) in ("deep", ".tmp"):
            os.unlink(found[0].path)
            Path(path, "late").write_bytes(b"")
        return iter(found)

    for name in ("a/deep/b", "a/deep/c", "a/d", ".tmp/1", ".tmp/2"):
        (folder.root / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.root / name).write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", meanwhile)
        verb(folder)
    left = {str(path.relative_to(folder.root)) for path in folder.root.rglob("*") if path.is_file()}
    if verb is LocalFolder.remove_attempts:
        assert left == {"a/deep/b", "a/deep/c", "a/d", ".tmp/late"}
    else:
        assert left == {"a/deep/late", ".tmp/1", ".tmp/2"}
    verb(folder)
    verb(folder)
    assert not (folder.root / (".tmp" if verb is LocalFolder.remove_attempts else "a")).exists()


def test_a_copy_of_the_process_touches_nothing_of_a_file_that_is_written(folder: LocalFolder) -> None:
    """A user's tagger may fork; whichever way the copy goes on, the file is its parent's."""
    with folder.committing("a") as file:
        file.write(b"in the buffer, ")
        for how in ("raises", "writes", "ends"):
            if not (child := os.fork()):
                _leave_the_block(folder, file, how)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        file.write(b"and more")
    assert folder.read("a") == b"in the buffer, and more"
    assert names(folder) == ["a"]


def _leave_the_block(folder: LocalFolder, file: Any, how: str) -> None:
    """In the copy: 7 if it did no harm and was told so."""
    code = 1
    try:
        if how == "raises":
            with folder.committing("b") as mine:
                mine.write(b"1")
                if not (child := os.fork()):
                    raise KeyError
                os.waitpid(child, 0)
                mine.write(b"2")
            code = 7 if folder.read("b") == b"12" else 2
            folder.delete(["b"])
        else:
            message = "a: written by a copy of the process that opened it"
            with pytest.raises(ValueError, match=message):
                file.write(b"x") if how == "writes" else file.end()
            code = 7
    finally:
        os._exit(code)


def test_links_are_followed_but_never_upwards(folder: LocalFolder, tmp_path: Path) -> None:
    elsewhere = LocalFolder(tmp_path / "elsewhere")
    elsewhere.write("x/y", b"1")
    folder.write("a/b", b"")
    (folder.root / "cache").symlink_to(elsewhere.root)
    (folder.root / "a" / "up").symlink_to(folder.root)
    (folder.root / "a" / "nothing").symlink_to(folder.root / "no")
    assert names(folder) == ["a/b", "cache/x/y"]
    folder.delete_tree("cache")
    assert list(elsewhere.list()) == []
    assert (folder.root / "cache").is_symlink()


def test_a_full_disk_is_one_clear_error(folder: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    message = (
        rf"^{folder.root}/a/b cannot be written: no space left on device\. "
        r"Free some space there; the same command goes on from where it was\.$"
    )
    folder.write("a/b", b"before")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for broken in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, broken, full)
            with pytest.raises(RunError, match=message):
                folder.write("a/b", b"1")
            assert not list((folder.root / ".tmp").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("dolma_pipeline.storage.local.open", lambda *_, **__: _Full(), raising=False)
        with pytest.raises(RunError, match=message), folder.committing("a/b") as committed:
            committed.write(b"1")
        with pytest.raises(RunError, match=message):
            folder.create("a/b", b"1")
    assert folder.read("a/b") == b"before"


class _Full:
    """A file on a full disk."""

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_device_that_is_full(folder: LocalFolder) -> None:
    """The kernel's own refusal, met when the buffer is flushed."""
    folder.root.mkdir()
    with pytest.raises(RunError, match=r"/a cannot be written: no space left on device\. Free some space there; "):
        with folder.committing("a") as file:
            file._file.flush()
            os.dup2(os.open("/dev/full", os.O_WRONLY), file._file.fileno())
            file.write(b"x" * 10)
    assert names(folder) == []


@pytest.mark.parametrize(
    ("verb", "function", "said"),
    [
        (lambda folder: folder.read("a/b"), "builtins.open", "a/b cannot be read"),
        (lambda folder: folder.stat("a/b"), "os.stat", "a/b cannot be read"),
        (lambda folder: list(folder.list("a")), "os.scandir", "a cannot be read"),
        (lambda folder: folder.write("a/c", b""), "os.replace", "a/c cannot be written"),
        (lambda folder: folder.write("b/c", b""), "os.makedirs", "b/c cannot be written"),
        (lambda folder: folder.create("a/c", b""), "os.link", "a/c cannot be written"),
        (lambda folder: folder.replace("a/c", b"", "1"), "fcntl.flock", "a/c cannot be written"),
        (lambda folder: folder.delete(["a/b"]), "os.unlink", "a/b cannot be deleted"),
        (lambda folder: folder.delete_tree("a"), "os.scandir", "a cannot be deleted"),
        (lambda folder: folder.remove_attempts(), "os.scandir", ".tmp cannot be deleted"),
    ],
)
def test_a_missing_permission_is_one_clear_error(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch, verb: Any, function: str, said: str
) -> None:
    """As another user than root meets it."""
    folder.write("a/b", b"")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(function, denied)
        with pytest.raises(RunError) as caught:
            verb(folder)
    cure = "Give this user the permission, or use another folder."
    assert str(caught.value) == f"{folder.root}/{said}: permission denied. {cure}"


def test_what_stands_in_the_way_is_told(folder: LocalFolder) -> None:
    folder.write("a", b"")
    folder.write("b/c", b"")
    with pytest.raises(
        RunError, match=r"/a/x cannot be written: .*\. A file stands where a folder is needed: take it "
    ):
        folder.write("a/x", b"")
    with pytest.raises(
        RunError, match=r"/b cannot be written: is a directory\. A folder stands where the file is need"
    ):
        folder.write("b", b"")
    assert names(folder) == ["a", "b/c"]
