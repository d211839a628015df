from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dolma_pipeline.errors import UsageError
from dolma_pipeline.tokens.order import Order
from dolma_pipeline.train import objective
from dolma_pipeline.train.data import read_batch
from dolma_pipeline.train.files import Settings, committed_steps
from dolma_pipeline.train.log import Log
from dolma_pipeline.train.model import IGNORED, Decoder, nats
from dolma_pipeline.train.shard import build
from dolma_pipeline.train.step import forward_backward
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.world import World

GOLDEN = Path(__file__).parents[2] / "golden" / "train_loss.json"
POISON = 250


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in lines(run / "train" / "metrics.jsonl")]  # type: ignore[misc]


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of the label POISON overflows, and its gradient with it."""

    def overflowing(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nats(logits, labels) * torch.where(labels == POISON, math.inf, 1.0)

    monkeypatch.setattr(objective, "nats", overflowing)


def test_the_loss_falls_far_below_the_entropy_of_single_ids(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    counts = np.bincount(corpus.ravel())
    share = counts[counts > 0] / counts.sum()
    entropy = float(-(share * np.log(share)).sum())
    longer = changed(settings, max_tokens=150 * settings.train.batch_tokens, lr=0.01, save_every_steps=1000)
    fit(tmp_path, settings=longer, dataset=corpus, world=world)
    assert losses(tmp_path)[0] > entropy  # about ln 256
    assert np.mean(losses(tmp_path)[-10:]) < entropy - 1.5


def test_losses_are_those_of_before(tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings) -> None:
    """Relative 1e-4, as other processors and thread counts round otherwise, which 12 steps amplify to about 1e-6; a
    change of the model, data order, optimizer or schedule shows from 1e-3 on. DOLMA_PIPELINE_WRITE_GOLDEN=1 renews it.
    """
    fit(tmp_path, settings=settings, dataset=corpus, world=world)
    rows = lines(tmp_path / "train" / "metrics.jsonl")
    found = {name: [row[name] for row in rows] for name in ("loss", "grad_norm", "lr")}
    if os.environ.get("DOLMA_PIPELINE_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps({"settings": settings.as_dict(), **found}, indent=1, sort_keys=True) + "\n")
    golden = json.loads(GOLDEN.read_text())
    now = settings.as_dict()
    for section in ("train", "model"):  # settings that came later have their defaults, which change nothing
        assert golden["settings"][section].items() <= now[section].items()
    for name, values in found.items():
        assert values == pytest.approx(golden[name], rel=1e-4), name


def test_the_first_steps_are_clipped_to_a_larger_norm(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    """Norms are between 1.9 and 3.3 here, so that 1 clips all of them and 10 none."""
    runs = {
        "always": changed(settings),
        "never": changed(settings, max_grad_norm=10.0),
        "not at first": changed(settings, grad_clip_warmup_steps=6),
        "not in this run": changed(settings, grad_clip_warmup_steps=12, grad_clip_warmup_factor=10.0),
    }
    for name, one in runs.items():
        fit(tmp_path / name, settings=one, dataset=corpus, world=world)
    found = {name: losses(tmp_path / name) for name in runs}
    assert found["not in this run"] == found["never"] != found["always"]
    # the first loss that clipping in step 7 can change is that of step 8
    assert found["not at first"][:7] == found["never"][:7]
    assert found["not at first"][7:] != found["never"][7:]


def test_what_a_run_leaves(tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings) -> None:
    fit(tmp_path, settings=settings, dataset=corpus, world=world)
    assert committed_steps(tmp_path) == [0, 4, 8, 12]
    commit = json.loads((tmp_path / "train/step-000008/commit.json").read_text())
    assert (commit["format"], commit["step"], commit["tokens"], commit["quarantine"]) == (2, 8, 8 * 256, "")
    assert sorted(commit["files"]) == ["model_and_optim/.metadata", "model_and_optim/__0_0.distcp"]
    assert json.loads((tmp_path / "train/order.json").read_text()) == {
        "format": 1,
        "dataset": "sha256:toy",
        "num_instances": 512,
        "batch_instances": 8,
        "sequence_length": 32,
        "num_steps": 12,
        "seed": 5,
        "kind": "hashed",
    }
    rows = lines(tmp_path / "train/metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["tokens"] for row in rows] == [256 * step for step in range(1, 13)]
    assert {tuple(row) for row in rows} == {("grad_norm", "loss", "lr", "step", "tokens")}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "train"]  # nothing in quarantine, no file of it


def test_a_run_that_broke_goes_on_to_the_same_bytes(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit(whole, settings=settings, dataset=corpus, world=world)
    written = Log.step

    def breaking(self: Log, step: int, **numbers: float) -> None:
        written(self, step, **numbers)  # type: ignore[arg-type]
        if step == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Log, "step", breaking)
        with pytest.raises(KeyboardInterrupt):
            fit(broken, settings=settings, dataset=corpus, world=world)
    assert committed_steps(broken) == [0, 4]
    with open(broken / "train/metrics.jsonl", "ab") as file:
        file.write(b'{"step":8,"lo')  # a kill in the middle of a line
    half_saved = broken / "train/step-000008/model_and_optim"
    half_saved.mkdir(parents=True)
    (half_saved / "__0_0.distcp").write_bytes(b"half")
    (half_saved / "__1_0.distcp").write_bytes(b"of two processes")
    fit(broken, settings=settings, dataset=corpus, world=world)
    assert contents(broken / "train") == contents(whole / "train")


def test_a_finished_run_stays_as_it_is(tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings) -> None:
    fit(tmp_path, settings=settings, dataset=corpus, world=world)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "train").rglob("*.distcp")}
    metrics = (tmp_path / "train/metrics.jsonl").read_bytes()
    fit(tmp_path, settings=settings, dataset=corpus, world=world)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "train").rglob("*.distcp")} == before
    assert (tmp_path / "train/metrics.jsonl").read_bytes() == metrics


def test_a_bad_step_leaves_weights_and_moments_as_they_were(
    tmp_path: Path,
    world: World,
    corpus: np.ndarray,
    settings: Settings,
    changed: Callable[..., Settings],
    poisoned: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    small = corpus[:16].copy()  # two steps an epoch: the guilty instance comes up six times
    small[9, 20] = POISON
    every = changed(settings, save_every_steps=1)
    fit(tmp_path, settings=every, dataset=small, world=world)
    rows = lines(tmp_path / "train/metrics.jsonl")
    bad = [row["step"] for row in rows if row.get("skipped")]
    assert len(bad) == 1  # masked after the first time
    assert bad[0] in (1, 2)
    step = int(bad[0])  # type: ignore[call-overload]
    unknown = {"loss": None, "grad_norm": None, "skipped": True}
    assert rows[step - 1] == {"step": step, "tokens": 256 * step, "lr": rows[step - 1]["lr"], **unknown}
    before, after, later = (
        contents(tmp_path / f"train/step-{s:06d}/model_and_optim") for s in (step - 1, step, step + 1)
    )
    assert before == after  # bit for bit
    assert after != later
    found = lines(tmp_path / "quarantine.jsonl")
    assert found == [{"by": "train", "instance": 9, "step": step, "reason": "loss is inf"}]
    assert all(math.isfinite(row["loss"]) for row in rows if not row.get("skipped"))  # type: ignore[arg-type]
    shown = capfd.readouterr().err
    assert f"step {step} skipped; instance 9 into quarantine: loss is inf" in shown
    assert "the data is seen 6.0 times" in shown


def test_quarantine_by_hand_masks_from_the_start(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, poisoned: None
) -> None:
    small = corpus[:16].copy()
    small[9, 20] = POISON
    by_hand = b'{"instance": 9}'  # without a newline, as an editor may leave it
    (tmp_path / "quarantine.jsonl").write_bytes(by_hand)
    fit(tmp_path, settings=settings, dataset=small, world=world)
    assert not [row for row in lines(tmp_path / "train/metrics.jsonl") if row.get("skipped")]
    assert (tmp_path / "quarantine.jsonl").read_bytes() == by_hand + b"\n"


@pytest.mark.parametrize("micro_batch", [1, 8])
def test_gradients_are_those_of_the_mean_over_valid_labels(
    world: World, corpus: np.ndarray, settings: Settings, micro_batch: int
) -> None:
    batch = read_batch(
        1,
        dataset=corpus,
        order=Order(num_instances=512, batch_instances=8, seed=5),
        rank=0,
        world_size=1,
        masked=range(0, 512, 3),
        eos_id=0,
        vocab_size=256,
    )
    num_labels = int((batch.labels != IGNORED).sum())
    assert 0 < num_labels < 8 * 31
    model = build(settings.model, seed=5, mesh=world.mesh, device=world.device, precision="fp32")
    forward_backward(
        model, batch, objective=objective.NextToken(), count=num_labels, micro_batch=micro_batch, world=world
    )
    plain = Decoder(settings.model)
    plain.load_state_dict({name: p.cpu() for name, p in model.state_dict().items()})
    kept = batch.labels != IGNORED
    torch.nn.functional.cross_entropy(plain(batch.tokens)[kept], batch.labels[kept]).backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.cpu(), theirs.grad, rtol=1e-4, atol=1e-7)


def test_bf16_trains_and_goes_on_bit_for_bit(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    half = changed(settings, precision="bf16", max_tokens=30 * 256, save_every_steps=15, lr=0.01)
    fit(tmp_path / "a", settings=half, dataset=corpus, world=world)
    fit(tmp_path / "b", settings=half, dataset=corpus, world=world)
    (tmp_path / "b/train/step-000030/commit.json").unlink()
    fit(tmp_path / "b", settings=half, dataset=corpus, world=world)
    assert contents(tmp_path / "a/train") == contents(tmp_path / "b/train")
    assert losses(tmp_path / "a")[-1] < losses(tmp_path / "a")[0] - 1


def test_fewer_instances_than_a_batch_is_an_error(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings
) -> None:
    with pytest.raises(UsageError, match="the dataset has 7 instances, fewer than the 8 of one batch"):
        fit(tmp_path, settings=settings, dataset=corpus[:7], world=world)
