"""Files that processes of a user have in common: fetched once, by whoever comes first."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.storage.scratch import VARIABLE
from dolma_pipeline.storage.shared import SharedFolder


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedFolder:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "disk"))
    return SharedFolder("things")


def test_it_is_below_the_scratch_disk_and_this_user_s_alone(shared: SharedFolder, tmp_path: Path) -> None:
    assert shared.path.parent == tmp_path / "disk"
    assert shared.path.stat().st_mode & 0o077 == 0


def test_several_at_once_fetch_once(shared: SharedFolder) -> None:
    opened: list[int] = []
    barrier = threading.Barrier(4)

    def fetch() -> None:
        barrier.wait()
        path = SharedFolder("things").file("a/b.bin", lambda: opened.append(1) or io.BytesIO(b"content"))
        assert path.read_bytes() == b"content"

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert opened == [1]
    assert sorted(path.name for path in shared.path.rglob("*") if path.is_file()) == [".lock", "b.bin"]


def test_what_breaks_off_leaves_nothing(shared: SharedFolder) -> None:
    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise RunError("cut")

    with pytest.raises(RunError):
        shared.file("a", Broken)
    assert [path.name for path in shared.path.iterdir()] == [".lock"]
    assert shared.file("a", lambda: io.BytesIO(b"x")).read_bytes() == b"x"


def test_a_name_stays_inside(shared: SharedFolder) -> None:
    with pytest.raises(UsageError):
        shared.file("../a", lambda: io.BytesIO(b"x"))
