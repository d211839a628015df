"""A run goes on from what is there, if that is what it was: data, order, quarantine; and stops when asked."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.errors import DataError, SettingsChangedError, StoppedError
from dolma_pipeline.train import files
from dolma_pipeline.train.files import Settings, committed_steps, read_settings, write_config
from dolma_pipeline.train.log import Log
from dolma_pipeline.train.signals import Stop, raised_as_interrupts
from dolma_pipeline.train.train import fit, train
from dolma_pipeline.train.world import World

OLD = Path(__file__).parent / "run_of_format_1"


def rows(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def in_world(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`train` joins the processes that there are."""
    monkeypatch.setattr("dolma_pipeline.train.train.joined", lambda **mesh: contextlib.nullcontext(world))


@pytest.mark.usefixtures("in_world")
def test_a_run_of_the_first_format_goes_on_as_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Made by the first version with 8 steps, its checkpoint of step 4 kept; expected is what that version went on to.

    Its order is OLMo-core's, its quarantine lies in `train/`, its commit has no hashes, its settings lack later keys.
    """
    run = tmp_path / "run"
    shutil.copytree(OLD, run)
    model = read_settings(run).model
    monkeypatch.setattr(files, "model_config", lambda name, **_: model)
    recipe = TrainConfig(
        sequence_length=16, batch_tokens=128, max_tokens=1024, warmup_steps=3, save_every_steps=2, keep_last=9
    )
    given = {"vocab_size": 64, "eos_id": 0, "dataset": "sha256:fixture", "seed": 5}
    settings = write_config(run, recipe, **given)  # type: ignore[arg-type]
    assert (settings.train.order, settings.train.save_every_steps, settings.train.keep_last) == ("olmo-core", 2, 9)
    assert "order" not in json.loads((run / "train/config.json").read_text())["train"]
    with pytest.raises(SettingsChangedError, match=r"other settings: train.lr: 0.003 -> 0.5\. Give"):
        write_config(run, dataclasses.replace(recipe, lr=0.5), **given)  # type: ignore[arg-type]
    train(run)
    found, expected = rows(run / "train/metrics.jsonl"), rows(run / "expected_metrics.jsonl")
    assert [row["step"] for row in found] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in expected], rel=1e-5)
    assert [row["grad_norm"] for row in found] == pytest.approx([row["grad_norm"] for row in expected], rel=1e-4)
    assert committed_steps(run) == [4, 6, 8]
    shown = capfd.readouterr().err
    assert "step-000004 is of an earlier version, without digests: not checked" in shown
    assert "order olmo-core, going on after step 4" in shown
    train(run)  # and once more, from a checkpoint of now
    assert rows(run / "train/metrics.jsonl") == found


def test_orders_differ_and_are_kept(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    two = changed(settings, max_tokens=2 * 256)
    losses = {}
    for kind in ("hashed", "olmo-core"):
        fit(tmp_path / kind, settings=changed(two, order=kind), dataset=corpus, world=world)
        losses[kind] = [row["loss"] for row in rows(tmp_path / kind / "train/metrics.jsonl")]
    assert losses["hashed"] != losses["olmo-core"]
    with pytest.raises(DataError, match=r"order.json: .*in another order: kind: 'hashed' -> 'olmo-core'"):
        fit(tmp_path / "hashed", settings=changed(two, order="olmo-core"), dataset=corpus, world=world)
    before = (tmp_path / "hashed/train/order.json").read_bytes()
    with pytest.raises(DataError, match=r"order.json: .*num_instances: 512 -> 500"):
        fit(tmp_path / "hashed", settings=two, dataset=corpus[:500], world=world)
    assert (tmp_path / "hashed/train/order.json").read_bytes() == before
    (tmp_path / "hashed/train/order.json").write_bytes(before[:20])
    with pytest.raises(DataError, match=r"order.json: damaged: not valid JSON"):
        fit(tmp_path / "hashed", settings=two, dataset=corpus, world=world)


@pytest.mark.usefixtures("in_world")
def test_the_data_is_that_of_the_settings(
    tmp_path: Path, settings: Settings, make_run: Callable[[Path, Settings], Path]
) -> None:
    run = make_run(tmp_path / "run", settings)
    path = run / "tokens/manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"dataset": "sha256:other"}))
    with pytest.raises(DataError, match=r"manifest.json: dataset is sha256:other, but training is of sha256:toy"):
        train(run)
    path.write_text(json.dumps(manifest | {"shards": {"file": "shards.jsonl", "sha256": "0"}}))
    with pytest.raises(DataError, match=r"shards.jsonl: gone, or not the list that .*manifest.json tells of"):
        train(run)
    output = {"path": "train/part-00000.npy", "bytes": 512 * 32 + 32}
    line = json.dumps({"shard": "part-00000", "outputs": [output]}).encode() + b"\n"
    (run / "tokens/shards.jsonl").write_bytes(line)
    shards = {"file": "shards.jsonl", "sha256": hashlib.sha256(line).hexdigest()}
    path.write_text(json.dumps(manifest | {"shards": shards}))
    with pytest.raises(DataError, match=r"part-00000.npy: 16,384 bytes, where .*shards.jsonl lists 16,416"):
        train(run)


def test_a_line_by_hand_counts_from_its_step_on_whenever_it_was_written(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes out follows from settings and file alone: a line may come during a run, if its step does."""
    line = "".join(f'{{"instance": {i}, "step": {4 if i < 250 else 6}}}\n' for i in range(500))
    whole, later, plain = tmp_path / "whole", tmp_path / "later", tmp_path / "plain"
    for run, text in ((whole, line), (plain, None)):
        run.mkdir()
        if text:
            (run / "quarantine.jsonl").write_text(text)
        fit(run, settings=settings, dataset=corpus, world=world)
    shutil.copytree(plain, later)
    for step in (8, 12):
        shutil.rmtree(later / f"train/step-{step:06d}")
    (later / "quarantine.jsonl").write_text(line)
    fit(later, settings=settings, dataset=corpus, world=world)
    assert contents(later / "train") == contents(whole / "train")
    counted, all_counted = (rows(run / "train/metrics.jsonl") for run in (whole, plain))
    differ = [row["step"] for row, other in zip(counted, all_counted, strict=True) if row["loss"] != other["loss"]]
    assert differ == [5, 6, 7, 8, 9, 10, 11, 12]
    (later / "quarantine.jsonl").write_text(line + '{"instance": 7}\n')
    with pytest.raises(DataError, match=r"lines by hand with a step below 12 are others"):
        fit(later, settings=settings, dataset=corpus, world=world)
    (later / "quarantine.jsonl").write_text('{"instance": 512}\n')
    with pytest.raises(DataError, match=r"quarantine.jsonl:1: instance 512, but there are 512"):
        fit(later, settings=settings, dataset=corpus, world=world)


