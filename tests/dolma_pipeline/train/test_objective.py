from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from dolma_pipeline.train.adapted import Examples
from dolma_pipeline.train.data import Batch
from dolma_pipeline.train.examples import take
from dolma_pipeline.train.model import IGNORED, Decoder
from dolma_pipeline.train.objective import Answers, NextToken, Preferences, apart
from dolma_pipeline.train.presets import ModelConfig

SHAPE = ModelConfig(vocab_size=48, sequence_length=24, width=32, num_layers=2, num_heads=2, hidden=48, tied=True)


@pytest.fixture(scope="module")
def model() -> Decoder:
    torch.manual_seed(3)
    return Decoder(SHAPE)


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).integers(1, 48, shape)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def alone(model: Decoder, ids: np.ndarray, scored: np.ndarray) -> float:
    """Nats of the scored tokens of a dialogue that has a sequence to itself, token by token."""
    with torch.no_grad():
        logs = log_softmax(model(torch.from_numpy(ids)[None])[0].numpy().astype(np.float64))
    return -sum(logs[at - 1, ids[at]] for at in range(1, len(ids)) if scored[at])


def packed(lengths: list[int], *, width: int) -> Examples:
    """Dialogues side by side, every third token scored; the rest is padding."""
    tokens, scored = np.zeros((1, width), np.uint16), np.zeros((1, width), np.bool_)
    segments, at = np.zeros((1, width), np.uint16), 0
    for segment, length in enumerate(lengths, 1):
        tokens[0, at : at + length] = drawn(segment, length)
        scored[0, at : at + length] = np.arange(length) % 3 == 2
        segments[0, at : at + length] = segment
        at += length
    return Examples(tokens, scored, segments)


def test_a_dialogue_that_shares_a_sequence_has_the_loss_that_it_has_alone(model: Decoder) -> None:
    """Neither attention nor positions reach over to its neighbours, and no label is the first token of another."""
    lengths = [9, 4, 7]
    examples = packed(lengths, width=24)
    batch = take(examples, [0])
    found = Answers().losses(model, batch).losses
    bounds = np.cumsum([0, *lengths])
    expected = sum(
        alone(model, examples.tokens[0, a:b].astype(np.int64), examples.scored[0, a:b]) for a, b in pairwise(bounds)
    )
    assert found.tolist() == pytest.approx([expected], rel=1e-5)
    assert Answers().count(batch) == examples.scored.sum()
    plain = NextToken().losses(model, batch).losses
    assert plain.item() != pytest.approx(expected, rel=1e-3)


def test_labels_are_the_scored_tokens_of_the_same_dialogue() -> None:
    examples = Examples(
        np.array([[5, 6, 7, 8, 9, 0]], np.uint16),
        np.array([[1, 0, 1, 1, 1, 0]], np.bool_),
        np.array([[1, 1, 1, 2, 2, 0]], np.uint16),
    )
    assert take(examples, [0]).labels.tolist() == [[IGNORED, 7, IGNORED, 9, IGNORED, IGNORED]]


