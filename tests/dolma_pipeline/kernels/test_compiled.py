"""Marks say what is compiled of the kernels as they are; old machine code is removed, and only our own."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.errors import UsageError
from dolma_pipeline.kernels import compiled
from dolma_pipeline.kernels.compiled import Compiled


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """numba's folder with files of two kernels, of unknown sources; marks go to the folder that holds it."""
    folder = tmp_path / "numba"
    folder.mkdir()
    for name in ("words._split-1.py311.nbi", "words._split-1.py311.1.nbc", "lines._strip-2.py311.nbi", "notes.txt"):
        (folder / name).touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled, "numba_folder", lambda: folder)
    return folder


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of kernels that may be changed."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "words.py").write_text("one")
    (folder / "hashing.py").write_text("two")
    monkeypatch.setattr(compiled, "PACKAGE", folder)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_mark_holds_until_something_changes(stored: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Compiled()
    first.remove_stale()
    (stored / "words._split-1.py311.nbi").touch()
    assert first.missing(["words"]) == ["words"]
    first.mark("words")
    assert first.missing(["words"]) == []
    assert Compiled().missing(["words"]) == []
    assert Compiled().missing(["lines"]) == ["lines"]
    monkeypatch.setattr(compiled, "version", lambda name: "another")
    assert Compiled().missing(["words"]) == ["words"]
    monkeypatch.undo()


@pytest.mark.parametrize("named", [True, False])
def test_a_processor_that_is_named_counts_and_not_the_one_that_is_here(
    stored: Path, sources: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """An image of workers is compiled on one machine and used on others."""
    monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64-v3" if named else "")
    first = Compiled()
    first.remove_stale()
    (stored / "words._split-1.py311.nbi").touch()
    first.mark("words")
    real = Path.read_text

    def other(path: Path, **more: Any) -> str:
        found = real(path, **more)
        return found.replace("flags", "flags_of_another") if path == Path("/proc/cpuinfo") else found

    if not Path("/proc/cpuinfo").exists():
        pytest.skip("processors are told in /proc/cpuinfo on Linux alone")
    monkeypatch.setattr(Path, "read_text", other)
    assert Compiled().missing(["words"]) == ([] if named else ["words"])
    monkeypatch.setenv("NUMBA_CPU_NAME", "skylake")
    assert Compiled().missing(["words"]) == ["words"]


@pytest.mark.parametrize("how", ["content", "time", "new file"])
def test_changed_sources_are_not_what_was_compiled(stored: Path, sources: Path, how: str) -> None:
    first = Compiled()
    first.remove_stale()
    (stored / "words._split-1.py311.nbi").touch()
    first.mark("words")
    hashing = sources / "hashing.py"
    before = hashing.stat()
    if how == "content":
        hashing.write_text("owt")
        os.utime(hashing, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif how == "time":
        os.utime(hashing, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    else:
        (sources / "more.py").touch()
    now = Compiled()
    assert now.missing(["words"]) == ["words"]
    now.remove_stale()
    assert names(stored) == {"notes.txt"}
    assert first.missing(["words"]) == ["words"], "the old marks are gone with the old files"
    now.mark("words")
    assert now.missing(["words"]) == ["words"], "a mark is nothing without numba's file"


def test_files_of_these_sources_stay(stored: Path, sources: Path) -> None:
    Compiled().remove_stale()
    (stored / "words._split-1.py311.nbi").touch()
    Compiled().remove_stale()
    assert names(stored) == {"words._split-1.py311.nbi", "notes.txt"}


def test_two_checkouts_share_a_folder_of_marks(stored: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Compiled().remove_stale()
    (stored / "words._split-1.py311.nbi").touch()
    Compiled().mark("words")
    other = sources.with_name("other")
    other.mkdir()
    monkeypatch.setattr(compiled, "PACKAGE", other)
    monkeypatch.setattr(compiled, "numba_folder", lambda: other / "empty")
    assert Compiled().missing(["words"]) == ["words"]
    Compiled().remove_stale()
    monkeypatch.setattr(compiled, "PACKAGE", sources)
    assert Compiled().missing(["words"]) == []


def test_files_of_another_user_are_left_and_told(stored: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names(stored)
    monkeypatch.setattr(os, "getuid", lambda: stored.stat().st_uid + 1)
    with pytest.raises(UsageError, match="belongs to another user") as told:
        Compiled().remove_stale()
    assert str(stored) in str(told.value)
    assert "3 files *.nbi and *.nbc" in str(told.value)
    assert "NUMBA_CACHE_DIR" in str(told.value)
    assert names(stored) == before


def test_where_nothing_can_be_written_nothing_is_marked_and_nothing_breaks(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(compiled, "numba_folder", lambda: tmp_path / "none")
    with Compiled().locked(wait=pytest.fail):
        Compiled().remove_stale()
        Compiled().mark("words")
    assert Compiled().missing(["words"]) == ["words"]


def test_marks_lie_beside_the_modules_else_with_the_user(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    stored = tmp_path / "numba"
    stored.mkdir()
    monkeypatch.setattr(compiled, "numba_folder", lambda: stored)
    Compiled().remove_stale()
    assert names(sources / "__pycache__") == {Compiled()._name}
    (sources / "__pycache__" / Compiled()._name).unlink()
    (sources / "__pycache__").rmdir()
    (sources / "__pycache__").touch()  # as if it could not be written to, which root always can
    Compiled().remove_stale()
    (stored / "words.f-1.py311.nbi").touch()
    Compiled().mark("words")
    assert len(names(tmp_path / "home" / "dolma_pipeline")) == 2
    assert Compiled().missing(["words"]) == []


def test_one_process_at_a_time(stored: Path, sources: Path) -> None:
    waited: list[str] = []
    with Compiled().locked(wait=lambda: waited.append("first")):
        lock = next(stored.parent.glob("*.lock"))
        code = f"import fcntl; fcntl.flock(open({str(lock)!r}, 'wb'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 1
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def release() -> None:
            waited.append("second")
            fcntl.flock(held, fcntl.LOCK_UN)

        with Compiled().locked(wait=release):
            assert waited == ["second"]


def test_numbas_folder_is_that_of_the_kernels() -> None:
    code = (
        "from dolma_pipeline.kernels import compiled, hashing\n"
        "print(compiled.numba_folder(), hashing.mix.stats.cache_path)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.split()
    assert first == second
