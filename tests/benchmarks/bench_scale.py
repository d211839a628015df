"""What grows and what does not: workers, shards, small files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import environments
from before import AFTER
from bench_run import LONG_MB, Runs
from rows import Row

SHARDS = (4, 32)
"""Peak memory is compared between so many shards of one size."""
FILES = (300, 1_000, 3_000)
"""CPU a file is compared between so many files of ten documents."""


def workers(runs: Runs) -> Iterator[Row]:
    """Two workers against one."""
    sources = runs.corpora.of(LONG_MB * runs.scale)
    one, two = (runs.once("long", sources, workers=count) for count in (1, 2))
    mb = one["text_mb"]
    yield Row(
        name="two_workers",
        text_mb=mb,
        ours=mb / two["wall_s"],
        peer=mb / one["wall_s"],
        peer_name="one worker, in memory",
        unit="MB of text per second",
        at_least=1.8,
        more={f"{name}_{key}": run[key] for name, run in (("one", one), ("two", two)) for key in ("wall_s", "cpu_s")},
    )


def memory(runs: Runs) -> Iterator[Row]:
    """Peak memory of few and of many shards of the collected code."""
    code = runs.corpora.collected["code"]
    few, many = (runs.once(f"memory-{count}", {"code": code[:count]}) for count in SHARDS)
    yield Row(
        name=f"memory_{SHARDS[1]}_shards",
        text_mb=many["text_mb"],
        ours=many["peak_mb"],
        peer=few["peak_mb"],
        peer_name=f"{SHARDS[0]} shards",
        unit="MB of memory at most",
        at_most=1.1,
        holds=len(code) >= SHARDS[1],
        more={"num_shards": [min(count, len(code)) for count in SHARDS]},
    )


def worker_memory(runs: Runs) -> Iterator[Row]:
    """What a worker holds before it sees a text."""
    recipe = runs.recipe("idle", {"code": runs.corpora.collected["code"][:1]}, AFTER)
    idle, copy = (environments.measure("run_once.py", how, recipe) for how in ("idle", "copy"))
    yield Row(
        name="worker_before_text",
        text_mb=0,
        ours=copy["own_mb"],
        peer=idle["peak_mb"],
        peer_name="the only worker",
        unit="MB of memory of its own, one of several",
        more={"with_its_share_of_what_is_common": copy["share_mb"]},
    )


def files(runs: Runs) -> Iterator[Row]:
    """CPU a file of few and of many small files; one row for each program."""
    counts = [max(1, round(count * runs.scale)) for count in FILES]
    for program in runs.programs:
        found: dict[int, dict[str, Any]] = {}
        for count in counts:
            found[count] = runs.once(f"files-{count}", runs.corpora.files(count, counts[-1]), program)
        each = {count: 1e3 * found[count]["cpu_s"] / count for count in counts}
        # between two sizes what a run costs whatever it reads falls out
        last, first = (1e3 * (found[b]["cpu_s"] - found[a]["cpu_s"]) / (b - a) for a, b in (counts[1:], counts[:2]))
        is_now = program is AFTER
        yield Row(
            name="cpu_a_file" if is_now else "cpu_a_file_before",
            text_mb=found[counts[-1]]["text_mb"],
            ours=each[counts[-1]],
            peer=each[counts[0]],
            peer_name=f"{counts[-1]:,} files, {counts[0]:,} files",
            unit="CPU ms a file of ten documents",
            at_most=1.2 if is_now else None,
            more={
                "ms_a_file": {f"{count:,} files": value for count, value in each.items()},
                "ms_a_further_file": {f"to {counts[1]:,}": first, f"to {counts[2]:,}": last},
            },
        )
