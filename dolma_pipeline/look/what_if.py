"""`mix --what-if`: what other rules, another budget or another seed would do, against what the folder holds.

Exact, in seconds and from columns alone: verdicts, the election of duplicates, documents and bytes. Tokens, and what a
budget in tokens chooses, are exact where every document concerned was encoded before; else they are estimates that say
so. Nothing is written but the table, which is a cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.look.amounts import Amount, Histogram, RuleChange
from dolma_pipeline.look.asking import Asking, SourceVerdicts
from dolma_pipeline.look.changes import changed, naming
from dolma_pipeline.look.choice import Choice, Documents, amount_of, choose, plan_record
from dolma_pipeline.look.folder import with_recipe
from dolma_pipeline.look.measured import same_edits
from dolma_pipeline.look.plan import budget_notes, notes_on
from dolma_pipeline.look.remembered import refuse_anew
from dolma_pipeline.look.repeats import refuse_other_repeats
from dolma_pipeline.look.state import State
from dolma_pipeline.run import layout
from dolma_pipeline.stages.mix.planning import MixPlan, budget_of
from dolma_pipeline.stages.rules import mix_config


@dataclass(frozen=True)
class SourceChange:
    """One source before and after.

    before, after: what passes all rules. gained, lost: what passes only afterwards, only before. rules: by name.
    chosen: what a mix takes, before and after; copies count. chosen_gained, chosen_lost: documents.
    """

    before: Amount
    after: Amount
    gained: Amount
    lost: Amount
    rules: Mapping[str, RuleChange]
    chosen_gained: int
    chosen_lost: int


@dataclass(frozen=True)
class WhatIf:
    """What changes would do to a folder.

    output: the folder. changes: as asked. sources: by name. before, after: what is chosen; None where nothing passes.
    exact: no number is an estimate. notes: what to know, a sentence each.
    """

    output: str
    changes: Sequence[str]
    sources: Mapping[str, SourceChange]
    before: Choice | None
    after: Choice | None
    notes: Sequence[str]

    @property
    def exact(self) -> bool:
        """Whether all of it is counted and nothing estimated."""
        amounts = [one.after.exact and one.before.exact for one in self.sources.values()]
        return all(amounts) and (self.after is None or self.after.exact)

    def record(self) -> dict[str, Any]:
        """As JSON; see docs/what-if.md."""
        sources = {}
        for name, one in self.sources.items():
            chosen: dict[str, Any] = {"gained": one.chosen_gained, "lost": one.chosen_lost}
            for when, choice, kept in (("before", self.before, one.before), ("after", self.after, one.after)):
                chosen[when] = None
                if choice is not None:
                    plan = choice.plan.sources[name]
                    chosen[when] = plan_record(plan, choice.plan.unit, exact=choice.exact, tokens_exact=kept.exact)
            sources[name] = {
                **{when: getattr(one, when).record() for when in ("before", "after", "gained", "lost")},
                "rules": {rule: change.record() for rule, change in one.rules.items()},
                "chosen": chosen,
            }
        return {
            "look": "what-if",
            "output": self.output,
            "changes": list(self.changes),
            "exact": self.exact,
            "sources": sources,
            "notes": list(self.notes),
        }


def what_if(recipe: Recipe, changes: Sequence[str]) -> WhatIf:
    """What these changes would do.

    Args:
        recipe: as the folder was made. changes: see `look.changes`.

    Raises:
        UsageError: a change that cannot be, or a rule that columns cannot answer; or the folder is not finished.
        DataError: a value that a rule cannot take.
    """
    after = changed(recipe, changes)
    with State.of(recipe) as state:
        with naming(changes):
            verdicts, early = _asked(state, after)
        passes = [{name: one.passes for name, one in some.items()} for some in (state.verdicts, verdicts)]
        retrained = _is_retrained(state, after, *passes)
        old = state.documents(recipe, passes[0])
        new = state.documents(after, passes[1], early=early, retrained=retrained)
        choice = _held_by_the_folder(state) or choose(recipe, old)
        with naming(changes):
            choices = (choice, choose(after, new))
    sources = {}
    for name in state.verdicts:
        sources[name] = _source(state.verdicts[name], verdicts[name], old[name], new[name], name, choices)
    _, target = budget_of(mix_config(after), tokenizer=after.tokenizer is not None)
    notes = [*notes_on(after, new, retrained=retrained), *budget_notes(choices[1], target)]
    return WhatIf(recipe.output, list(changes), sources, *choices, notes)


def _asked(state: State, recipe: Recipe) -> tuple[dict[str, SourceVerdicts], NDArray[np.bool_]]:
    """What the rules of a changed recipe say of all documents; and which pass the early ones, by number."""
    process = with_recipe(state.finished, recipe)
    refuse_anew(state.finished, process)
    asking = {
        name: Asking(state.finished, process, columns, state.verdicts[name], state.edited[name])
        for name, columns in state.columns.items()
    }
    try:
        early = {name: one.early() for name, one in asking.items()}
        found = {name: SourceVerdicts(rules, state.finished.sources[name].rows) for name, rules in early.items()}
        passes = state.by_number({name: one.passes for name, one in found.items()})
        refuse_other_repeats(state, {name: one.rules() for name, one in asking.items()}, passes)
        if any(one.rules().late for one in asking.values()):
            clusters = state.clusters
            same = bool(np.array_equal(passes[clusters.nodes], state.early[clusters.nodes]))
            elected = clusters.elected(passes)
            for name, one in asking.items():
                late = one.late(elected, same=same)
                rules = {rule: {**early[name], **late}[rule] for rule in one.rules().names}
                found[name] = SourceVerdicts(rules, state.finished.sources[name].rows)
        return found, passes
    finally:
        process.close()


def _is_retrained(
    state: State, after: Recipe, old: Mapping[str, NDArray[np.bool_]], new: Mapping[str, NDArray[np.bool_]]
) -> bool:
    """Whether the tokenizer would be trained on another sample."""
    before = state.finished.run.recipe
    if before.tokenizer is None or before.tokenizer.load is not None:
        return False
    alike = before.seed == after.seed and all(same_edits(before, after, name) for name in old)
    return not (alike and all(np.array_equal(old[name], new[name]) for name in old))


def _held_by_the_folder(state: State) -> Choice | None:
    """The plan in the folder, where its mix is finished with the recipe's settings."""
    if not state.finished.is_done("mix"):
        return None
    return Choice(MixPlan.from_json(orjson.loads(state.finished.run.folder.read(layout.plan()))), exact=True)


def _source(
    before: SourceVerdicts,
    after: SourceVerdicts,
    old: Documents,
    new: Documents,
    name: str,
    choices: tuple[Choice | None, Choice | None],
) -> SourceChange:
    counted = Histogram(before, after, new.sizes, new.tokens, (old.known, new.known))
    was, now = counted.passes(0), counted.passes(1)
    nothing = np.zeros(len(new.passes), np.bool_)
    chosen = [
        choice.chosen(name, one) if choice is not None else nothing
        for choice, one in zip(choices, (old, new), strict=True)
    ]
    return SourceChange(
        amount_of(old, old.passes),
        counted.amount(now),
        counted.amount(now & ~was),
        counted.amount(was & ~now, 0),
        counted.rules(),
        int((chosen[1] & ~chosen[0]).sum()),
        int((chosen[0] & ~chosen[1]).sum()),
    )
