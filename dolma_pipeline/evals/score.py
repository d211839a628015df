"""A saved model on one device, and how many nats it needs for given tokens.

Cost: a forward pass, about a third of training; at most 256 MB of logits at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dolma_pipeline.errors import RunError
from dolma_pipeline.train.checkpoint import load_model
from dolma_pipeline.train.files import Settings, committed_steps, train_folder
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.model import IGNORED, nats
from dolma_pipeline.train.spec import spec_of

LOGITS_AT_ONCE = 2**26
"""Logits computed at once, at most, unless one window has more."""


class Window(NamedTuple):
    """A stretch that the model reads at once: ids, and the id that follows each, `IGNORED` where it is not scored."""

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]


def saved_model(run_dir: Path, step: int, *, settings: Settings) -> LanguageModel:
    """The model of a saved step, float32, on a GPU if there is one.

    Raises:
        RunError: no whole checkpoint of that step; it says which there are.
    """
    steps = committed_steps(run_dir)
    if step not in steps:
        shown = ", ".join(map(str, steps)) or "none"
        raise RunError(f"{train_folder(run_dir)}: no checkpoint of step {step}. There are: {shown}.")
    with torch.device("meta"):
        model = spec_of(settings.model).build(settings.model)
    model.to_empty(device="cuda" if torch.cuda.is_available() else "cpu")
    load_model(run_dir, step, model=model)
    return model.eval().requires_grad_(False)


def weights_digest(model: LanguageModel) -> str:
    """`sha256:…` over names and values of all weights: the same however they were sharded and saved."""
    digest = hashlib.sha256()
    for name, weight in model.named_parameters():
        digest.update(f"{name} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def cut(ids: NDArray[Any], *, length: int) -> Iterator[Window]:
    """Windows of at most `length` over a sequence, in which each id but the first is a target exactly once.

    A window starts with the id before its first target, so no target is without a token to its left.
    """
    sequence = ids.astype(np.int64)
    for start in range(0, len(sequence) - 1, length):
        end = min(start + length, len(sequence) - 1)
        yield Window(sequence[start:end], sequence[start + 1 : end + 1])


def score(model: LanguageModel, windows: Sequence[Window]) -> list[float]:
    """Nats of each window, summed over its targets; in the order given.

    Windows of like length are computed together, padded on the right, which nothing before can see.
    """
    device = next(model.parameters()).device
    order = sorted(range(len(windows)), key=lambda i: (-len(windows[i].inputs), i))
    scores = [0.0] * len(windows)
    first = 0
    while first < len(order):
        longest = len(windows[order[first]].inputs)
        chosen = order[first : first + max(1, LOGITS_AT_ONCE // (longest * model.config.vocab_size))]
        first += len(chosen)
        tokens_BT = np.zeros((len(chosen), longest), np.int64)
        labels_BT = np.full((len(chosen), longest), IGNORED, np.int64)
        for row, i in enumerate(chosen):
            tokens_BT[row, : len(windows[i].inputs)] = windows[i].inputs
            labels_BT[row, : len(windows[i].targets)] = windows[i].targets
        with torch.inference_mode():
            logits_BTV = model(torch.from_numpy(tokens_BT).to(device))
            nats_B = nats(logits_BTV, torch.from_numpy(labels_BT).to(device)).sum(dim=1, dtype=torch.float64)
        for i, value in zip(chosen, nats_B.tolist(), strict=True):
            scores[i] = value
    return scores
