"""Models from a run's folder to the disk of a worker's machine."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from dolma_pipeline import assets
from dolma_pipeline.assets import ASSETS, Asset
from dolma_pipeline.engines.beam import OnBeam
from dolma_pipeline.engines.bringing import bring_assets
from dolma_pipeline.errors import AssetError, RunError, UnknownNameError
from dolma_pipeline.run.phase import Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import read_records
from dolma_pipeline.run.run import Run
from dolma_pipeline.storage.memory import MemoryFolder
from dolma_pipeline.storage.scratch import VARIABLE
from tests.dolma_pipeline.engines.toys import Many, memory_run

CONTENT = b"weights of a model"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """On a machine that has nothing: another cache, another disk."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "scratch"))
    monkeypatch.setenv(assets.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setitem(ASSETS, "toy", Asset("toy", "toy.bin", SHA256, len(CONTENT), "CC0-1.0", "a toy", ()))
    return memory_run()


def test_a_model_is_read_from_the_run_s_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssetError, match="fetch toy"):
        assets.asset("toy")
    run.folder.write(f"assets/{SHA256}/toy.bin", CONTENT)
    fetched: list[str] = []
    real = MemoryFolder.stream
    monkeypatch.setattr(MemoryFolder, "stream", lambda folder, name: fetched.append(name) or real(folder, name))
    bring_assets(run)
    assert assets.asset("toy").read_bytes() == CONTENT
    bring_assets(run)
    Process.leave()  # another process of the machine
    bring_assets(run)
    assert fetched == [f"assets/{SHA256}/toy.bin"]


def test_what_is_not_what_it_should_be_is_refused(run: Run) -> None:
    run.folder.write(f"assets/{SHA256}/toy.bin", b"something else")
    bring_assets(run)
    with pytest.raises(AssetError, match="is not the asset 'toy'"):
        assets.asset("toy")


def test_without_models_nothing_changes(run: Run, tmp_path: Path) -> None:
    bring_assets(run)
    assert assets.FOLDER_VARIABLE not in os.environ
    assert not list(tmp_path.glob("scratch/dolma-shared-*"))


def test_a_folder_that_others_can_write_is_not_used(run: Run, tmp_path: Path) -> None:
    run.folder.write(f"assets/{SHA256}/toy.bin", CONTENT)
    place = tmp_path / "scratch" / f"dolma-shared-assets-{os.getuid()}"
    place.mkdir(parents=True)
    place.chmod(place.stat().st_mode | stat.S_IWOTH)
    with pytest.raises(RunError, match="not a folder that only this user can write"):
        bring_assets(run)


@dataclass(frozen=True)
class Reads(Many):
    """Tasks that read the model."""

    def work(self, process: Process, task: Task) -> Work:
        return Work(more={"bytes": len(assets.asset("toy").read_bytes())})


def test_workers_of_a_runner_find_it(run: Run) -> None:
    phase = Reads(num_tasks=2)
    with pytest.raises(AssetError, match="fetch toy"):
        OnBeam("FnApiRunner").run(run, [phase])
    run.folder.write(f"assets/{SHA256}/toy.bin", CONTENT)
    Process.leave()
    OnBeam("FnApiRunner").run(run, [phase])
    found = [record["more"]["bytes"] for record in read_records(run, phase, phase.tasks(run))]
    assert found == [len(CONTENT)] * 2


def test_a_launcher_gives_what_its_cache_has(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "cache" / SHA256 / "toy.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    given: dict[str, bytes] = {}
    assets.upload(["toy", "toy"], given.__setitem__)
    assert given == {f"{SHA256}/toy.bin": CONTENT}
    with pytest.raises(UnknownNameError):
        assets.upload(["toi"], given.__setitem__)
