"""Steps that mark repeats, under other rules: their marks are those of the folder, or the question is refused.

Which stretch of text is a repeat depends on the documents that are there. A document that the folder's step saw, and
that has no text in common with another one, may go without a change to any mark; any other document that comes or goes
may change some, and only a run finds out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import UsageError
from dolma_pipeline.look.state import State
from dolma_pipeline.stages.dedupe.election import Elected
from dolma_pipeline.stages.dedupe.steps import electing_before, span_steps
from dolma_pipeline.stages.rules import SourceRules


def refuse_other_repeats(state: State, rules: Mapping[str, SourceRules], passes: NDArray[np.bool_]) -> None:
    """Nothing, if all marks that rules and edits read are still those of the folder.

    Args:
        state: the folder. rules: of each source, as changed. passes: which documents pass the rules that name no dedupe
            step, as changed; by number.

    Raises:
        UsageError: they may be others; says of which step, how many documents are the reason, and what to do.
    """
    recipe = state.finished.run.recipe
    used = {column for one in rules.values() for column in (*one.columns_of(one.late), *one.edit_columns)}
    steps = [step.name for step in span_steps(recipe) if step.name in used]
    if not steps or np.array_equal(passes, state.early):
        return
    before, after = state.clusters.elected(state.early), state.clusters.elected(passes)
    for step in steps:
        earlier = [one.name for one in electing_before(recipe, step)]
        saw, sees = _seen(state.early, before, earlier), _seen(passes, after, earlier)
        others = (sees & ~saw) | (saw & ~sees & _has_repeats(state, step))
        if others.any():
            raise UsageError(
                f"what dedupe step '{step}' marks may be other text with these rules: of the documents that come or "
                f"go {int(others.sum()):,} have text in common with others, or may have, and rules or edits read it. "
                "Change the recipe and run: dolma-pipeline mix RECIPE --redo; no text is read again for the marks."
            )


def _seen(passes: NDArray[np.bool_], elected: Mapping[str, Elected], steps: list[str]) -> NDArray[np.bool_]:
    """The documents that pass and that these steps keep, by number."""
    found = passes.copy()
    for step in steps:
        found[elected[step].nodes[~elected[step].keep]] = False
    return found


def _has_repeats(state: State, step: str) -> NDArray[np.bool_]:
    """The documents in which the folder's step has found anything, by number."""
    parts = {}
    for name, columns in state.columns.items():
        fields = [f"{step}.coverage", f"{step}.elsewhere"]
        table = columns.table.columns(columns.groups.attribute(step), fields)
        shares = [table.column(field).to_numpy() for field in fields]
        parts[name] = (shares[0] > 0) | (shares[1] > 0)
    return state.by_number(parts)
