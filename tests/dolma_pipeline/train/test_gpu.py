"""What holds on a GPU in bf16; skipped where there is none. The other tests here run on one as they are."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dolma_pipeline.evals.generate import Start, generate
from dolma_pipeline.evals.sampling import Sampling, Text
from dolma_pipeline.evals.score import Window, cut, saved_model, score
from dolma_pipeline.train import model_config
from dolma_pipeline.train.files import Settings, step_folder
from dolma_pipeline.train.model import IGNORED, nats
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


def test_bf16_learns_as_fp32_does_compiled_or_not(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    """5 % of the last losses' mean: bf16 keeps 8 bits, and its errors of about 0.4 % a product even out in the mean."""
    ends = {}
    for name, values in {
        "fp32": {"precision": "fp32"},
        "bf16": {"precision": "bf16"},
        "compiled": {"precision": "bf16", "compile": True},
    }.items():
        longer = changed(
            settings, max_tokens=150 * settings.train.batch_tokens, save_every_steps=1000, lr=0.01, **values
        )
        fit(tmp_path / name, settings=longer, dataset=corpus, world=world)
        found = losses(tmp_path / name)
        ends[name] = np.mean(found[-10:])
        assert found[0] - ends[name] > 1.5
    assert ends["bf16"] == pytest.approx(ends["fp32"], rel=0.05)
    assert ends["compiled"] == pytest.approx(ends["fp32"], rel=0.05)


def test_activations_computed_again_are_the_same_bits(
    tmp_path: Path, world: World, corpus: np.ndarray, settings: Settings, changed: Callable[..., Settings]
) -> None:
    for way in ("none", "block"):
        chosen = changed(settings, precision="bf16", activation_checkpointing=way)
        fit(tmp_path / way, settings=chosen, dataset=corpus, world=world)
    assert losses(tmp_path / "none") == losses(tmp_path / "block")


def test_more_logits_than_32_bits_count() -> None:
    """Where a kernel counts in 32 bits, the last rows get losses and gradients of other places."""
    last = 64
    rows = 2**31 // VOCABULARY + last
    draws = torch.Generator("cuda").manual_seed(1)
    whole = torch.randn(rows, VOCABULARY, dtype=torch.bfloat16, device="cuda", generator=draws)
    labels = torch.randint(VOCABULARY, (rows,), device="cuda", generator=draws)
    end = whole[-last:].clone().requires_grad_()
    whole.requires_grad_()
    found, expected = nats(whole[None], labels[None])[0], nats(end[None], labels[None, -last:])[0]
    assert torch.equal(found[-last:], expected)
    found.sum().backward()
    expected.sum().backward()
    assert torch.equal(whole.grad[-last:], end.grad)


def test_scores_are_those_of_a_cpu(
    tmp_path: Path,
    world: World,
    corpus: np.ndarray,
    settings: Settings,
    changed: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Relative 1e-4: both are float32, of which the GPU sums in another order; 5 % in bf16, which keeps 8 bits."""
    half = changed(settings, precision="bf16")
    fit(tmp_path, settings=half, dataset=corpus, world=world)
    plain: list[Window] = [window for row in corpus[:40] for window in cut(row, length=32)]
    rows = [np.append(row[:20], end).astype(np.int64) for row in corpus[:8] for end in (3, 9, 27)]
    branches = [Window(row[:-1], np.append(np.full(19, IGNORED), row[-1])) for row in rows]
    prompts = [Start(row[:size].astype(np.int64), Text(f"p{size}", 0)) for size, row in enumerate(corpus[:9], start=1)]
    on_gpu = saved_model(tmp_path, 12, settings=half)
    assert on_gpu.embedding.weight.device.type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_cpu = saved_model(tmp_path, 12, settings=half)
    for windows in (plain, branches):
        expected = score(on_cpu, windows)
        assert score(on_gpu, windows) == pytest.approx(expected, rel=1e-4)
    texts = {
        model: generate(model, prompts, max_tokens=8, eos_id=-1, sampling=Sampling()) for model in (on_gpu, on_cpu)
    }
    assert texts[on_gpu] == texts[on_cpu]
    assert score(on_gpu.bfloat16(), plain) == pytest.approx(score(on_cpu, plain), rel=0.05)
