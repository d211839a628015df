"""What scoring gives: numbers of the whole, and of each item what they come from.

A measure is a number an item, whose mean is the score (`acc`: 0 or 1), or a pair, of which the sums' ratio is the score
(`bits_per_byte`: bits and bytes). So the scores, their standard errors and the comparison of two models
(`evals.compare`) all come from the rows, and none has a rule of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dolma_pipeline.evals.spread import Estimate, mean, mean_of_groups, ratio

Measure = float | tuple[float, float]


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """An item. measures: name -> number, or numerator and denominator. more: what else its row shows. group: or ""."""

    id: str
    measures: Mapping[str, Measure]
    more: Mapping[str, Any]
    group: str = ""

    def row(self) -> dict[str, Any]:
        """As it is written."""
        return {"id": self.id, "scores": dict(self.measures), **self.more}


@dataclass(frozen=True, slots=True)
class Scored:
    """A task or domain. numbers: name -> value, of the whole. items: at least one, in the file's order."""

    numbers: Mapping[str, Any]
    items: Sequence[ScoredItem]


def estimate(measures: Sequence[Measure]) -> Estimate:
    """The score of one measure over items, and its standard error."""
    if isinstance(measures[0], tuple):
        pairs = [measure for measure in measures if isinstance(measure, tuple)]
        return ratio([above for above, _ in pairs], [below for _, below in pairs])
    return mean([measure for measure in measures if not isinstance(measure, tuple)])


def estimates(items: Sequence[ScoredItem]) -> dict[str, float | None]:
    """Each measure over all items: `NAME` and `NAME_stderr`."""
    numbers: dict[str, float | None] = {}
    for name in items[0].measures:
        numbers[name], numbers[f"{name}_stderr"] = estimate([item.measures[name] for item in items])
    return numbers


def groups_of(items: Sequence[ScoredItem], metric: str) -> dict[str, Any]:
    """A metric by group, and the mean over groups, as MMLU's subjects have; nothing where items have no groups."""
    members: dict[str, list[Measure]] = {}
    for item in items:
        members.setdefault(item.group, []).append(item.measures[metric])
    if set(members) == {""}:
        return {}
    by_group = {group: estimate(members[group]) for group in sorted(members)}
    whole = mean_of_groups([*by_group.values()])
    return {
        f"{metric}_macro": whole.value,
        f"{metric}_macro_stderr": whole.error,
        "groups": {
            group: {"num_items": len(members[group]), metric: found.value, f"{metric}_stderr": found.error}
            for group, found in by_group.items()
        },
    }
