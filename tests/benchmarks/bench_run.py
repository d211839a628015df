"""Whole runs without training, of what is checked out (after) and of the program before: CPU, readings, phases.

Every run is a process of its own that starts with compiled kernels, and pays for its imports and models. CPU time is
user and system time of the process and its workers. The runs of one benchmark are shared by its rows.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import environments
import recipes
import samples
from before import AFTER, Program
from corpora import Corpora, Sources
from rows import Row

TRAINED_MB = 10  # of text, for the tokenizer where none is given
WHOLE_MB, LONG_MB = 200, 600
"""What is asked for whole runs, and for those where fixed costs must not count."""


class Runs:
    """Runs below one folder.

    Args:
        work: the folder. old: the program before; None: it is not measured. scale: of all sizes; 1 as asked.
        times: of each run, of which the least CPU counts.
    """

    def __init__(self, work: Path, old: Program | None, *, scale: float = 1.0, times: int = 1) -> None:
        self.work, self.old, self.scale, self.times = work, old, scale, times
        self.corpora = Corpora(work)
        self.finished: dict[str, dict[str, Any]] = {}
        self._known: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._warm: set[str] = set()

    @property
    def programs(self) -> list[Program]:
        """After, and before where it is there."""
        return [AFTER, *([self.old] if self.old else [])]

    @cached_property
    def tokenizer(self) -> Path:
        """The given tokenizer, or one that is trained once."""
        drawn = samples.draw(samples.read(self.corpora.collected), TRAINED_MB)
        return samples.tokenizer(self.work / "made.json", drawn)

    def recipe(self, name: str, sources: Sources, program: Program, **more: bool) -> Path:
        """The recipe of a run that is called so; its folder is `<work>/<name>-<program>`."""
        stem = self.work / f"{name}-{program.name}"
        path = stem.with_suffix(".yaml")
        return recipes.write(path, sources, self.tokenizer, output=stem, program=program, **more)

    def measure(self, program: Program, how: str, recipe: Path, workers: int, *overrides: str) -> dict[str, Any]:
        """One run as it comes, with compiled kernels.

        Returns:
            `cpu_s`, `wall_s`, `peak_mb` (the largest process), `text_mb`, `cpu_s_by_step`, …, as run_once.py has them.
        """
        place = {"python": program.python, "home": program.home}
        if program.name not in self._warm:
            environments.measure("run_once.py", "warm", **place)
            self._warm.add(program.name)
        return environments.measure("run_once.py", how, recipe, workers, *overrides, **place)

    def from_nothing(
        self, program: Program, recipe: Path, *, how: str = "local", workers: int = 1, times: int = 1
    ) -> dict[str, Any]:
        """The cheapest of some runs, each from nothing; the last one's folder stays."""
        found = []
        for _ in range(max(times, self.times)):
            shutil.rmtree(recipe.with_suffix(""), ignore_errors=True)
            found.append(self.measure(program, how, recipe, workers))
        return min(found, key=lambda one: float(one["cpu_s"]))

    def once(
        self,
        name: str,
        sources: Sources,
        program: Program = AFTER,
        *,
        how: str = "local",
        workers: int = 1,
        times: int = 1,
        documents: bool = False,
    ) -> dict[str, Any]:
        """A run of which nothing is left; not done again in this benchmark."""
        key = (name, program.name, how, workers, documents)
        if key not in self._known:
            recipe = self.recipe(name, sources, program, documents=documents)
            self._known[key] = self.from_nothing(program, recipe, how=how, workers=workers, times=times)
            shutil.rmtree(recipe.with_suffix(""))
        return self._known[key]


def linked(folder: Path, to: Path) -> None:
    """A copy of a finished run's folder that shares its files: whoever writes there renames, so the first stays."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to, copy_function=os.link)


def whole(runs: Runs) -> Iterator[Row]:
    """A whole run, documents off and on; how often it reads and encodes text; what each phase costs."""
    sources = runs.corpora.of(WHOLE_MB * runs.scale)
    was = runs.once("whole", sources, runs.old) if runs.old else None
    for documents, name, most in ((False, "whole_run", 1 / 1.3), (True, "whole_run_documents", 1 / 1.2)):
        now = runs.once("whole", sources, documents=documents)
        yield cost(name, now, was, at_most=round(most, 3), more=_more(now, was))
    plain = runs.once("whole", sources)
    for name, key in (("times_text_read", "read_mb"), ("times_text_encoded", "encoded_mb")):
        mb = plain["text_mb"]
        peer = was[key] / was["text_mb"] if was else None
        yield Row(name=name, text_mb=mb, ours=plain[key] / mb, peer=peer, peer_name=_old(peer), unit="times its bytes")


def beam_share(runs: Runs) -> Iterator[Row]:
    """What Beam costs: the same run by a plain loop."""
    sources = runs.corpora.of(WHOLE_MB * runs.scale)
    beam = runs.once("whole", sources)
    plain = runs.once("whole", sources, how="here")
    yield Row(
        name="beam_share",
        text_mb=beam["text_mb"],
        ours=100 * (1 - plain["cpu_s"] / beam["cpu_s"]),
        peer=None,
        peer_name="",
        unit="% of CPU time over the same run by a plain loop",
        at_most=5,
        more={"beam_cpu_s": beam["cpu_s"], "plain_cpu_s": plain["cpu_s"]},
    )


def cost(name: str, now: Mapping[str, Any], was: Mapping[str, Any] | None, **rest: Any) -> Row:
    """CPU milliseconds a MB of text, and those before."""
    mb = now["text_mb"]
    peer = 1e3 * was["cpu_s"] / was["text_mb"] if was else None
    ours = 1e3 * now["cpu_s"] / mb
    return Row(name=name, text_mb=mb, ours=ours, peer=peer, peer_name=_old(peer), unit="CPU ms a MB of text", **rest)


def _old(peer: float | None) -> str:
    return "" if peer is None else "the program before"


def _more(now: Mapping[str, Any], was: Mapping[str, Any] | None) -> dict[str, Any]:
    numbers = {name: now[name] for name in ("cpu_s", "wall_s", "peak_mb", "kept_mb", "tokens")}
    return {**numbers, "ms_a_mb": phases(now), **({"before_ms_a_mb": phases(was)} if was else {})}


def phases(run: Mapping[str, Any]) -> dict[str, float]:
    """CPU milliseconds a MB of text of each phase, and of all that is no phase: imports, checks, engine, start."""
    found = {name: 1e3 * seconds / run["text_mb"] for name, seconds in run["cpu_s_by_step"].items()}
    rest = 1e3 * run["cpu_s"] / run["text_mb"] - sum(found.values())
    return {**found, "outside of phases": rest}
