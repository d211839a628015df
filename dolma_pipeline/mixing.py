"""What a mixer is: from what each source has, and a budget, to what each source gets.

A mixer is pure arithmetic over totals: it reads no documents, so it is tried in milliseconds. Which documents are
taken is decided later, by one cut of each source's keyed order. A budget counts tokens, bytes or documents; a mixer
that looks at `size` only works for each of them.
"""

from __future__ import annotations

import inspect
import linecache
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from typing import Any, Literal, TypeVar

from dolma_pipeline.errors import UsageError

Unit = Literal["tokens", "bytes", "documents"]
"""What a budget counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """What a source has after filters and edits, and the weight that the recipe gives it.

    Args:
        unit: what the budget counts.
        documents: how many.
        bytes: of their text; None where the budget is in something else and nobody counted.
        tokens: of their text; None without a tokenizer.
        weight: None: by size.

    Raises:
        ValueError: the budget counts what is not known.
    """

    unit: Unit
    documents: int
    bytes: int | None = None
    tokens: int | None = None
    weight: float | None = None

    def __post_init__(self) -> None:
        if getattr(self, self.unit) is None:
            raise ValueError(f"a budget in {self.unit} needs the number of {self.unit} of each source")

    @property
    def size(self) -> int:
        """What there is, in what the budget counts."""
        return int(getattr(self, self.unit))


Mixer = Callable[[Mapping[str, Available], int], Mapping[str, int]]
"""(sources, target) -> size of each source in what the budget counts: whole numbers from 0, at most `target` together.

A source may get more than it has (it is then repeated); the caller bounds epochs and says what it cut.
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
        if before is not None and not _same_declaration(before.function, function):
            places = f"in {_place(before.function)} and in {_place(function)}"
            raise UsageError(f"mixer '{name}' is declared twice: {places}; give one of the two another name")
        parameters = {one.name: one.default for one in others}
        summary = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
        MIXERS[name] = MixerSpec(name, function, parameters, summary, function.__module__)
        return function

    return declare


def _place(function: Callable[..., object]) -> str:
    """Where a function stands: the file of a recipe's `modules`, by its short path; else its module."""
    code = inspect.unwrap(function).__code__
    return function.__module__ if os.path.isabs(code.co_filename) else f"{code.co_filename}:{code.co_firstlineno}"


def _same_declaration(before: Callable[..., object], after: Callable[..., object]) -> bool:
    """Loading a file again (imported, then named by a recipe), or running a notebook cell again, adds none."""
    if before.__module__ == after.__module__:
        return True
    one, other = (inspect.unwrap(function).__code__ for function in (before, after))
    if one.co_name != other.co_name:
        return False
    if os.path.realpath(one.co_filename) == os.path.realpath(other.co_filename):
        return True
    text = linecache.getlines(one.co_filename)
    return bool(text) and text == linecache.getlines(other.co_filename)


def checked_sizes(name: str, given: object, sources: Mapping[str, Available], target: int) -> dict[str, int]:
    """What a mixer gives, held against what a mixer is to give.

    Args:
        name: of the mixer. given: what it returned. sources, target: what it was asked with.

    Returns:
        The size of each source.

    Raises:
        UsageError: not a mapping, a source too many or too few, a size that is not a whole number from 0, or more
            than `target` together.
    """
    unit = next((one.unit for one in sources.values()), "tokens")
    known = ", ".join(sources)
    if not isinstance(given, Mapping):
        what = f"returned {_shown(given)}, expected a mapping of source to a whole number of {unit} (sources: {known})"
        raise UsageError(f"mixer '{name}' {what}")
    for source in given:
        if source not in sources:
            raise UsageError(f"mixer '{name}' gives source {source!r} a size; the sources are: {known}")
    sizes: dict[str, int] = {}
    for source in sources:
        expected = f"expected a whole number of {unit} from 0"
        if source not in given:
            raise UsageError(f"mixer '{name}' gives source '{source}' no size; {expected} for each of: {known}")
        size = given[source]
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 0:
            raise UsageError(f"mixer '{name}' gives source '{source}' {_shown(size)}, {expected}")
        sizes[source] = int(size)
    total = sum(sizes.values())
    if total > target:
        each = ", ".join(f"{source}: {size:,}" for source, size in sizes.items())
        raise UsageError(
            f"mixer '{name}' gives {total:,} {unit} together ({each}), expected at most the budget of {target:,}"
        )
    return sizes


def _shown(value: object) -> str:
    """A value and its type, as an error names them."""
    text = repr(value)
    return f"{text if len(text) <= 100 else text[:99] + '…'} ({type(value).__name__})" if value is not None else text


def exact_weights(weights: Mapping[str, Fraction | float]) -> dict[str, Fraction]:
    """Relative weights as exact fractions.

    Raises:
        UsageError: a weight that is not a finite number from 0.
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
        UsageError: a negative total, a weight that is not a finite number from 0, or no weight above 0.
    """
    if total < 0:
        raise UsageError(f"the budget is {total}; it is 0 or more")
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
