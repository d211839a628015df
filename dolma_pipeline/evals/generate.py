"""Texts that a model writes after prompts.

Keys and values of what was read are kept (`model.Cache`), so a further id costs one position. Prompts of a batch end
at one column, padded at their left, and the texts of one prompt share its reading. A prompt is cut at its left so that
it and `max_tokens` fit the model's window; where that would leave it less than half of the window it keeps half, and
writing ends where the window is full.
Cost: an id needs a forward pass over one position and a copy of its text's keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.evals.complete import Prompt
from dolma_pipeline.evals.sampling import Sampling, Text
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.model import Cache, KeysValues

Ids = NDArray[np.int64]

TOKENS_AT_ONCE = {"cpu": 2**13, "cuda": 2**17}
"""Positions that a batch may come to hold, by the kind of device; one text is written whatever it comes to."""


class Start(NamedTuple):
    """What a text goes on from. ids: of the prompt, at least one. text: which text of which prompt it is."""

    ids: Ids
    text: Text


class Codec(Protocol):
    """Texts to ids and back, without special tokens."""

    def encode(self, texts: Sequence[str], /) -> Sequence[Ids]:
        """Ids of each text."""

    def decode(self, ids: Sequence[int], /) -> str:
        """The text of these ids."""


class Completer:
    """A saved model as what tasks ask texts of (`evals.complete.Complete`).

    num_cut: prompts so far that were cut at their left.
    """

    def __init__(
        self,
        model: LanguageModel,
        codec: Codec,
        *,
        eos_id: int,
        seed: str = "0",
        top_p: float = 1.0,
        prefix: Literal["eos", "none"] = "eos",
        where: str = "",
    ) -> None:
        """A completer.

        Args:
            eos_id: ends a text. seed: of draws; with the task's name in it, tasks whose keys are equal draw apart.
            top_p: see `Sampling`. prefix: `eos` reads each prompt after EOS, as documents are in training; `none` only
                a prompt of nothing. where: what errors of what it writes begin with.
        """
        self.model, self.codec, self.eos_id, self.seed, self.top_p = model, codec, eos_id, seed, top_p
        self.prefix, self.where = prefix, where
        self.num_cut = 0

    def __call__(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str], samples: int, temperature: float
    ) -> list[list[str]]:
        """See `Complete`.

        Raises:
            UsageError: a number that is out of its range, or an empty stop. RunError: as `generate`.
        """
        if max_tokens < 1 or samples < 1 or "" in stop:
            raise UsageError(f"max_tokens {max_tokens}, samples {samples}: at least 1 each; a stop must not be empty.")
        sampling = Sampling(temperature=temperature, top_p=self.top_p, seed=self.seed)
        room = prompt_room(self.model.config.sequence_length, max_tokens=max_tokens)
        drawn = samples if temperature else 1  # the likeliest text is the same each time
        starts = []
        for prompt, ids in zip(prompts, self.codec.encode([prompt.text for prompt in prompts]), strict=True):
            if self.prefix == "eos" or not len(ids):
                ids = np.concatenate(([self.eos_id], ids))
            self.num_cut += len(ids) > room
            starts += [Start(ids[-room:], Text(prompt.key, sample)) for sample in range(drawn)]

        def ends(ids: list[int]) -> bool:
            return any(mark in self.codec.decode(ids) for mark in stop)

        written = generate(
            self.model,
            starts,
            max_tokens=max_tokens,
            eos_id=self.eos_id,
            sampling=sampling,
            ends=ends,
            where=self.where,
        )
        texts = [until(self.codec.decode(ids), stop) for ids in written]
        return [texts[i : i + drawn] * (samples // drawn) for i in range(0, len(texts), drawn)]


def until(text: str, stop: Sequence[str]) -> str:
    """The text before the first of `stop` that is in it."""
    return text[: min((place for mark in stop if (place := text.find(mark)) >= 0), default=len(text))]


def prompt_room(length: int, *, max_tokens: int) -> int:
    """How many ids of a prompt are kept in a window of `length`."""
    return max(length - max_tokens, length // 2, 1)


def generate(
    model: LanguageModel,
    starts: Sequence[Start],
    *,
    max_tokens: int,
    eos_id: int,
    sampling: Sampling,
    ends: Callable[[list[int]], bool] = lambda _: False,
    where: str = "",
) -> list[list[int]]:
    """Ids that the model writes on, in the order given; without the EOS that ended them.

    Args:
        max_tokens: at most so many each, and no more than the model's window has room for.
        ends: says after each id whether what is written so far ends there.
        where: what errors begin with.

    Raises:
        RunError: logits are not finite, so no id is likelier than another.
    """
    limit = TOKENS_AT_ONCE[next(model.parameters()).device.type]
    written: list[list[int]] = [[] for _ in starts]
    order = sorted(range(len(starts)), key=lambda i: (-len(starts[i].ids), starts[i].ids.tobytes(), i))
    first = 0
    while first < len(order):
        chosen = order[first : first + max(1, limit // (len(starts[order[first]].ids) + max_tokens))]
        first += len(chosen)
        batch = _Batch(model, [starts[i].ids for i in chosen])
        for position in range(max_tokens):
            if not bool(batch.logits_RV.isfinite().all()):
                raise RunError(
                    f"{where}logits are not finite: the arithmetic overflows, or weights are not finite. Score with "
                    "precision fp32, or an earlier step."
                )
            ids = sampling.choose(batch.logits_RV, [starts[i].text for i in chosen], position=position)
            kept = []
            for row, (i, new) in enumerate(zip(chosen, ids, strict=True)):
                if new == eos_id:
                    continue
                written[i].append(new)
                full = len(starts[i].ids) + len(written[i]) >= model.config.sequence_length
                if not full and len(written[i]) < max_tokens and not ends(written[i]):
                    kept.append(row)
            chosen = [chosen[row] for row in kept]
            if not chosen:
                break
            batch.read([written[i][-1] for i in chosen], rows=kept)
    return written


class _Batch:
    """Rows that are being written: what was read of them, and the logits of what comes next, [R, V]."""

    def __init__(self, model: LanguageModel, prompts: Sequence[Ids]) -> None:
        self.model, self.cache = model, Cache()
        self.device = next(model.parameters()).device
        distinct = {ids.tobytes(): ids for ids in prompts}
        numbers = {content: number for number, content in enumerate(distinct)}
        longest = max(map(len, prompts))
        tokens, positions = np.zeros((2, len(distinct), longest), np.int64)
        for row, ids in enumerate(distinct.values()):
            tokens[row, longest - len(ids) :] = ids
            positions[row, longest - len(ids) :] = np.arange(len(ids))
        lengths = torch.tensor([len(ids) for ids in distinct.values()])
        self.seen_RS = (torch.arange(longest) >= longest - lengths[:, None]).to(self.device)
        causal = torch.ones(longest, longest, dtype=torch.bool, device=self.device).tril()
        # What pads a row sees itself, as no softmax is of nothing.
        mask = causal & self.seen_RS[:, None, :] | torch.eye(longest, dtype=torch.bool, device=self.device)
        at = torch.arange(1, len(distinct) + 1) * longest - 1
        self.logits_RV = self._forward(torch.from_numpy(tokens), torch.from_numpy(positions), mask, at=at)
        self.lengths = lengths
        self._keep([numbers[ids.tobytes()] for ids in prompts])

    def read(self, ids: Sequence[int], *, rows: Sequence[int]) -> None:
        """Go on with some of the rows, an id each."""
        self._keep(rows)
        self.seen_RS = torch.cat((self.seen_RS, self.seen_RS.new_ones(len(rows), 1)), dim=1)
        last = torch.arange(len(rows))
        self.logits_RV = self._forward(
            torch.tensor(ids)[:, None], self.lengths[:, None], self.seen_RS[:, None], at=last
        )
        self.lengths = self.lengths + 1

    def _keep(self, rows: Sequence[int]) -> None:
        if list(rows) == list(range(len(self.lengths))):
            return
        chosen = torch.tensor(rows)
        self.lengths = self.lengths[chosen]
        chosen = chosen.to(self.device)
        self.seen_RS, self.logits_RV = self.seen_RS[chosen], self.logits_RV[chosen]
        for block, (keys, values) in self.cache.blocks.items():
            self.cache.blocks[block] = KeysValues(keys[chosen], values[chosen])

    def _forward(self, tokens_RT: Tensor, positions_RT: Tensor, mask_RTS: Tensor, *, at: Tensor) -> Tensor:
        with torch.no_grad():
            logits_RV: Tensor = self.model(
                tokens_RT.to(self.device),
                positions_BT=positions_RT.to(self.device),
                mask_BTS=mask_RTS,
                cache=self.cache,
                at=at.to(self.device),
            )
        return logits_RV.float()
