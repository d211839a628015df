"""What holds on a GPU in bf16; skipped where there is none. The other tests here run on one as they are."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dolma_pipeline.evals.score import Window, cut, saved_model, score
from dolma_pipeline.train import model_config
from dolma_pipeline.train.files import Settings, step_folder
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.world import World

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

VOCABULARY, LENGTH = 50_280, 1024


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "train" / "metrics.jsonl").read_text().splitlines()]


def saved(run: Path, step: int) -> dict[str, bytes]:
    folder = step_folder(run, step)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_process_has_the_gpu(world: World) -> None:
    assert world.device.type == "cuda"


def test_150m_starts_at_random_repeats_and_goes_on_bit_for_bit(
    tmp_path: Path, world: World, settings: Settings, changed: Callable[..., Settings]
) -> None:
    """At a width, length and vocabulary at which a GPU picks the kernels that it picks for real work.

    The first loss is ln V + 1/2: first logits are normal with variance 1. 0.1 is far above a batch's noise.
    """
    train = changed(
        settings,
        precision="bf16",
        sequence_length=LENGTH,
        batch_tokens=16 * LENGTH,
        max_tokens=8 * 16 * LENGTH,
        save_every_steps=4,
    ).train
    shape = model_config("150m", vocab_size=VOCABULARY, sequence_length=LENGTH)
    chosen = Settings(train=train, model=shape, eos_id=0, dataset="sha256:random", seed=5)
    tokens = np.random.Generator(np.random.PCG64(3)).integers(0, VOCABULARY, (64, LENGTH)).astype(np.uint16)
    for name in ("one", "two"):
        fit(tmp_path / name, settings=chosen, dataset=tokens, world=world)
    assert losses(tmp_path / "one")[0] == pytest.approx(math.log(VOCABULARY) + 0.5, abs=0.1)
    assert losses(tmp_path / "one") == losses(tmp_path / "two")
    whole = saved(tmp_path / "one", 8)
    assert whole == saved(tmp_path / "two", 8)
    (step_folder(tmp_path / "two", 8) / "commit.json").unlink()  # as a kill at step 7 leaves it
    fit(tmp_path / "two", settings=chosen, dataset=tokens, world=world)
    assert losses(tmp_path / "one") == losses(tmp_path / "two")
    assert whole == saved(tmp_path / "two", 8)


def test_bf16_learns_as_fp32_does(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    """5 % of the last losses' mean: bf16 keeps 8 bits, and its errors of about 0.4 % a product even out in the mean."""
    for precision in ("fp32", "bf16"):
        longer = changed(
            settings,
            precision=precision,
            max_tokens=150 * settings.train.batch_tokens,
            save_every_steps=1000,
            lr=0.01,
        )
        fit(tmp_path / precision, settings=longer, dataset=corpus, world=world)
    ends = [np.mean(losses(tmp_path / precision)[-10:]) for precision in ("fp32", "bf16")]
    assert losses(tmp_path / "bf16")[0] - ends[1] > 1.5
    assert ends[1] == pytest.approx(ends[0], rel=0.05)


def test_scores_are_those_of_a_cpu(
    tmp_path: Path,
    world: World,
    corpus: np.ndarray,
    settings: Settings,
    changed: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Relative 1e-4: both are float32, of which the GPU sums in another order."""
    half = changed(settings, precision="bf16")
    fit(tmp_path, settings=half, dataset=corpus, world=world)
    windows: list[Window] = [window for row in corpus[:40] for window in cut(row, length=32)]
    on_gpu = saved_model(tmp_path, 12, settings=half)
    assert on_gpu.embedding.weight.device.type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_cpu = saved_model(tmp_path, 12, settings=half)
    assert score(on_gpu, windows) == pytest.approx(score(on_cpu, windows), rel=1e-4)
