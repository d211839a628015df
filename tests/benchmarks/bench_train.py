"""Training on a CPU: beside a loop written by hand, beside the program before, and two processes beside one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import environments
from bench_run import Runs
from rows import Row

from dolma_pipeline.train.processes import ALLOCATOR

STEPS = {"tiny": 30, "20m": 10}
UNIT = "tokens per CPU-second"


def speed(runs: Runs) -> Iterator[Row]:
    """One process and one thread: the trainer, a plain loop with the same allocator, and the program before."""
    for model, steps in STEPS.items():
        now, plain = (_best(runs, what, model, steps) for what in ("ours", "plain"))
        yield Row(
            name=f"train_{model}",
            text_mb=0,
            ours=now["a_cpu_s"],
            peer=plain["a_cpu_s"],
            peer_name="a loop by hand, the same allocator",
            unit=UNIT,
            at_least=1.0,
            holds=_equal(now["losses"], plain["losses"]),
        )
        if runs.old:
            was = _best(runs, "ours", model, steps, python=runs.old.python, home=runs.old.home, variables={})
            yield Row(
                name=f"train_{model}_before",
                text_mb=0,
                ours=now["a_cpu_s"],
                peer=was["a_cpu_s"],
                peer_name="the program before, as it was started",
                unit=UNIT,
                at_least=1.25 if model == "tiny" else None,
                holds=_equal(now["losses"], was["losses"]),
            )


def processes(runs: Runs) -> Iterator[Row]:
    """Two processes of one thread against one, in wall time; means something on idle cores only."""
    for model, steps in STEPS.items():
        one, two = (_best(runs, "processes", model, steps, number, by="a_wall_s") for number in (1, 2))
        yield Row(
            name=f"train_{model}_two",
            text_mb=0,
            ours=two["a_wall_s"],
            peer=one["a_wall_s"],
            peer_name="one process",
            unit="tokens per second of wall time",
            at_least=1.75,
            holds=_equal(one["losses"], two["losses"]),
        )


def _best(runs: Runs, *arguments: object, by: str = "a_cpu_s", **where: Any) -> dict[str, Any]:
    """The fastest of some tries: others on the machine only make it slower."""
    where = {"variables": ALLOCATOR} | where
    tries = [environments.measure("trained_once.py", *arguments, **where) for _ in range(max(runs.times, 2))]
    return max(tries, key=lambda found: found[by])


def _equal(ours: list[float], theirs: list[float]) -> bool:
    return len(ours) == len(theirs) and all(abs(a - b) <= 1e-4 * abs(b) for a, b in zip(ours, theirs, strict=True))
