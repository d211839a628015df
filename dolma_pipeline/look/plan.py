"""`mix --plan`: what there is, what would be taken, how often, and what cuts a budget; of columns alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.look.amounts import Amount
from dolma_pipeline.look.choice import Choice, Documents, amount_of, choose, cut_by, plan_record
from dolma_pipeline.look.state import State
from dolma_pipeline.stages.mix.planning import budget_of
from dolma_pipeline.stages.rules import mix_config


@dataclass(frozen=True)
class PlanReport:
    """The plan of a recipe over the documents of its folder.

    output: the folder. unit, target: of the budget; target None: everything that passes. documents, kept: all that
    there is, and what passes the rules, by source. choice: None where nothing passes. notes: what to know, a sentence
    each.
    """

    output: str
    unit: str
    target: int | None
    documents: Mapping[str, Amount]
    kept: Mapping[str, Amount]
    choice: Choice | None
    notes: Sequence[str]

    @property
    def exact(self) -> bool:
        """Whether all of it is counted and nothing estimated."""
        certain = self.choice is None or self.choice.exact
        return certain and all(one.exact for one in self.kept.values())

    def record(self) -> dict[str, Any]:
        """As JSON; see docs/what-if.md."""
        sources = {}
        for name, kept in self.kept.items():
            sources[name] = {"documents": self.documents[name].record(), "kept": kept.record(), "plan": None}
            if self.choice is not None:
                plan = self.choice.plan.sources[name]
                sources[name]["plan"] = plan_record(
                    plan, self.choice.plan.unit, exact=self.choice.exact, tokens_exact=kept.exact
                )
        return {
            "look": "plan",
            "output": self.output,
            "unit": self.unit,
            "target": self.target,
            "exact": self.exact,
            "sources": sources,
            "notes": list(self.notes),
        }


def plan(recipe: Recipe) -> PlanReport:
    """What a recipe's mix would take of the documents in its folder.

    Raises:
        UsageError: the rules have not been asked there, or others; or the budget cannot be planned.
    """
    with State.of(recipe) as state:
        passes = {name: one.passes for name, one in state.verdicts.items()}
        documents = state.documents(recipe, passes)
    choice = choose(recipe, documents)
    unit, target = budget_of(mix_config(recipe), tokenizer=recipe.tokenizer is not None)
    everything = {name: amount_of(one, np.ones(len(one.passes), np.bool_)) for name, one in documents.items()}
    kept = {name: amount_of(one, one.passes) for name, one in documents.items()}
    notes = [*notes_on(recipe, documents), *budget_notes(choice, target)]
    return PlanReport(recipe.output, unit, target, everything, kept, choice, notes)


def notes_on(recipe: Recipe, documents: Mapping[str, Documents], *, retrained: bool = False) -> list[str]:
    """What makes numbers estimates, a sentence each."""
    if recipe.tokenizer is None:
        return []
    if any(one.tokens is None for one in documents.values()):
        return ["tokens are not known: no document has been encoded yet (dolma-pipeline mix RECIPE does it)"]
    if retrained:
        return [
            "the tokenizer would be trained anew, on other documents: all tokens are estimates, counted by the one "
            "that is in the folder"
        ]
    left = {name: int((one.passes & ~one.known).sum()) for name, one in documents.items()}
    return [
        f"~ {name}: {count:,} of {int(documents[name].passes.sum()):,} documents that pass were never encoded; their "
        "tokens are estimated from their bytes, by the tokens a byte of the source's encoded documents"
        for name, count in left.items()
        if count
    ]


def budget_notes(choice: Choice | None, target: int | None) -> list[str]:
    """Whether the budget is met, and what cuts it."""
    if choice is None:
        return ["no document passes the rules: nothing would be taken"]
    plan = choice.plan
    if target is None:
        return []
    taken = sum(getattr(one, plan.unit) for one in plan.sources.values())
    limited = [name for name, one in plan.sources.items() if cut_by(one, plan.unit) == "max_epochs"]
    about = "" if choice.exact else "~"
    found = [f"the budget is {target:,} {plan.unit}; {about}{taken:,} would be taken"]
    if limited:
        found.append(f"max_epochs cuts what the weights ask of {', '.join(limited)}")
    return found
