"""Mapped files: not kept open, readable after they are released, gone with their buffer."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np

from dolma_pipeline.storage.mapped import Mapped


def test_many_files_are_mapped_at_once(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for i in range(300):
        (tmp_path / f"{i}").write_bytes(bytes([i % 251]) * 10_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        maps = [Mapped(tmp_path / f"{i}") for i in range(300)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [one.buffer.to_pybytes()[9_999] for one in maps] == [i % 251 for i in range(300)]


def test_what_was_released_is_read_again(tmp_path: Path) -> None:
    content = np.random.default_rng(1).integers(0, 256, 3_000_000, np.uint8)
    (tmp_path / "a").write_bytes(content.tobytes())
    mapped = Mapped(tmp_path / "a")
    found = np.frombuffer(mapped.buffer, np.uint8)
    before = resident()
    assert (found == content).all()
    touched = resident()
    mapped.release()
    assert touched - resident() > 2_000_000
    assert touched - before > 2_000_000
    assert (found == content).all()


def resident() -> int:
    """Bytes of mapped files that are in this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile"))


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    mapped = Mapped(tmp_path / "a")
    mapped.release()
    assert mapped.buffer.size == 0
