"""The plan of a mix: which documents are held out, how often each source is repeated, where its order is cut.

Pure: columns of the documents that pass in, numbers out. Choices go by keys that depend on a document's origin
alone, so another shard changes no other document's lot, and a larger budget only adds documents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import HeldOutConfig, MixConfig, MixSourceConfig
from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.mixing import Available, Mixer, checked_sizes

KEY_END = 1 << 64

Unit = Literal["tokens", "bytes", "documents"]
"""What a budget counts."""


@dataclass(frozen=True)
class Selection:
    """Documents of one source that pass: sampling keys, held-out keys (equal within a cluster), tokens with EOS (0
    without a tokenizer), bytes of text as read."""

    keys: NDArray[np.uint64]
    held_keys: NDArray[np.uint64]
    tokens: NDArray[np.int64]
    bytes: NDArray[np.int64]

    def sizes(self, unit: Unit) -> NDArray[np.int64]:
        """How much of the budget each document takes."""
        return {"tokens": self.tokens, "bytes": self.bytes, "documents": np.ones(len(self.keys), np.int64)}[unit]

    def without(self, out: NDArray[np.bool_]) -> Selection:
        """The others."""
        return Selection(self.keys[~out], self.held_keys[~out], self.tokens[~out], self.bytes[~out])

    def totals(self) -> dict[str, int]:
        """Documents, tokens and bytes."""
        return {"documents": len(self.keys), "tokens": int(self.tokens.sum()), "bytes": int(self.bytes.sum())}


@dataclass(frozen=True)
class SourcePlan:
    """What happens to one source.

    available: documents, tokens and bytes that may be trained on. held_out: those kept from training.
    weight: share that the recipe asks for. wanted: of the budget, that the mixer gave. full_epochs: whole copies of
    each document; cut: of the documents whose key is at most this there is one copy more (None: of none).
    documents, tokens, bytes: copies that are written. epochs: what is written / available, in the budget's unit.
    limited: `max_epochs` cut what the mixer gave.
    """

    available: Mapping[str, int]
    held_out: Mapping[str, int]
    weight: float | None
    wanted: int
    full_epochs: int
    cut: int | None
    documents: int
    tokens: int
    bytes: int
    epochs: float
    limited: bool


@dataclass(frozen=True)
class MixPlan:
    """The plan of all sources.

    unit: what the budget counts. held_cut: per source, clusters whose held-out key is below it are held out;
    held_keys: clusters below that are trained on all the same.
    """

    sources: Mapping[str, SourcePlan]
    held_cut: Mapping[str, int]
    held_keys: tuple[int, ...]
    unit: Unit = "tokens"

    def to_json(self) -> dict[str, Any]:
        """As `plan.json` has it."""
        return {
            "sources": {name: asdict(plan) for name, plan in self.sources.items()},
            "held_cut": dict(self.held_cut),
            "held_keys": list(self.held_keys),
            "unit": self.unit,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> MixPlan:
        """From `plan.json`."""
        sources = {name: SourcePlan(**plan) for name, plan in value["sources"].items()}
        return MixPlan(sources, value["held_cut"], tuple(value["held_keys"]), value["unit"])

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


def budget_of(mix: MixConfig, *, tokenizer: bool) -> tuple[Unit, int | None]:
    """What the budget counts, and how much it is (None: everything that passes).

    Args:
        tokenizer: whether documents are counted in tokens; without a budget that is what is told.
    """
    units: tuple[Unit, ...] = ("tokens", "bytes", "documents")
    for unit in units:
        target: int | None = getattr(mix, f"target_{unit}")
        if target is not None:
            return unit, target
    return ("tokens" if tokenizer else "bytes"), None


def plan_mix(
    selections: Mapping[str, Selection], mix: MixConfig, mixer: Mixer, *, tokenizer: bool = True, section: str = "mix"
) -> MixPlan:
    """The plan of a mix.

    Args:
        selections: source -> the documents that pass. mix: the recipe's section. mixer: weights to sizes.
        tokenizer: whether tokens are known. section: name of the section, which errors name.

    Raises:
        UsageError: weights without a budget, or a mixer that gives what none may. DataError: nothing passes in any
            source.
    """
    unit, target = budget_of(mix, tokenizer=tokenizer)
    weighted = sorted(name for name, own in mix.sources.items() if own.weight is not None)
    if weighted and target is None:
        raise UsageError(
            f"{section}.sources.{weighted[0]}.weight needs a budget: set {section}.target_tokens, "
            f"{section}.target_bytes or {section}.target_documents (or leave the weights out)."
        )
    if not any(len(selection.keys) for selection in selections.values()):
        raise DataError(f"{section}: no document passes the rules. Loosen {section}.where.")
    held_cut, spared = _hold_out(selections, mix.held_out)
    partial = MixPlan({}, held_cut, spared, unit)
    train: dict[str, Selection] = {}
    held: dict[str, dict[str, int]] = {}
    for name, one in selections.items():
        out = partial.is_held(name, one.held_keys)
        held[name] = one.without(~out).totals()
        train[name] = one.without(out)
    weights = {name: mix.sources.get(name, MixSourceConfig()).weight for name in selections}
    have = {name: _available(one, weights[name], unit) for name, one in train.items()}
    wanted = {name: one.size for name, one in have.items()}
    if target is not None:
        wanted = checked_sizes(mix.mixer.name, mixer({**have}, target), have, target)
    sources = {
        name: _plan_source(train[name], have[name], wanted[name], mix.max_epochs, held[name], unit)
        for name in sorted(selections)
    }
    return MixPlan(sources, held_cut, spared, unit)


def _available(one: Selection, weight: float | None, unit: Unit) -> Available:
    return Available(**one.totals(), weight=weight, unit=unit)


def _plan_source(
    one: Selection, have: Available, wanted: int, max_epochs: float, held: Mapping[str, int], unit: Unit
) -> SourcePlan:
    sizes = one.sizes(unit)
    whole = int(sizes.sum())
    allowed = min(wanted, math.floor(max_epochs * whole))
    full = allowed // whole if whole else 0
    rest = allowed - full * whole
    cut, taken = cut_of(one.keys, sizes, rest)
    chosen = one.keys <= np.uint64(cut) if cut is not None else np.zeros(len(one.keys), np.bool_)
    size = full * whole + int(sizes[chosen].sum())
    totals = one.totals()
    return SourcePlan(
        available=totals,
        held_out=dict(held),
        weight=have.weight,
        wanted=wanted,
        full_epochs=full,
        cut=cut,
        documents=full * totals["documents"] + taken,
        tokens=full * totals["tokens"] + int(one.tokens[chosen].sum()),
        bytes=full * totals["bytes"] + int(one.bytes[chosen].sum()),
        epochs=round(size / whole, 6) if whole else 0.0,
        limited=allowed < wanted,
    )


def cut_of(keys: NDArray[np.uint64], sizes: NDArray[np.int64], rest: int) -> tuple[int | None, int]:
    """The last key of the keyed order whose documents together take at most `rest`, and how many they are.

    Returns:
        (None, 0) if none fits.
    """
    if not rest:
        return None, 0
    order = np.argsort(keys, kind="stable")
    sums = np.cumsum(sizes[order])
    taken = int(np.searchsorted(sums, rest, side="right"))
    if 0 < taken < len(order):  # documents of one key are taken together, or not at all
        taken = int(np.searchsorted(keys[order[: taken + 1]], keys[order[taken]]))
    return (int(keys[order[taken - 1]]), taken) if taken else (None, 0)


def _hold_out(
    selections: Mapping[str, Selection], config: HeldOutConfig | None
) -> tuple[dict[str, int], tuple[int, ...]]:
    """Per source the key below which clusters are held out; and clusters below it that are trained on all the same.

    A cluster that lies in two sources is held out in both or in neither: where one source has reached its
    `max_tokens` (or `max_bytes`), the cluster is spared in the other too.
    """
    if config is None or config.share == 0:
        return dict.fromkeys(sorted(selections), 0), ()
    cuts = {name: _cut_of_held(one, config) for name, one in sorted(selections.items())}
    most = np.uint64(max(cuts.values(), default=0))
    low = {name: np.unique(one.held_keys[one.held_keys < most]) for name, one in selections.items()}
    spared: set[int] = set()
    for name, mine in low.items():
        mine = mine[mine < np.uint64(cuts[name])]
        for other, theirs in low.items():
            if cuts[other] < cuts[name]:
                spared |= set(np.intersect1d(mine, theirs[theirs >= np.uint64(cuts[other])]).tolist())
    return cuts, tuple(sorted(spared))


def _cut_of_held(one: Selection, config: HeldOutConfig) -> int:
    """The key below which a source's clusters are held out; only keys below the share are sorted."""
    some = one.held_keys < np.uint64(min(int(config.share * KEY_END), KEY_END - 1))
    rest = one.held_keys[~some]
    if not some.any() and len(rest) and (rest != rest[0]).any():
        some = one.held_keys == rest.min()  # a source that is measured needs something to be measured on
        rest = one.held_keys[~some]
    keys, inverse = np.unique(one.held_keys[some], return_inverse=True)
    below = len(keys)
    for sizes, most in _bounds(one, config):
        together = np.bincount(inverse, sizes[some], len(keys)).astype(np.int64) if len(keys) else np.zeros(0, np.int64)
        below = min(below, int(np.searchsorted(np.cumsum(together), most, side="right")))
    if below < len(keys):
        return int(keys[below])
    return int(rest.min()) if len(rest) else KEY_END - 1


def _bounds(one: Selection, config: HeldOutConfig) -> list[tuple[NDArray[np.int64], int]]:
    """What bounds the held-out part of a source: sizes of its documents, and the most that they may be together."""
    bounds = ((one.tokens, config.max_tokens), (one.bytes, config.max_bytes))
    return [(sizes, most) for sizes, most in bounds if most is not None]
