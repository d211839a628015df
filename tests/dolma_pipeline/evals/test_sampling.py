"""Draws have the probabilities that the model gives, and depend on their keys alone."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from dolma_pipeline.errors import UsageError
from dolma_pipeline.evals.sampling import Sampling, Text, drawn, uniform

LOGITS = torch.log(torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15]))


def chi_square(counts: np.ndarray, shares: np.ndarray) -> float:
    expected = shares * counts.sum()
    return float((((counts - expected) ** 2)[shares > 0] / expected[shares > 0]).sum())


@pytest.mark.parametrize(
    ("temperature", "top_p", "shares"),
    [
        (1.0, 1.0, [0.1, 0.4, 0.05, 0.3, 0.15]),
        (0.5, 1.0, [0.01, 0.16, 0.0025, 0.09, 0.0225]),
        (1.0, 0.7, [0, 0.4, 0, 0.3, 0]),  # 0.4 and 0.3 are just enough
        (1.0, 0.75, [0, 0.4, 0, 0.3, 0.15]),
    ],
)
def test_draws_are_as_frequent_as_they_are_likely(temperature: float, top_p: float, shares: list[float]) -> None:
    sampling = Sampling(temperature=temperature, top_p=top_p - 1e-9 if top_p < 1 else 1.0)
    number = 4000
    texts = [Text("a", sample) for sample in range(number)]
    found = sampling.choose(LOGITS.expand(number, 5), texts, position=3)
    counts = np.bincount(found, minlength=5)
    expected = np.array(shares) / sum(shares)
    assert counts[expected == 0].sum() == 0
    assert chi_square(counts, expected) < 18.5  # 0.1 % of samples of 4 degrees of freedom are beyond


def test_positions_draw_apart() -> None:
    """Pairs of draws of one text at two positions are as frequent as if they had nothing to do with each other."""
    pairs = np.zeros((5, 5))
    texts = [Text(f"key {i}", 0) for i in range(4000)]
    rows = LOGITS.expand(4000, 5)
    sampling = Sampling(temperature=1.0)
    for pair in zip(*(sampling.choose(rows, texts, position=position) for position in (0, 1)), strict=True):
        pairs[pair] += 1
    shares = LOGITS.exp().double().numpy()
    assert chi_square(pairs.ravel(), np.outer(shares, shares).ravel()) < 51.2  # 0.1 % of 24 degrees of freedom


def test_the_likeliest_is_the_lowest_among_equals() -> None:
    assert Sampling().choose(torch.tensor([[1.0, 3.0, 3.0], [0.0, 0.0, 1.0]]), [Text("a", 0)] * 2, position=0) == [1, 2]


def test_a_number_stands_for_an_id() -> None:
    p = np.array([0.25, 0.5, 0.25])
    found = [drawn(p, draw, top_p=1.0) for draw in (0, 0.49, 0.5, 0.74, 0.75, 1 - 2**-53)]
    assert found == [1, 1, 0, 0, 2, 2]
    assert drawn(p, 1 - 2**-53, top_p=0.5) == 1


def test_a_draw_is_a_hash_of_its_key() -> None:
    digest = hashlib.sha256(b"7\0task/3\0002\0005").digest()
    expected = int.from_bytes(digest[:8], "big") / 2**64
    assert uniform("7", Text("task/3", 2), 5) == pytest.approx(expected, abs=2**-52)
    assert uniform("7", Text("task/3", 2), 5) < 1


@pytest.mark.parametrize("top_p", [0, 1.1])
def test_top_p_out_of_its_range(top_p: float) -> None:
    with pytest.raises(UsageError, match=r"top_p is .*; it must be above 0 and at most 1"):
        Sampling(top_p=top_p)


@pytest.mark.parametrize("temperature", [1e-3, 1e-320])
def test_a_tiny_temperature_takes_the_likeliest(temperature: float) -> None:
    texts = [Text("a", i) for i in range(9)]
    assert Sampling(temperature=temperature).choose(9 + LOGITS.flip(0).expand(9, 5), texts, position=0) == [3] * 9
