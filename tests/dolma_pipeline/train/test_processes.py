from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.errors import RunError, StoppedError, UsageError
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


SAVING = """
import os, sys
print("train: step 1", flush=True)
if len(sys.argv) == 1:
    assert os.read(0, 1) == b"s"
print("train: stopped: step 2 of 9 is saved; the same command goes on from there", flush=True)
raise SystemExit(143)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_an_interrupt_waits_until_all_is_saved(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    """The processes are asked through their standard input, which torchrun leaves them."""
    log = tmp_path / "log.txt"

    def interrupt() -> None:
        wait_for(lambda: log.exists() and "step 1" in log.read_text())
        os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt) as caught:
            supervise(["-c", SAVING], name="train", log=log, threads=1, saves=True)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert str(caught.value) == ("" if number == signal.SIGINT else number.name)
    assert "step 2 of 9 is saved" in log.read_text()
    assert "train: finishing the step and saving" in capfd.readouterr().err


def test_processes_that_were_asked_by_others_and_have_saved(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match=r"^train: stopped: step 2 of 9 is saved") as caught:
        supervise(["-c", SAVING, "asked"], name="train", log=tmp_path / "log.txt", threads=1, saves=True)
    assert caught.value.exit_code == 143


@pytest.mark.slow
def test_one_process_of_two_is_killed_and_the_same_call_goes_on(
    tmp_path: Path,
    settings: Settings,
    changed: Callable[..., Settings],
    make_run: Callable[[Path, Settings], Path],
) -> None:
    longer = changed(settings, max_tokens=160 * 256, save_every_steps=20)
    run, whole = make_run(tmp_path / "run", longer), make_run(tmp_path / "whole", longer)
    killed = []

    def kill() -> None:
        wait_for(lambda: len(committed_steps(run)) >= 2)
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it ended, or is another user's
                words, variables = ((place / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
                if str(run).encode() in words and b"RANK=1" in variables:
                    os.kill(int(place.name), signal.SIGKILL)
                    killed.append(int(place.name))

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(RunError, match=r"^train: it ended with exit code 1"):
        launch(run, processes=2)
    thread.join()
    assert len(killed) == 1
    assert committed_steps(run)[-1] < 160
    launch(run, processes=2)
    launch(whole, processes=2)
    for name in ("train/metrics.jsonl", "train/step-000160/commit.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_killed_before_any_file_the_same_call_goes_on(
    tmp_path: Path, settings: Settings, make_run: Callable[[Path, Settings], Path]
) -> None:
    """kill -9 at every few changes of the folder, between the files of checkpoints too: each time it goes on, and ends
    with the bytes of a run that nobody killed."""
    run, whole = make_run(tmp_path / "run", settings), make_run(tmp_path / "whole", settings)
    script = Path(__file__).with_name("killed.py")
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, script, run, whole],
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    points = json.loads(done.stdout)
    assert len({point.split(":")[0] for point in points}) >= 4, points  # opened, renamed, removed, made folders
    assert any(".metadata" in point for point in points), points
    assert any("commit.json" in point for point in points), points
    trees = [
        {str(p.relative_to(each)): p.read_bytes() for p in (each / "train").rglob("*") if p.is_file()}
        for each in (run, whole)
    ]
    trees = [{name: content for name, content in tree.items() if not name.endswith(".tmp")} for tree in trees]
    assert trees[0] == trees[1]


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


def test_memory_stays_with_children_unless_the_user_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(processes.ALLOCATOR)
    script = f"import os; print(*[os.environ.get(name) for name in {names!r}])"
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_TOP_PAD_", "7")
    for library, expected in (("glibc", "0 7 8589934592\n"), ("", "None 7 None\n")):
        monkeypatch.setattr(processes.platform, "libc_ver", lambda library=library: (library, ""))
        supervise(["-c", script], name="train", log=tmp_path / "log.txt", threads=1)
        assert (tmp_path / "log.txt").read_text() == expected


def test_micro_batches_are_looked_at_before_anything_starts(
    tmp_path: Path, settings: Settings, changed: Callable[..., Settings], make_run: Callable[[Path, Settings], Path]
) -> None:
    run = make_run(tmp_path / "run", changed(settings, micro_batch_tokens=8 * 32))
    with pytest.raises(UsageError, match=r"train.micro_batch_tokens is 256, but each of 2 processes has 4 sequences"):
        launch(run, processes=2)


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