def test_checkpoints_that_do_not_stay_go(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    fit(tmp_path, settings=changed(settings, keep_last=1, keep_every_steps=8), dataset=corpus, world=world)
    assert sorted(p.name for p in (tmp_path / "train").glob("step-*")) == ["step-000000", "step-000008", "step-000012"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_finishes_the_step_and_saves(
    tmp_path: Path,
    world: World,
    corpus: np.ndarray,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    written, before = Log.step, signal.getsignal(number)

    def signalling(self: Log, step: int, **numbers: float) -> None:
        if step == 6:
            os.kill(os.getpid(), number)
        written(self, step, **numbers)  # type: ignore[arg-type]

    stop = Stop()
    with monkeypatch.context() as patch, stop.on_signals():
        patch.setattr(Log, "step", signalling)
        with pytest.raises(StoppedError, match=r"step 6 of 12 is saved; the same command goes on from there") as caught:
            fit(stopped, settings=settings, dataset=corpus, world=world, stop=stop)
        assert signal.getsignal(number) is before  # another one ends the process
    assert caught.value.exit_code == 143
    assert stop.by == number.name
    assert committed_steps(stopped) == [0, 4, 6]
    fit(stopped, settings=settings, dataset=corpus, world=world)
    fit(whole, settings=settings, dataset=corpus, world=world)
    shutil.rmtree(stopped / "train/step-000006")
    assert contents(stopped / "train") == contents(whole / "train")


def test_a_launcher_hears_signals_as_interrupts() -> None:
    with raised_as_interrupts(), pytest.raises(KeyboardInterrupt, match="SIGUSR1"):
        os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
