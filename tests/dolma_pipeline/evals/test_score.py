from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import RunError
from dolma_pipeline.evals import score as scoring
from dolma_pipeline.evals.score import Window, cut, saved_model, score, weights_digest
from dolma_pipeline.train.files import read_settings
from dolma_pipeline.train.model import IGNORED, Decoder


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


@pytest.mark.parametrize("at_once", [1, 5_000, 2**26])
def test_windows_of_any_length_are_scored_as_one_by_one(
    model: Decoder, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", at_once)
    random = np.random.default_rng(3)
    windows = []
    for length in (5, 24, 1, 24, 7, 13, 2):
        ids = random.integers(0, model.config.vocab_size, length + 1)
        targets = np.where(random.random(length) < 0.3, IGNORED, ids[1:])
        windows.append(Window(ids[:-1], targets))
    assert score(model, windows) == pytest.approx([plain_nats(model, window) for window in windows], rel=1e-5)
    assert score(model, []) == []


def test_a_saved_model_is_read_back(run: Path, model: Decoder) -> None:
    found = saved_model(run, 7, settings=read_settings(run))
    assert weights_digest(found) == weights_digest(model)
    other = Decoder(dataclasses.replace(model.config, tied=True))
    assert weights_digest(other) != weights_digest(model)
    with pytest.raises(RunError, match=r"no checkpoint of step 8. There are: 7\."):
        saved_model(run, 8, settings=read_settings(run))
