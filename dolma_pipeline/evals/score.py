"""A saved model on one device, and how many nats it needs for given tokens.

Cost: a forward pass, about a third of training; on a CPU at most 25 MB of logits at once and, besides the weights, a
copy of them of at most 1 GB (`evals.products`).
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.evals.products import fast_products
from dolma_pipeline.evals.sharded import lead, leading
from dolma_pipeline.evals.trees import Tree, Window, trees
from dolma_pipeline.train.checkpoint import load_model
from dolma_pipeline.train.files import Settings, committed_steps, train_folder
from dolma_pipeline.train.language_model import Each, LanguageModel
from dolma_pipeline.train.model import IGNORED
from dolma_pipeline.train.spec import spec_of


class Room(NamedTuple):
    """How much is computed at once. tokens: of a batch, unless one tree alone has more. logits: at least those of one
    place. probabilities: made of logits together, at least those of one place."""

    tokens: int
    logits: int
    probabilities: int


ROOM = {
    # What a CPU has at once stays in its caches, and in memory that the C library keeps for the next (below 32 MB).
    "cpu": Room(tokens=2**9, logits=3 * 2**21, probabilities=2**19),
    "cuda": Room(tokens=2**14, logits=2**28, probabilities=2**26),
}
"""By the kind of device."""

Ids = NDArray[np.int64]


def saved_model(run_dir: Path, step: int, *, settings: Settings) -> LanguageModel:
    """The model of a saved step, float32, on a GPU if there is one; over all processes of a torchrun, if it is one.

    Raises:
        RunError: no whole checkpoint of that step; it says which there are.
        UsageError: its architecture does not take what scoring gives.
    """
    steps = committed_steps(run_dir)
    if step not in steps:
        shown = ", ".join(map(str, steps)) or "none"
        raise RunError(f"{train_folder(run_dir)}: no checkpoint of step {step}. There are: {shown}.")
    with torch.device("meta"):
        model = spec_of(settings.model).build(settings.model)
    _require_readable(model)
    if (world := leading()) is not None:
        return lead(run_dir, step, settings=settings, world=world)
    model.to_empty(device="cuda" if torch.cuda.is_available() else "cpu")
    load_model(run_dir, step, model=model)
    return model.eval().requires_grad_(False)


READING = ("positions_BT", "mask_BTS", "at", "each")
"""What scoring gives besides ids (`LanguageModel.forward`)."""


def _require_readable(model: LanguageModel) -> None:
    takes = inspect.signature(model.forward).parameters
    if any(one.kind is one.VAR_KEYWORD for one in takes.values()):
        return
    if missing := [name for name in READING if name not in takes]:
        raise UsageError(
            f"train.model: {type(model).__name__}.forward does not take {', '.join(missing)}, which scoring gives to "
            "it. Write it as docs/models.md shows under 'Another architecture'."
        )


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

    What windows begin with in common is read once (`evals.trees`). Trees of like size are computed together, padded on
    the right, which nothing sees; logits are computed at targets only. Neither changes a number beyond its rounding.
    """
    return [window.nats for window in score_greedy(model, windows, with_greedy=False)]


class Scored(NamedTuple):
    """What is known of a window. nats: summed over its targets. greedy: whether each target is the likeliest id."""

    nats: float
    greedy: bool


def score_greedy(model: LanguageModel, windows: Sequence[Window], *, with_greedy: bool = True) -> list[Scored]:
    """As `score`, and whether each window's targets are what the model would write; false where that is not asked."""
    room = ROOM[next(model.parameters()).device.type]
    nats = np.zeros(len(windows))
    greedy = np.full(len(windows), with_greedy)
    found = (tree for tree in trees(windows) if len(tree.scored))
    with fast_products(model):
        for batch in batches(found, tokens=room.tokens):
            asked = _asked(batch, windows)
            target_nats, likeliest = _nats(model, asked, room=room, with_likeliest=with_greedy)
            np.add.at(nats, asked.windows, target_nats)
            np.logical_and.at(greedy, asked.windows, likeliest)
    return [Scored(float(value), bool(flag)) for value, flag in zip(nats, greedy, strict=True)]


