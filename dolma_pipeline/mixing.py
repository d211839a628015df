"""What a mixer is: from what each source has, and a budget, to the tokens of each.

A mixer is pure arithmetic over totals: it reads no documents, so it is tried in milliseconds. Which documents are
taken is decided later, by one cut of each source's keyed order.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

from dolma_pipeline.errors import UsageError


@dataclass(frozen=True, slots=True)
class Available:
    """What a source has after filters and edits, and the weight that the recipe gives it (None: by size)."""

    documents: int
    tokens: int
    weight: float | None = None


Mixer = Callable[[Mapping[str, Available], int], Mapping[str, int]]
"""(sources, target) -> tokens of each source: whole numbers from 0, at most `target` together.

A source may get more tokens than it has (it is then repeated); the caller bounds epochs and says what it cut.
"""


@dataclass(frozen=True)
class MixerSpec:
    """A declared mixer: its name, function, parameters (name -> default), summary, and the module that declares it."""

    name: str
    function: Callable[..., Mapping[str, int]]
    parameters: Mapping[str, Any]
    summary: str
    module: str


MIXERS: dict[str, MixerSpec] = {}
"""Every mixer declared in this process, by name."""

M = TypeVar("M", bound=Callable[..., Mapping[str, int]])


def mixer(name: str) -> Callable[[M], M]:
    """Declare a mixer; the function is returned unchanged. Parameters after the two are keyword-only, with defaults.

    Raises:
        UsageError: another signature, or a name that another module has.
    """

    def declare(function: M) -> M:
        arguments = list(inspect.signature(function).parameters.values())
        others = arguments[2:]
        if len(arguments) < 2 or any(one.kind is not one.KEYWORD_ONLY or one.default is one.empty for one in others):
            raise UsageError(f"mixer '{name}': write def {function.__name__}(sources, target, *, t: float = 0.5)")
        before = MIXERS.get(name)
        if before is not None and before.module != function.__module__:
            raise UsageError(f"mixer '{name}' is declared twice: in {before.module} and in {function.__module__}")
        parameters = {one.name: one.default for one in others}
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        MIXERS[name] = MixerSpec(name, function, parameters, summary, function.__module__)
        return function

    return declare


def exact_weights(weights: Mapping[str, Fraction | float]) -> dict[str, Fraction]:
    """Relative weights as exact fractions.

    Raises:
        UsageError: a weight that is no finite number from 0.
    """
    for name, weight in weights.items():
        if not 0 <= weight < math.inf:
            raise UsageError(f"the weight of source '{name}' is {float(weight)}; a weight is a finite number from 0")
    return {name: Fraction(weight) for name, weight in weights.items()}


def divide(total: int, weights: Mapping[str, Fraction | float]) -> dict[str, int]:
    """`total` in whole parts by weight; they sum to `total`. Exact: no part depends on floating-point rounding.

    Rounded by largest remainder (Hamilton's method); equal remainders go to the first name in the alphabet.

    Args:
        total: what there is, 0 or more.
        weights: name -> relative weight, 0 or more.

    Raises:
        UsageError: a negative total, a weight that is no finite number from 0, or no weight above 0.
    """
    if total < 0:
        raise UsageError(f"the token budget is {total}; it is 0 or more")
    exact = exact_weights(weights)
    whole = sum(exact.values())
    if whole == 0:
        raise UsageError(f"no source has a weight above 0 (sources: {', '.join(sorted(weights)) or 'none'})")
    shares = {name: total * weight / whole for name, weight in exact.items()}
    parts = {name: math.floor(share) for name, share in shares.items()}
    order = sorted(shares, key=lambda name: (parts[name] - shares[name], name))
    for name in order[: total - sum(parts.values())]:
        parts[name] += 1
    return parts
