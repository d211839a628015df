from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.train import processes
from dolma_pipeline.train.checkpoint import load_model
from dolma_pipeline.train.files import Settings, committed_steps
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.processes import launch, resolve_processes, supervise
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.world import World
from tests.processes import wait_for


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "train/metrics.jsonl").read_text().splitlines()]


def weights(run: Path, step: int, settings: Settings) -> list[torch.Tensor]:
    model = Decoder(settings.model)
    load_model(run, step, model=model)
    return [p.detach() for p in model.parameters()]


def test_two_processes_train_as_one_does(
    tmp_path: Path,
    world: World,
    corpus: np.ndarray,
    settings: Settings,
    make_run: Callable[[Path, Settings], Path],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same first weights bit for bit, the same instances, so the same losses but for the order of sums.

    A process whose teardown aborts, as gloo's threads can make it, has trained all the same.
    """
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, os\nif 'RANK' in os.environ:\n    atexit.register(os.abort)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    one, two = tmp_path / "one", make_run(tmp_path / "two", settings)
    quarantine = "".join(f'{{"instance":{i},"reason":"by hand","step":0}}\n' for i in range(0, 512, 5))
    for run in (one, two):  # masks fall unevenly on processes, which must not matter
        run.mkdir(exist_ok=True)
        (run / "quarantine.jsonl").write_text(quarantine)
    launch(two, processes=2)
    fit(one, settings=settings, dataset=corpus, world=world)
    for a, b in zip(weights(one, 0, settings), weights(two, 0, settings), strict=True):
        assert torch.equal(a, b)
    ours, theirs = metrics(two), metrics(one)
    assert ours[0]["loss"] == pytest.approx(theirs[0]["loss"], rel=1e-7)
    assert [row["loss"] for row in ours] == pytest.approx([row["loss"] for row in theirs], rel=1e-5)
    assert [row["grad_norm"] for row in ours] == pytest.approx([row["grad_norm"] for row in theirs], rel=1e-4)
    assert (one / "train/order.json").read_bytes() == (two / "train/order.json").read_bytes()
    assert sorted(p.name for p in (two / "train/step-000012/model_and_optim").glob("*.distcp")) == [
        "__0_0.distcp",
        "__1_0.distcp",
    ]
    shown = capfd.readouterr().err
    assert "train: step 12/12, loss" in shown
    assert "2 x cpu" in shown


@pytest.mark.parametrize("num_processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_launcher_takes_its_processes_along_and_the_same_call_goes_on(
    num_processes: int,
    tmp_path: Path,
    world: World,
    corpus: np.ndarray,
    settings: Settings,
    changed: Callable[..., Settings],
    make_run: Callable[[Path, Settings], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "num_cores", lambda: 1)
    longer = changed(settings, max_tokens=160 * 256, save_every_steps=20)
    run, whole = make_run(tmp_path / "run", longer), make_run(tmp_path / "whole", longer)
    call = (
        "from pathlib import Path; from dolma_pipeline.train import launch, processes; "
        f"processes.num_cores = lambda: 1; launch(Path({str(run)!r}), processes={num_processes})"
    )
    launcher = subprocess.Popen([sys.executable, "-c", call], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(committed_steps(run)) >= 2)
    finally:
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
    size = -1

    def quiet() -> bool:
        nonlocal size
        time.sleep(0.5)
        before, size = size, (run / "train/metrics.jsonl").stat().st_size
        return before == size

    wait_for(quiet)
    reached = committed_steps(run)[-1]
    assert reached < 160, "the process went on without its launcher"
    launch(run, processes=num_processes)
    if num_processes == 1:
        fit(whole, settings=longer, dataset=corpus, world=world)
    else:
        launch(whole, processes=num_processes)
    assert (run / "train/metrics.jsonl").read_bytes() == (whole / "train/metrics.jsonl").read_bytes()
    for a, b in zip(weights(run, 160, settings), weights(whole, 160, settings), strict=True):
        assert torch.equal(a, b)
    assert f"going on after step {reached}" in (run / "log/train.txt").read_text()


def test_data_is_looked_at_before_anything_starts(
    tmp_path: Path, settings: Settings, changed: Callable[..., Settings], make_run: Callable[[Path, Settings], Path]
) -> None:
    with pytest.raises(RunError, match="This run has not been trained"):
        launch(tmp_path, processes=1)
    run = make_run(tmp_path / "run", changed(settings, batch_tokens=1024 * 32))
    with pytest.raises(UsageError, match="the dataset has 512 instances, fewer than the 1024 of one batch"):
        launch(run, processes=1)


def test_an_error_of_a_child_is_told(tmp_path: Path, settings: Settings, make_run: Callable[..., Path]) -> None:
    run = make_run(tmp_path / "run", settings)
    np.full(8192, 255, np.uint8).tofile(run / "tokens/train/part-00001.npy")
    config = json.loads((run / "train/config.json").read_text())
    config["model"]["vocab_size"] = 200
    (run / "train/config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"^train: instance \d+: token 0 is 255, but the vocabulary has 200 ids"):
        supervise(["-m", "dolma_pipeline.train", str(run)], name="train", log=run / "log/train.txt", threads=1)


def test_lines_are_shown_or_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script = "print('train: half way'); print('chatter'); raise SystemExit(3)"
    with pytest.raises(RunError, match=r"it ended with exit code 3; the end of its log:\nchatter\nIts log: .*log.txt"):
        supervise(["-c", script], name="train", log=tmp_path / "log.txt", threads=1)
    assert (tmp_path / "log.txt").read_text() == "train: half way\nchatter\n"
    assert capfd.readouterr().err == "train: half way\n"
    with pytest.raises(RunError, match="it ended with signal SIGKILL"):
        supervise(["-c", "import os; os.kill(os.getpid(), 9)"], name="train", log=tmp_path / "log.txt", threads=1)


def test_an_interrupt_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*words: object, **rest: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", interrupted)
    script = "import os, sys, time; sys.stdout.write(f'train: {os.getpid()}\\n'); sys.stdout.flush(); time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        supervise(["-c", script], name="train", log=tmp_path / "log.txt", threads=1)
    pid = int((tmp_path / "log.txt").read_text().split()[1])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_how_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(sequence_length=32, batch_tokens=6 * 32)
    monkeypatch.setattr(processes, "num_gpus", lambda: 0)
    monkeypatch.setattr(processes, "num_cores", lambda: 16)
    assert resolve_processes(config) == 2
    monkeypatch.setattr(processes, "num_cores", lambda: 1)
    assert resolve_processes(config) == 1
    monkeypatch.setattr(processes, "num_gpus", lambda: 8)
    assert resolve_processes(config) == 6  # the largest that shares a batch of 6 out evenly
    assert resolve_processes(TrainConfig(sequence_length=32, batch_tokens=6 * 32, processes=3)) == 3
    with pytest.raises(UsageError, match=r"train.processes is 4, but a batch has 6 sequences"):
        resolve_processes(TrainConfig(sequence_length=32, batch_tokens=6 * 32, processes=4))


def test_gpus_are_counted() -> None:
    assert processes.num_gpus() == torch.cuda.device_count()


def test_without_torch_the_cure_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"need torch, which is not here: pip install 'dolma-pipeline\[train\]'"):
        launch(tmp_path, processes=1)


def test_the_packages_load_without_torch() -> None:
    script = (
        "import sys, dolma_pipeline.train, dolma_pipeline.evals; "
        "print(sorted({'torch', 'numba', 'apache_beam', 'duckdb', 'presidio_analyzer'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
