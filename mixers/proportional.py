"""Weights as given: each source gets its share of the budget. Pure arithmetic, costs nothing.

A source without a weight counts by its size. Where only some have weights, those together get what their size
gives them, and divide it by their weights. A source that has nothing gets nothing, whatever its weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from dolma_pipeline.mixing import Available, divide, exact_weights, mixer


@mixer("proportional")
def proportional(sources: Mapping[str, Available], target: int) -> Mapping[str, int]:
    """Shares by weight; of sources without a weight, by size.

    Args:
        sources: what each source has, and its weight.
        target: what to share out, in what the budget counts; all of it is, if any source has something. A source may
            get more than it has.

    Raises:
        UsageError: a negative target or weight, or none above 0.
    """
    filled = {name: source for name, source in sources.items() if source.size > 0}
    nothing = dict.fromkeys(sources, 0)
    if not filled:
        return nothing
    given = exact_weights({name: one.weight for name, one in filled.items() if one.weight is not None})
    whole = sum(given.values())
    size = sum(filled[name].size for name in given)
    weights = {name: Fraction(one.size) for name, one in filled.items()}
    weights |= {name: weight * size / whole if whole else weight for name, weight in given.items()}
    return nothing | divide(target, weights)
