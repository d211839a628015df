"""A finished run, and what changing it costs: a threshold, a budget, a seed; as shares of the first run's CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from before import AFTER, Program
from bench_run import LONG_MB, Runs, linked, phases
from recipes import OTHER_THRESHOLDS
from rows import Row


@dataclass
class Finished:
    """The run that is changed: one of each program, made when it is first asked for.

    Args:
        runs: where.
    """

    runs: Runs

    def first(self, program: Program) -> dict[str, Any]:
        """What it cost from nothing; its folder stays."""
        known = self.runs.finished
        if program.name not in known:
            recipe = self._recipe(program)
            done = self._done(recipe)
            known[program.name] = self.runs.from_nothing(program, recipe)
            linked(recipe.with_suffix(""), done)
        return known[program.name]

    def again(self, program: Program, *overrides: str) -> dict[str, Any]:
        """The finished run, with other settings."""
        first, recipe = self.first(program), self._recipe(program)
        found = []
        for _ in range(self.runs.times):
            linked(self._done(recipe), recipe.with_suffix(""))
            found.append(self.runs.measure(program, "redo", recipe, 1, *overrides))
        best = min(found, key=lambda one: float(one["cpu_s"]))
        return {**best, "share": best["cpu_s"] / first["cpu_s"], "more_kept": best["kept"] - first["kept"]}

    def _recipe(self, program: Program) -> Path:
        return self.runs.recipe("again", self.runs.corpora.of(LONG_MB * self.runs.scale), program)

    def _done(self, recipe: Path) -> Path:
        return recipe.with_suffix(".first")


def threshold(runs: Runs) -> Iterator[Row]:
    """Two rules with other numbers: some documents more pass."""
    yield _row(runs, "changed_threshold", 0.25, lambda first: OTHER_THRESHOLDS)


def budget(runs: Runs) -> Iterator[Row]:
    """Half of the tokens."""
    yield _row(runs, "changed_budget", 0.12, lambda first: (f"mix.target_tokens={first['tokens'] // 2}",))


def seed(runs: Runs) -> Iterator[Row]:
    """Another seed."""
    yield _row(runs, "changed_seed", 0.25, lambda first: ("seed=2",))


def _row(runs: Runs, name: str, most: float, change: Any) -> Row:
    finished = Finished(runs)
    first = finished.first(AFTER)
    now = finished.again(AFTER, *change(first))
    more: dict[str, Any] = {"documents_more": now["more_kept"], "times_text_read": now["read_mb"] / now["text_mb"]}
    more |= {"times_text_encoded": now["encoded_mb"] / now["text_mb"], "ms_a_mb": phases(now)}
    if runs.old:
        was: Mapping[str, Any] = finished.again(runs.old, *change(finished.first(runs.old)))
        more |= {"before_share": was["share"], "before_cpu_s": was["cpu_s"]}
    return Row(
        name=name,
        text_mb=now["text_mb"],
        ours=now["cpu_s"],
        peer=first["cpu_s"],
        peer_name="the run from nothing",
        unit="CPU seconds",
        at_most=most,
        more=more,
    )
