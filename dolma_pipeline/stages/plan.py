"""The plan of a mix: which documents are held out, how often each source is repeated, where its order is cut.

Pure: columns of the documents that pass in, numbers out. Choices go by keys that depend on a document's origin
alone, so another shard changes no other document's lot, and a larger budget only adds documents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import HeldOutConfig, MixConfig, MixSourceConfig
from dolma_pipeline.errors import DataError
from dolma_pipeline.mixing import Available, Mixer

KEY_END = 1 << 64


@dataclass(frozen=True)
class Selection:
    """Documents of one source that pass: sampling keys, held-out keys (equal within a cluster), tokens with EOS."""

    keys: NDArray[np.uint64]
    held_keys: NDArray[np.uint64]
    tokens: NDArray[np.int64]


@dataclass(frozen=True)
class SourcePlan:
    """What happens to one source.

    available: documents and tokens that may be trained on. held_out: documents and tokens kept from training.
    weight: share that the recipe asks for. wanted: tokens that the mixer gave. full_epochs: whole copies of each
    document; cut: of the documents whose key is at most this there is one copy more (None: of none).
    documents, tokens: copies that are written. epochs: tokens / available. limited: `max_epochs` cut what the
    mixer gave.
    """

    available: Mapping[str, int]
    held_out: Mapping[str, int]
    weight: float | None
    wanted: int
    full_epochs: int
    cut: int | None
    documents: int
    tokens: int
    epochs: float
    limited: bool


@dataclass(frozen=True)
class MixPlan:
    """The plan of all sources. held_cut: per source, clusters whose held-out key is below it are held out."""

    sources: Mapping[str, SourcePlan]
    held_cut: Mapping[str, int]
    held_keys: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As `plan.json` has it."""
        return {
            "sources": {name: asdict(plan) for name, plan in self.sources.items()},
            "held_cut": dict(self.held_cut),
            "held_keys": list(self.held_keys),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> MixPlan:
        """From `plan.json`."""
        sources = {name: SourcePlan(**plan) for name, plan in value["sources"].items()}
        return MixPlan(sources, value["held_cut"], tuple(value["held_keys"]))

    def is_held(self, source: str, held_keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which documents are held out, by their held-out keys."""
        below = held_keys < np.uint64(min(self.held_cut.get(source, 0), KEY_END - 1))
        spared = np.isin(held_keys, np.array(self.held_keys, np.uint64))
        return below & ~spared

    def copies(self, source: str, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Copies of documents that are not held out, by their sampling keys."""
        plan = self.sources[source]
        more = keys <= np.uint64(plan.cut) if plan.cut is not None else np.zeros(len(keys), np.bool_)
        return plan.full_epochs + more.astype(np.int64)


def plan_mix(
    selections: Mapping[str, Selection],
    mix: MixConfig,
    mixer: Mixer,
) -> MixPlan:
    """The plan of a mix.

    Args:
        selections: source -> the documents that pass. mix: the recipe's section. mixer: weights to tokens.

    Raises:
        DataError: nothing passes in any source.
    """
    if not any(len(selection.keys) for selection in selections.values()):
        raise DataError("mix: no document passes the rules. Loosen mix.where.")
    held_cut, spared = _hold_out(selections, mix.held_out)
    partial = MixPlan({}, held_cut, spared)
    train: dict[str, Selection] = {}
    held: dict[str, dict[str, int]] = {}
    for name, one in selections.items():
        out = partial.is_held(name, one.held_keys)
        held[name] = {"documents": int(out.sum()), "tokens": int(one.tokens[out].sum())}
        train[name] = Selection(one.keys[~out], one.held_keys[~out], one.tokens[~out])
    weights = {name: mix.sources.get(name, MixSourceConfig()).weight for name in selections}
    have = {
        name: Available(unit="tokens", documents=len(one.keys), tokens=int(one.tokens.sum()), weight=weights[name])
        for name, one in train.items()
    }
    if mix.target_tokens is None:
        wanted: Mapping[str, int] = {name: one.size for name, one in have.items()}
    else:
        wanted = mixer(have, mix.target_tokens)
    sources = {
        name: _plan_source(train[name], have[name], int(wanted[name]), mix.max_epochs, held[name])
        for name in sorted(selections)
    }
    return MixPlan(sources, held_cut, spared)


def _plan_source(
    one: Selection, have: Available, wanted: int, max_epochs: float, held: Mapping[str, int]
) -> SourcePlan:
    allowed = min(wanted, math.floor(max_epochs * have.size))
    full = allowed // have.size if have.size else 0
    rest = allowed - full * have.size
    order = np.argsort(one.keys, kind="stable")
    sums = np.cumsum(one.tokens[order])
    taken = int(np.searchsorted(sums, rest, side="right")) if rest else 0
    cut = int(one.keys[order[taken - 1]]) if taken else None
    more = int(sums[taken - 1]) if taken else 0
    tokens = full * have.size + more
    return SourcePlan(
        available={"documents": have.documents, "tokens": have.size},
        held_out=dict(held),
        weight=have.weight,
        wanted=wanted,
        full_epochs=full,
        cut=cut,
        documents=full * have.documents + taken,
        tokens=tokens,
        epochs=round(tokens / have.size, 6) if have.size else 0.0,
        limited=allowed < wanted,
    )


def _fitting(tokens: NDArray[np.int64], most: int) -> int:
    return int(np.searchsorted(np.cumsum(tokens), most, side="right"))


def _hold_out(
    selections: Mapping[str, Selection], config: HeldOutConfig | None
) -> tuple[dict[str, int], tuple[int, ...]]:
    """Per source the key below which clusters are held out; and clusters below it that are trained on all the same.

    A cluster that lies in two sources is held out in both or in neither: where one source has reached its
    `max_tokens`, the cluster is spared in the other too.
    """
    if config is None or config.share == 0:
        return dict.fromkeys(sorted(selections), 0), ()
    cuts = {}
    for name, one in sorted(selections.items()):
        keys, inverse = np.unique(one.held_keys, return_inverse=True)
        tokens = np.bincount(inverse, one.tokens, len(keys)).astype(np.int64) if len(keys) else np.zeros(0, np.int64)
        below = int(np.searchsorted(keys, np.uint64(min(int(config.share * KEY_END), KEY_END - 1))))
        if below == 0 and len(keys) > 1:
            below = 1  # a source that is measured needs something to be measured on
        fits = below if config.max_tokens is None else _fitting(tokens[:below], config.max_tokens)
        cuts[name] = int(keys[fits]) if fits < len(keys) else KEY_END - 1
    spared: set[int] = set()
    for name, one in selections.items():
        for other, theirs in selections.items():
            if cuts[other] < cuts[name]:
                mine = one.held_keys[one.held_keys < np.uint64(cuts[name])]
                past = theirs.held_keys[theirs.held_keys >= np.uint64(cuts[other])]
                spared |= set(np.intersect1d(mine, past).tolist())
    return cuts, tuple(sorted(spared))
