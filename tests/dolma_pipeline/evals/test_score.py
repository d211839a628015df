from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.evals import score as scoring
from dolma_pipeline.evals.score import cut, saved_model, score, weights_digest
from dolma_pipeline.evals.trees import Window, trees
from dolma_pipeline.train.files import read_settings
from dolma_pipeline.train.model import IGNORED, Decoder
from dolma_pipeline.train.spec import spec_of


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 40), st.integers(1, 9))
def test_each_id_but_the_first_is_a_target_once(num_ids: int, length: int) -> None:
    ids = np.arange(100, 100 + num_ids)
    windows = list(cut(ids, length=length))
    targets = [int(i) for window in windows for i in window.targets]
    assert targets == list(range(101, 100 + num_ids))
    for inputs, labels in windows:
        assert len(inputs) == len(labels) <= length
        assert (labels - inputs == 1).all()  # the first input is the id to the left of the first target


def plain_nats(model: Decoder, window: Window) -> float:
    logits = model(torch.from_numpy(window.inputs)[None])[0].double().numpy()
    total = 0.0
    for row, target in zip(logits, window.targets, strict=True):
        if target != IGNORED:
            top = row.max()
            total += top + np.log(np.exp(row - top).sum()) - row[target]
    return float(total)


def random_windows(random: np.random.Generator, *, vocab_size: int) -> list[Window]:
    """As of questions whose answers, contexts and beginnings are shared, repeated, cut at their left or empty."""
    windows = []
    shared = random.integers(0, vocab_size, 20)
    for length in (5, 24, 1, 24, 7, 13, 2, 9, 12):
        start = shared[: random.integers(0, length + 1)]
        middle = random.integers(0, 3, random.integers(0, length - len(start) + 1))
        ids = np.concatenate((start, middle, random.integers(0, vocab_size, length + 1)))[: length + 1]
        targets = np.where(random.random(len(ids) - 1) < 0.5, IGNORED, ids[1:])
        windows.append(Window(ids[:-1], targets))
        if random.random() < 0.5:  # another answer to it, or the same
            cut = random.integers(0, length)
            other = np.concatenate((ids[:cut], random.integers(0, 3, length + 1 - cut)))
            windows.append(Window(other[:-1], other[1:].copy()))
    return windows


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("tokens", "logits"), [(1, 1), (60, 2**11), (2**11, 2**22)])
def test_windows_are_scored_as_one_by_one(
    model: Decoder, monkeypatch: pytest.MonkeyPatch, tokens: int, logits: int, seed: int
) -> None:
    vocab_size = model.config.vocab_size
    room = scoring.Room(tokens=tokens, logits=logits, probabilities=(1 + 5 * seed) * vocab_size)
    monkeypatch.setitem(scoring.ROOM, "cpu", room)
    windows = random_windows(np.random.default_rng(seed), vocab_size=vocab_size)
    expected = [plain_nats(model, window) for window in windows]
    assert score(model, windows) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert score(model, windows[::-1]) == pytest.approx(expected[::-1], rel=1e-5, abs=1e-6)


def test_nothing_to_score(model: Decoder) -> None:
    assert score(model, []) == []
    assert score(model, [Window(np.array([3]), np.array([IGNORED]))]) == [0.0]


def test_batches_keep_to_the_room_unless_one_tree_alone_does_not() -> None:
    windows = [Window(np.arange(n) + 100 * i, np.arange(n)) for i, n in enumerate((3, 9, 4, 4, 2, 3))]
    found = list(scoring.batches(trees(windows), tokens=8))
    assert [[len(tree.tokens) for tree in batch] for batch in found] == [[9], [4, 4], [3, 3], [2]]


def test_no_more_logits_are_there_at_once_than_there_is_room_for(
    model: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocab_size = model.config.vocab_size
    sizes = []
    linear = torch.nn.functional.linear

    def seen(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        if len(weight) == vocab_size:
            sizes.append(len(x))
        return linear(x, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", seen)
    for logits, most in ((4 * vocab_size, 4), (5 * vocab_size - 1, 4), (1, 1)):
        sizes.clear()
        monkeypatch.setitem(scoring.ROOM, "cpu", scoring.Room(tokens=60, logits=logits, probabilities=2**20))
        score(model, random_windows(np.random.default_rng(0), vocab_size=vocab_size))
        assert max(sizes) == most


def test_a_saved_model_is_read_back(run: Path, model: Decoder) -> None:
    found = saved_model(run, 7, settings=read_settings(run))
    assert weights_digest(found) == weights_digest(model)
    other = Decoder(dataclasses.replace(model.config, tied=True))
    assert weights_digest(other) != weights_digest(model)
    with pytest.raises(RunError, match=r"no checkpoint of step 8. There are: 7\."):
        saved_model(run, 8, settings=read_settings(run))


def test_greedy_is_what_the_model_would_write(model: Decoder) -> None:
    start = np.array([5, 9, 4])
    ids = start.tolist()
    for _ in range(4):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    other = [*ids[:-1], (ids[-1] + 1) % model.config.vocab_size]
    targets = [np.array([IGNORED, IGNORED, *each[3:]]) for each in (ids, other)]
    windows = [Window(np.array(each[:-1]), labels) for each, labels in zip((ids, other), targets, strict=True)]
    found = scoring.score_greedy(model, windows)
    assert [each.greedy for each in found] == [True, False]
    assert [each.nats for each in found] == score(model, windows)


class ReadsAll(Decoder):
    """Takes no `each`, as an architecture of before there was one."""

    def forward(self, tokens_BT, *, positions_BT=None, mask_BTS=None, cache=None, at=None):  # type: ignore[no-untyped-def, override]
        return super().forward(tokens_BT, positions_BT=positions_BT, mask_BTS=mask_BTS, cache=cache, at=at)


def test_an_architecture_that_does_not_take_what_scoring_gives_is_told_so(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings(run)
    spec = dataclasses.replace(spec_of(settings.model), build=ReadsAll)
    monkeypatch.setattr(scoring, "spec_of", lambda shape: spec)
    with pytest.raises(UsageError, match=r"train\.model: ReadsAll\.forward does not take each, which scoring gives to"):
        saved_model(run, 7, settings=settings)


def test_an_architecture_that_leaves_each_alone_is_told_so(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = model.forward
    monkeypatch.setattr(model, "forward", lambda tokens_BT, each, **reading: reads(tokens_BT, **reading))
    window = Window(np.arange(4), np.arange(1, 5))
    with pytest.raises(UsageError, match=r"gives \(4, \d+\) where that makes \(4, 2\)\. End it with read_out"):
        score(model, [window])