def batches(found: Iterable[Tree], *, tokens: int) -> Iterator[list[Tree]]:
    """Trees in batches of no more tokens than `tokens`, unless one alone has more; large ones first."""
    batch: list[Tree] = []
    for tree in sorted(found, key=lambda tree: -len(tree.tokens)):
        if batch and (len(batch) + 1) * len(batch[0].tokens) > tokens:
            yield batch
            batch = []
        batch.append(tree)
    if batch:
        yield batch


class _Asked(NamedTuple):
    """A batch as the model reads it, and what is asked of it.

    tokens, depths: int64 [B, T]. sees: bool [B, T, T], or None if each tree is a chain. at: places in the flattened
    [B, T] whose logits are wanted, N of them. rows, targets, windows: of each target, sorted by the first: which of
    those N it comes after, its id, the window that it belongs to.
    """

    tokens: Ids
    depths: Ids
    sees: NDArray[np.bool_] | None
    at: Ids
    rows: Ids
    targets: Ids
    windows: Ids


def _asked(batch: Sequence[Tree], windows: Sequence[Window]) -> _Asked:
    longest = len(batch[0].tokens)
    tokens, depths = np.zeros((2, len(batch), longest), np.int64)
    sees = None
    if any(tree.branches for tree in batch):
        # What pads a row sees itself, as no softmax is of nothing.
        sees = np.repeat(np.eye(longest, dtype=np.bool_)[None], len(batch), axis=0)
    at, asked = [], []
    num_scored = 0
    for row, tree in enumerate(batch):
        size = len(tree.tokens)
        tokens[row, :size], depths[row, :size] = tree.tokens, tree.depths
        if sees is not None:
            sees[row, :size, :size] = tree.seen()
        at.append(row * longest + tree.scored)
        for i, nodes in zip(tree.windows, tree.nodes, strict=True):
            scored = windows[i].targets != IGNORED
            rows = num_scored + np.searchsorted(tree.scored, nodes[scored])
            asked.append(np.stack([rows, windows[i].targets[scored], np.full(len(rows), i)]))
        num_scored += len(tree.scored)
    rows, targets, owners = np.concatenate(asked, axis=1)
    order = np.argsort(rows, kind="stable")
    return _Asked(tokens, depths, sees, np.concatenate(at), rows[order], targets[order], owners[order])


def _nats(
    model: LanguageModel, asked: _Asked, *, room: Room, with_likeliest: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Of each target: its nats, and whether it is the likeliest id (true where that is not asked).

    Probabilities are computed in float32.

    Raises:
        UsageError: the model does not give what `each` makes.
    """
    device = next(model.parameters()).device
    tokens_BT, depths_BT, at, rows, targets = (
        torch.from_numpy(array).to(device)
        for array in (asked.tokens, asked.depths, asked.at, asked.rows, asked.targets)
    )
    mask_BTS = None if asked.sees is None else torch.from_numpy(asked.sees).to(device)
    logits_rows, rows_at_once = (max(1, most // model.config.vocab_size) for most in (room.logits, room.probabilities))
    done = 0

    def make(logits_nV: Tensor) -> Tensor:
        nonlocal done
        found = []
        for some_nV in torch.split(logits_nV, rows_at_once):
            start, end = np.searchsorted(asked.rows, (done, done + len(some_nV)))
            place, target = rows[start:end] - done, targets[start:end]
            log_p = some_nV.float().log_softmax(-1)
            likeliest = log_p.argmax(-1)[place] == target if with_likeliest else torch.ones_like(target)
            found.append(torch.stack((-log_p[place, target], likeliest.float()), dim=1))
            done += len(some_nV)
        return torch.cat(found)

    with torch.no_grad():
        found: Tensor = model(tokens_BT, positions_BT=depths_BT, mask_BTS=mask_BTS, at=at, each=Each(logits_rows, make))
    if found.shape != (len(targets), 2):
        raise UsageError(
            f"train.model: forward was given `each`, and gives {tuple(found.shape)} where that makes "
            f"{(len(targets), 2)}. End it with read_out, as docs/models.md shows under 'Another architecture'."
        )
    nats, likeliest = found.cpu().numpy().T
    return nats.astype(np.float64), likeliest.astype(np.bool_)
