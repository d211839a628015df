"""What is asked of a finished run without changing it; measured by whatif.py on a folder that it makes up."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import environments
from bench_run import Runs
from rows import Row

SCRIPT = "whatif.py"
WITH_TABLE_S, WITHOUT_TABLE_S = 3.0, 6.0


def whatif(runs: Runs) -> Iterator[Row]:
    """`--plan`, and `--what-if` of one rule and of 15 at once; with making the table, and once it is there."""
    folder = runs.work / "whatif"
    environments.measure(SCRIPT, "make", folder)
    for what, makes in (("plan", True), ("plan", False), ("all", True), ("all", False), ("one", False)):
        if makes:
            shutil.rmtree(folder / "run" / "cache" / "table", ignore_errors=True)
        found = environments.measure(SCRIPT, what, folder)
        yield Row(
            name=f"whatif_{what}" + ("_making_table" if makes else ""),
            text_mb=0,
            ours=found["wall_s"],
            peer=None,
            peer_name="",
            unit="seconds of wall time, a million documents",
            at_most=WITHOUT_TABLE_S if makes else WITH_TABLE_S,
            more={name: found[name] for name in ("cpu_s", "peak_mb")},
        )
