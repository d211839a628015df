"""Two results compared, item by item: a paired bootstrap for each task, source and domain.

Both models answered the same items, so what matters is the spread of the differences, which is far smaller than that of
either score. Items are drawn with replacement, the same for both; each draw gives a difference of scores; the middle
95 % of the draws are the interval. Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8
and 13; Koehn 2004 (EMNLP), for systems on one test set. The draws depend on the task's name and the seed alone, so they
are the same on every machine and whatever else is compared.
Cost: 10,000 draws of 10,000 items take about a second of CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import xxhash
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.evals.results import SECTIONS, read_results, results_path, rows_path
from dolma_pipeline.io import paths

DRAWS = 10_000
_INDICES_AT_ONCE = 4_000_000
"""Drawn at once, 32 MB; how many changes no draw."""


class Side(NamedTuple):
    """Results to compare. run_dir: of the run. step: of training. variant: folder of results that are kept apart."""

    run_dir: Path
    step: int
    variant: str = ""

    @property
    def path(self) -> Path:
        """The file of the results."""
        return results_path(self.run_dir, self.step, self.variant)


class Comparison(NamedTuple):
    """One metric of one task.

    a, b: the scores. difference: b - a. low, high: the middle 95 % of the draws' differences. share: of draws in which
    b is better, equal ones by half. num_items: that were compared.
    """

    section: str
    name: str
    metric: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    share: float
    num_items: int


def lower_is_better(metric: str) -> bool:
    """Whether a smaller number is a better model."""
    return "bits_per_byte" in metric


def compare(a: Side, b: Side, *, names: Sequence[str] = (), seed: int = 0, draws: int = DRAWS) -> list[Comparison]:
    """Every metric of every task, source and domain that both were scored on, in order.

    Args:
        names: only these; () all that both have. seed: of the draws.

    Raises:
        UsageError: no results, nothing that both have, an unknown name, or other items on one side.
        DataError: rows that are missing, or not those that the results are of.
    """
    ours, theirs = _results(a), _results(b)
    shared = [(s, name) for s in SECTIONS for name in sorted({*ours[s]} & {*theirs[s]}) if not names or name in names]
    if missing := sorted({*names} - {name for _, name in shared}):
        raise UsageError(f"{missing[0]}: not scored in both {a.path} and {b.path}.")
    if not shared:
        raise UsageError(f"{a.path} and {b.path} have no task, source or domain in common.")
    for section, name in shared:
        for key in ("data", "settings"):
            if ours[section][name].get(key) != theirs[section][name].get(key):
                what = "items" if key == "data" else "task settings"
                raise UsageError(
                    f"{name}: {a.path} and {b.path} are of other {what}, so they cannot be compared. Score both on the "
                    "same task file; or name what is to be compared with --name."
                )
    found = list[Comparison]()
    for section, name in shared:
        left, right = _rows(a, ours, section, name), _rows(b, theirs, section, name)
        if [row["id"] for row in left] != [row["id"] for row in right]:
            raise DataError(f"{name}: the rows of {a.path} and {b.path} have other ids; score both again.")
        found += _compared(section, name, left, right, seed=seed, draws=draws)
    return found


def only_in_one(a: Side, b: Side) -> list[tuple[str, Side]]:
    """Names that one of two results has and the other has not, with the one that has it."""
    ours, theirs = _results(a), _results(b)
    found = [(name, a) for section in SECTIONS for name in sorted({*ours[section]} - {*theirs[section]})]
    return found + [(name, b) for section in SECTIONS for name in sorted({*theirs[section]} - {*ours[section]})]


def newest_step(run_dir: Path, variant: str = "") -> int:
    """The last step of a run that has results.

    Raises:
        UsageError: there are none.
    """
    folder = results_path(run_dir, 0, variant).parent
    steps = [int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.json")]
    if not steps:
        raise UsageError(f"{folder}: no results. Score the run first: dolma-pipeline eval {run_dir}")
    return max(steps)


def _results(side: Side) -> Mapping[str, Any]:
    found = read_results(side.path)
    if found is None:
        there = sorted(int(path.stem.removeprefix("step-")) for path in side.path.parent.glob("step-*.json"))
        raise UsageError(f"{side.path}: no results of that step. There are: {', '.join(map(str, there)) or 'none'}.")
    return found


def _rows(side: Side, results: Mapping[str, Any], section: str, name: str) -> list[Mapping[str, Any]]:
    path = rows_path(side.run_dir, side.step, section, name, side.variant)
    if not path.is_file() or f"sha256:{paths.sha256_file(path)}" != results[section][name]["rows"]:
        raise DataError(f"{path}: not the rows that {side.path} is of. Score that step again.")
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def _compared(
    section: str,
    name: str,
    left: Sequence[Mapping[str, Any]],
    right: Sequence[Mapping[str, Any]],
    *,
    seed: int,
    draws: int,
) -> Iterator[Comparison]:
    metrics = [metric for metric in left[0]["scores"] if metric in right[0]["scores"]]
    pairs = {metric: (_measures(left, metric), _measures(right, metric)) for metric in metrics}
    differences: dict[str, list[NDArray[np.float64]]] = {metric: [] for metric in metrics}
    for drawn_DN in _draws(f"{section}/{name}", len(left), seed=seed, draws=draws):
        for metric, (one_2N, other_2N) in pairs.items():
            differences[metric].append(_score(other_2N, drawn_DN) - _score(one_2N, drawn_DN))
    whole = np.arange(len(left))[None]
    for metric, (one_2N, other_2N) in pairs.items():
        difference_D = np.concatenate(differences[metric])
        low, high = np.percentile(difference_D, (2.5, 97.5)).tolist()
        better = -difference_D if lower_is_better(metric) else difference_D
        a, b = float(_score(one_2N, whole)[0]), float(_score(other_2N, whole)[0])
        share = float((better > 0).mean() + (better == 0).mean() / 2)
        yield Comparison(section, name, metric, a, b, b - a, low, high, share, len(left))


def _measures(rows: Sequence[Mapping[str, Any]], metric: str) -> NDArray[np.float64]:
    """Numerators and denominators, float64 [2, N]; a plain number has the denominator 1."""
    values = [row["scores"][metric] for row in rows]
    return np.array([value if isinstance(value, list) else (value, 1.0) for value in values], np.float64).T


def _score(measures_2N: NDArray[np.float64], drawn_DN: NDArray[np.int64]) -> NDArray[np.float64]:
    """The score of each draw: the ratio of the sums of what was drawn, float64 [D].

    A draw of nothing but empty documents has no score; it counts as one of 0 bytes needing 0 bits.
    """
    above_D, below_D = measures_2N[0][drawn_DN].sum(axis=1), measures_2N[1][drawn_DN].sum(axis=1)
    score_D: NDArray[np.float64] = np.divide(above_D, below_D, out=np.zeros_like(above_D), where=below_D > 0)
    return score_D


def _draws(key: str, number: int, *, seed: int, draws: int) -> Iterator[NDArray[np.int64]]:
    """Indices of drawn items, int64 [D, N], in blocks; each draw has as many as there are items."""
    random = np.random.Generator(np.random.PCG64(xxhash.xxh3_64_intdigest(f"compare/{key}".encode(), seed)))
    block = max(1, _INDICES_AT_ONCE // number)
    for start in range(0, draws, block):
        yield random.integers(0, number, (min(block, draws - start), number))
