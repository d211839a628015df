"""A run's folder on this machine's disk while a model is trained or scored; what is made comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dolma_pipeline.errors import RunError
from dolma_pipeline.storage import staged as staging
from dolma_pipeline.storage.folder import RunFolder, run_folder
from dolma_pipeline.storage.scratch import Scratch
from dolma_pipeline.storage.staged import staged

UNDER = ("tokens", "tokenizer", "train")
BEFORE = {
    "tokens/manifest.json": b"{}",
    "tokens/train/part-00000.npy": b"12345",
    "tokenizer/tokenizer.json": b"{}",
    "mix/plan.json": b"{}",
    "train/config.json": b"c",
    "train/metrics.jsonl": b'{"step": 1}\n',
    "train/step-000000/model_and_optim/.metadata": b"m0",
    "train/step-000000/commit.json": b"0",
    "train/step-000010/model_and_optim/.metadata": b"m10",
    "train/step-000010/commit.json": b"10",
    "train/step-000020/model_and_optim/__1_0.distcp": b"of a try with two processes, which was killed",
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    folder = run_folder(f"memory://{tmp_path.name}")
    for name, content in BEFORE.items():
        folder.write(name, content)
    yield folder
    folder.delete([entry.name for entry in list(folder.list())])


def newest(folder: RunFolder) -> AbstractContextManager[Path]:
    return staged(folder, Scratch(), under=UNDER, steps=lambda whole: whole[-1:])


def contents(folder: RunFolder) -> dict[str, bytes]:
    return {entry.name: folder.read(entry.name) for entry in folder.list()}


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def step(number: int) -> dict[str, bytes]:
    return {
        f"train/step-{number:06d}/model_and_optim/.metadata": b"m",
        f"train/step-{number:06d}/model_and_optim/__0_0.distcp": b"weights",
    }


def test_a_folder_of_this_machine_is_worked_in(tmp_path: Path) -> None:
    with staged(run_folder(str(tmp_path)), Scratch(), under=UNDER, steps=lambda whole: whole) as place:
        assert place == tmp_path


@pytest.mark.parametrize(("wanted", "there"), [("newest", {"000010"}), ("ends", {"000000", "000010"})])
def test_tokens_and_the_checkpoints_that_are_needed_are_copied(
    folder: RunFolder, capsys: pytest.CaptureFixture[str], wanted: str, there: set[str]
) -> None:
    choose = {"newest": lambda whole: whole[-1:], "ends": lambda whole: [whole[0], whole[-1]]}[wanted]
    with staged(folder, Scratch(), under=UNDER, steps=choose) as place:
        found = {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    steps = {name for name in BEFORE if name.startswith("train/step-") and name[11:17] in there}
    expected = {name for name in BEFORE if name.startswith(("tokens/", "tokenizer/")) or name.count("/") == 1} | steps
    assert found == {name: BEFORE[name] for name in expected - {"mix/plan.json"}}
    assert f"copying {len(found)} files, 0 MB, from {folder.url}" in capsys.readouterr().err
    assert not place.exists()
    assert contents(folder) == BEFORE


def test_a_checkpoint_comes_back_when_it_is_whole_its_commit_last(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "POLL_SECONDS", 0.01)
    put: list[str] = []
    old_put, old_write = type(folder).put, type(folder).write

    def noted_put(self: RunFolder, name: str, path: Path) -> None:
        put.append(name)
        old_put(self, name, path)

    def noted_write(self: RunFolder, name: str, content: bytes) -> None:
        put.append(name)
        old_write(self, name, content)

    monkeypatch.setattr(type(folder), "put", noted_put)
    monkeypatch.setattr(type(folder), "write", noted_write)
    with newest(folder) as place:
        write(place, {**step(20), "train/metrics.jsonl": b'{"step": 1}\n{"step": 20}\n'})
        time.sleep(0.2)
        assert put == []  # it is not whole
        write(place, {"train/step-000020/commit.json": b"20", "train/.0123456789abcdef.tmp": b"half of a file"})
        end = time.monotonic() + 20
        while folder.stat("train/step-000020/commit.json") is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert put == [*step(20), "train/metrics.jsonl", "train/step-000020/commit.json"]
        write(place, {**step(30), "log/train.txt": b"said", "train/metrics.jsonl": b'{"step": 30}\n'})
    found = contents(folder)
    leftover = "train/step-000020/model_and_optim/__1_0.distcp"
    made = {**step(20), "train/step-000020/commit.json": b"20", "train/metrics.jsonl": b'{"step": 30}\n'}
    assert found == {**{n: c for n, c in BEFORE.items() if n != leftover}, **made, "log/train.txt": b"said"}


def test_what_was_made_comes_back_though_the_block_fails(folder: RunFolder) -> None:
    with pytest.raises(RunError, match="boom"), newest(folder) as place:
        write(place, {**step(20), "train/step-000020/commit.json": b"20", "log/train.txt": b"why"})
        raise RunError("boom")
    assert folder.read("train/step-000020/commit.json") == b"20"
    assert folder.read("log/train.txt") == b"why"
    assert not place.exists()


def test_a_store_that_refuses_a_checkpoint_is_told(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "POLL_SECONDS", 0.01)
    refused = threading.Event()

    def refuse(self: RunFolder, name: str, path: Path) -> None:
        refused.set()
        raise RunError("no room")

    monkeypatch.setattr(type(folder), "put", refuse)
    with pytest.raises(RunError, match="no room"), newest(folder) as place:
        write(place, {**step(20), "train/step-000020/commit.json": b"20"})
        assert refused.wait(20)
    assert folder.stat("train/step-000020/commit.json") is None


def test_checkpoints_that_do_not_stay_go_from_the_store_too(folder: RunFolder) -> None:
    """Those of before too, of which the copy has only the newest; a file beside the folders is read and put back."""
    folder.write("quarantine.jsonl", b"by hand\n")
    under = (*UNDER, "quarantine.jsonl")
    with staged(folder, Scratch(), under=under, steps=lambda whole: whole[-1:], keep=lambda whole: whole[-2:]) as place:
        assert (place / "quarantine.jsonl").read_bytes() == b"by hand\n"
        write(place, {"quarantine.jsonl": b"by hand\nby train\n", **step(30), "train/step-000030/commit.json": b"30"})
    assert folder.read("quarantine.jsonl") == b"by hand\nby train\n"
    names = {name.split("/")[1] for name in contents(folder) if name.startswith("train/step-")}
    assert names == {"step-000010", "step-000020", "step-000030"}  # 20 was never whole
    assert not [name for name in contents(folder) if name.startswith("train/step-000000/")]


def test_a_damaged_checkpoint_takes_no_good_one_away_from_the_store(folder: RunFolder) -> None:
    """Training went on from step 0, as 10 is damaged; of what it makes the last one stays, and 10 does not."""
    with staged(folder, Scratch(), under=UNDER, steps=lambda whole: whole, keep=lambda whole: whole[-1:]) as place:
        write(place, {f"train/step-000006/{name}": b"6" for name in ("model_and_optim/.metadata", "commit.json")})
    names = {name.split("/")[1] for name in contents(folder) if name.endswith("/commit.json")}
    assert names == {"step-000006"}
