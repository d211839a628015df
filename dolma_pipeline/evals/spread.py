"""Values with their standard errors: a mean of items, a ratio of sums over items, a mean over groups.

The items are taken for a random sample of those that there could be. A score without its standard error says little:
250 items of four choices leave three points on either side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Estimate(NamedTuple):
    """value, and its standard error; None where a single item tells of no spread."""

    value: float
    error: float | None


def mean(values: Sequence[float]) -> Estimate:
    """The mean; its error is the sample's standard deviation (over n - 1) over the root of n.

    Args:
        values: at least one.
    """
    number = len(values)
    middle = math.fsum(values) / number
    if number < 2:
        return Estimate(middle, None)
    squares = math.fsum((value - middle) ** 2 for value in values)
    return Estimate(middle, math.sqrt(squares / (number - 1) / number))


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Sum over sum, as of bits over bytes; its error is that of the ratio estimator, by linearisation.

    root(n / (n - 1) * sum((y - R x)^2)) / sum(x). Source: Cochran, Sampling Techniques (3rd ed. 1977), section 2.11.

    Args:
        numerators, denominators: one of each for every item; the denominators' sum is above 0.
    """
    number, below = len(numerators), math.fsum(denominators)
    value = math.fsum(numerators) / below
    if number < 2:
        return Estimate(value, None)
    squares = math.fsum((y - value * x) ** 2 for y, x in zip(numerators, denominators, strict=True))
    return Estimate(value, math.sqrt(number / (number - 1) * squares) / below)


def mean_of_groups(groups: Sequence[Estimate]) -> Estimate:
    """The mean of groups that each count as much; the error from theirs, None where one has none.

    Args:
        groups: at least one; of items that no two have in common.
    """
    value = math.fsum(group.value for group in groups) / len(groups)
    errors = [group.error for group in groups if group.error is not None]
    if len(errors) < len(groups):
        return Estimate(value, None)
    return Estimate(value, math.sqrt(math.fsum(error**2 for error in errors)) / len(groups))
