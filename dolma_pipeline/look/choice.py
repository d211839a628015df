"""What a mix would choose of the documents that pass, and how far that is certain.

The plan is the run's own (`stages.mix.planning`). It is exact if all sizes that it looked at are: tokens of documents
that were never encoded are estimates, so are then a budget in tokens, and held-out parts that are bounded in tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.errors import UsageError
from dolma_pipeline.look.amounts import Amount
from dolma_pipeline.registry import load_mixer
from dolma_pipeline.stages.mix.planning import (
    MixPlan,
    Selection,
    SourcePlan,
    budget_of,
    plan_mix,
)
from dolma_pipeline.stages.rules import mix_config


@dataclass(frozen=True)
class Documents:
    """All documents of one source.

    passes: bool[n]. keys, held_keys: uint64[n]. sizes: bytes. tokens: with estimates, None if nothing is known.
    known: which tokens are counted.
    """

    passes: NDArray[np.bool_]
    keys: NDArray[np.uint64]
    held_keys: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    tokens: NDArray[np.int64] | None
    known: NDArray[np.bool_]

    def selection(self) -> Selection:
        """Those that pass, as the plan takes them."""
        some = self.passes
        tokens = np.zeros(int(some.sum()), np.int64) if self.tokens is None else self.tokens[some]
        return Selection(self.keys[some], self.held_keys[some], tokens, self.sizes[some])


@dataclass(frozen=True)
class Choice:
    """A plan. exact: documents, held-out documents and epochs are certain; tokens may still be estimates."""

    plan: MixPlan
    exact: bool

    def chosen(self, source: str, of: Documents) -> NDArray[np.bool_]:
        """The documents of a source that would be trained on."""
        found = of.passes & ~self.plan.is_held(source, of.held_keys)
        found[found] = self.plan.copies(source, of.keys[found]) > 0
        return found


def choose(recipe: Recipe, documents: Mapping[str, Documents]) -> Choice | None:
    """The choice of a recipe; None where no document passes.

    Raises:
        UsageError: the budget is in tokens, and nothing is known of them.
    """
    mix = mix_config(recipe)
    unit, target = budget_of(mix, tokenizer=recipe.tokenizer is not None)
    tokens_known = all(one.tokens is not None for one in documents.values())
    if not any(one.passes.any() for one in documents.values()):
        return None
    if unit == "tokens" and target is not None and not tokens_known:
        raise UsageError(
            "mix.target_tokens: no document of this run has been encoded yet, so nobody knows how many tokens there "
            "are. First: dolma-pipeline mix RECIPE. Or give a budget in bytes: mix.target_bytes."
        )
    counted = recipe.tokenizer is not None and tokens_known
    if not counted and target is None:
        unit = "bytes"
    mixer = load_mixer(mix.mixer.name, **mix.mixer.parameters)
    plan = plan_mix({name: one.selection() for name, one in documents.items()}, mix, mixer, tokenizer=counted)
    exact = all(bool(one.known[one.passes].all()) for one in documents.values())
    if not exact and (unit != "tokens" or (target is None and mix.max_epochs >= 1)):
        exact = all(_held_is_certain(recipe, one) for one in documents.values())
    return Choice(plan, exact)


def _held_is_certain(recipe: Recipe, one: Documents) -> bool:
    """Whether what is held out of a source does not depend on estimates."""
    held = mix_config(recipe).held_out
    if held is None or recipe.tokenizer is None:
        return True
    may_be = one.passes & (one.held_keys <= np.uint64(min(int(held.share * (1 << 64)), (1 << 64) - 1)))
    if not may_be.any():  # then it is the cluster of the smallest key
        may_be = one.passes & (one.held_keys == one.held_keys[one.passes].min(initial=np.uint64((1 << 64) - 1)))
    return bool(one.known[may_be].all()) and one.tokens is not None


def amount_of(one: Documents, some: NDArray[np.bool_]) -> Amount:
    """How much some documents of a source are."""
    tokens = None if one.tokens is None else int(one.tokens[some].sum())
    return Amount(int(some.sum()), int(one.sizes[some].sum()), tokens, tokens is None or bool(one.known[some].all()))


def cut_by(plan: SourcePlan, unit: str) -> str:
    """Why not all of a source is taken once: `budget`, `max_epochs`, or empty."""
    if plan.limited:
        return "max_epochs"
    return "budget" if plan.wanted < plan.available[unit] else ""


def plan_record(plan: SourcePlan, unit: str, *, exact: bool, tokens_exact: bool) -> dict[str, Any]:
    """One source of a plan as JSON."""
    return {
        "available": dict(plan.available),
        "held_out": dict(plan.held_out),
        "weight": plan.weight,
        "wanted": plan.wanted,
        "documents": plan.documents,
        "bytes": plan.bytes,
        "tokens": plan.tokens,
        "epochs": plan.epochs,
        "cut_by": cut_by(plan, unit) or None,
        "exact": exact,
        "tokens_exact": tokens_exact,
    }