def test_positions_and_masks_by_hand() -> None:
    positions, mask = apart(torch.tensor([[1, 1, 2, 2, 2, 0]]))
    assert positions.tolist() == [[0, 1, 0, 1, 2, 0]]
    assert mask[0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def pairs(num: int, half: int) -> Batch:
    """Pairs whose last tokens are answers of several lengths."""
    tokens, scored = drawn(9, num, 2 * half), np.zeros((num, 2 * half), np.bool_)
    segments = np.repeat([[1] * half + [2] * half], num, axis=0)
    for row in range(num):
        longer, shorter = (5 + row, 2 + row)[:: (-1) ** row]  # the longer one loses
        scored[row, half - shorter : half] = True
        scored[row, -longer:] = True
        segments[row, half - 1] = 0  # one of padding
    scored &= segments > 0
    batch = take(Examples(tokens.astype(np.uint16), scored, segments.astype(np.uint16)), list(range(num)))
    reference = torch.from_numpy(
        -np.random.Generator(np.random.PCG64(4)).random((num, 2 * half)).astype(np.float32) * 4
    )
    return Batch(batch.instances, batch.tokens, batch.labels, {"reference": reference * (batch.labels != IGNORED)})


def by_hand(model: Decoder, batch: Batch, *, beta: float, smoothing: float) -> list[dict[str, float]]:
    """DPO pair by pair and token by token, in float64."""
    found = []
    for row in range(len(batch.instances)):
        ratios: list[list[float]] = [[], []]
        half = batch.tokens.shape[1] // 2
        for side in (0, 1):
            at = slice(side * half, (side + 1) * half)
            tokens, labels = batch.tokens[row, at], batch.labels[row, at].tolist()
            with torch.no_grad():
                logs = log_softmax(model(tokens[None])[0].numpy().astype(np.float64))
            reference = batch.more["reference"][row, at].tolist()
            for place, label in enumerate(labels):
                if label != IGNORED:
                    ratios[side].append(logs[place, label] - reference[place])
        chosen, rejected = (beta * sum(one) for one in ratios)
        margin = chosen - rejected
        squares = [one**2 / 2 for side in ratios for one in side]
        found.append(
            {
                "loss": (1 - smoothing) * math.log1p(math.exp(-margin)) + smoothing * math.log1p(math.exp(margin)),
                "reward_chosen": chosen,
                "reward_rejected": rejected,
                "reward_margin": margin,
                "accuracy": float(margin > 0),
                "kl": sum(squares) / len(squares),
            }
        )
    return found


@pytest.mark.parametrize(("beta", "smoothing"), [(0.1, 0.0), (0.7, 0.2)])
def test_dpo_is_that_of_a_plain_loop(model: Decoder, beta: float, smoothing: float) -> None:
    batch = pairs(4, 12)
    found = Preferences(beta, smoothing).losses(model, batch)
    expected = by_hand(model, batch, beta=beta, smoothing=smoothing)
    assert found.losses.tolist() == pytest.approx([one["loss"] for one in expected], rel=1e-4)
    for name, values in found.reports.items():
        assert values.tolist() == pytest.approx([one[name] for one in expected], rel=1e-4), name
    assert {*found.reports} == {*expected[0]} - {"loss"}
    assert len({one["accuracy"] for one in expected}) == 2  # pairs of both kinds


def test_a_masked_pair_counts_for_nothing(model: Decoder) -> None:
    batch = pairs(3, 12)
    whole = Preferences(0.1).losses(model, batch)
    batch.labels[1] = IGNORED
    found = Preferences(0.1).losses(model, batch)
    assert Preferences(0.1).count(batch) == 2
    assert found.losses.tolist() == [whole.losses[0].item(), 0.0, whole.losses[2].item()]
    assert all(value[1] == 0 for value in found.reports.values())


def test_gradients_of_dpo_push_the_answers_apart(model: Decoder) -> None:
    """-beta * sigmoid(-margin) times the gradient of (chosen - rejected), Rafailov et al. 2023, section 4."""
    batch, beta = pairs(1, 12), 0.3
    model.zero_grad()
    Preferences(beta).losses(model, batch).losses.sum().backward()
    found = model.embedding.weight.grad.clone()  # type: ignore[union-attr]
    model.zero_grad()
    margin = by_hand(model, batch, beta=beta, smoothing=0.0)[0]["reward_margin"]
    logs = _signed_logs(model, batch)
    logs.backward()
    expected = model.embedding.weight.grad * (-beta / (1 + math.exp(margin)))  # type: ignore[operator]
    model.zero_grad()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def _signed_logs(model: Decoder, batch: Batch) -> Tensor:
    half = batch.tokens.shape[1] // 2
    total = torch.zeros(())
    for side, sign in ((0, 1.0), (1, -1.0)):
        at = slice(side * half, (side + 1) * half)
        logs = model(batch.tokens[:, at]).log_softmax(dim=-1)
        labels = batch.labels[:, at]
        for place in torch.nonzero(labels[0] != IGNORED)[:, 0].tolist():
            total = total + sign * logs[0, place, labels[0, place]]
    return total
