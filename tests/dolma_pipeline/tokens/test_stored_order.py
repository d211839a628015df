from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dolma_pipeline.tokens import stored_order
from dolma_pipeline.tokens.order import Order, batch_instances
from dolma_pipeline.tokens.stored_order import StoredShuffles

NUM = 3000


def stored(folder: Path) -> StoredShuffles:
    return StoredShuffles(folder, min_instances=NUM)


def plain(num_instances: int, seed: int) -> list[int]:
    instances = np.arange(num_instances, dtype=np.uint32)
    np.random.Generator(np.random.PCG64(seed)).shuffle(instances)
    return instances.tolist()


def no_shuffle(instances: np.ndarray, seed: int) -> None:
    raise AssertionError("shuffled again")


def is_mapped(array: np.ndarray) -> bool:
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap.mmap)


@pytest.mark.parametrize("seed", [3, 2**127 + 5])
def test_it_is_the_shuffle_of_memory_made_once_and_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(stored_order, "_CHUNK", 1024)  # the last part is shorter
    first = stored(tmp_path / "order")(NUM, seed)
    assert first.tolist() == plain(NUM, seed)
    assert first.dtype == np.uint32
    monkeypatch.setattr(stored_order, "shuffle", no_shuffle)
    again = stored(tmp_path / "order")(NUM, seed)
    assert again.tolist() == first.tolist()
    assert is_mapped(again)
    with pytest.raises(ValueError, match="read-only"):
        again[0] = 1


def test_batches_are_those_of_memory(tmp_path: Path) -> None:
    order = Order(num_instances=NUM, batch_instances=8, seed=7)
    shuffles = stored(tmp_path)
    for step in (1, 375, 376, 1000):  # three epochs
        for rank in range(2):
            given = {"rank": rank, "world_size": 2, "order": order}
            mapped = batch_instances(step, **given, shuffles=shuffles)  # type: ignore[arg-type]
            assert mapped.tolist() == batch_instances(step, **given).tolist()  # type: ignore[arg-type]
            assert is_mapped(mapped)
    assert len([name for name in os.listdir(tmp_path) if not name.startswith(".")]) == 3


def test_small_datasets_leave_no_file(tmp_path: Path) -> None:
    shuffles = stored(tmp_path / "order")
    assert shuffles(NUM - 1, 3).tolist() == plain(NUM - 1, 3)
    assert not (tmp_path / "order").exists()
    shuffles.remove()  # of nothing


def test_what_a_kill_leaves_is_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends between writing and naming, and a file that was cut off."""
    script = (
        "import os; from pathlib import Path; from dolma_pipeline.tokens import stored_order as s; "
        "os.replace = lambda *given: os._exit(9); "
        f"s.StoredShuffles(Path({str(tmp_path)!r}), min_instances=1)({NUM}, 3)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    (left,) = tmp_path.glob(".part-*")
    path = tmp_path / f"{NUM}-3"
    assert not path.exists()
    path.write_bytes(left.read_bytes()[:-4])
    assert stored(tmp_path)(NUM, 3).tolist() == plain(NUM, 3)
    assert sorted(os.listdir(tmp_path)) == [".lock", path.name]


def test_processes_that_come_at_once_get_the_same(tmp_path: Path) -> None:
    script = (
        "import hashlib; from pathlib import Path; from dolma_pipeline.tokens.stored_order import StoredShuffles; "
        f"made = StoredShuffles(Path({str(tmp_path)!r}), min_instances=1)(400_000, 5); "
        "print(hashlib.sha256(made.tobytes()).hexdigest())"
    )
    running = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(3)]
    assert len({process.communicate()[0] for process in running}) == 1
    assert [process.returncode for process in running] == [0] * 3
    assert sorted(os.listdir(tmp_path)) == [".lock", "400000-5"]
    stored(tmp_path).remove()
    assert not tmp_path.exists()


def test_without_locks_it_is_made_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*given: object) -> None:
        raise OSError(stored_order.errno.ENOLCK, "no locks")

    monkeypatch.setattr(stored_order.fcntl, "flock", none)
    (tmp_path / ".part-of-another").write_bytes(b"at work")
    assert stored(tmp_path)(NUM, 3).tolist() == plain(NUM, 3)
    assert (tmp_path / ".part-of-another").exists()
