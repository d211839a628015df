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
    """Nothing, where whatif.py is not there."""
    if not (environments.HERE / SCRIPT).exists():
        return
    folder = runs.work / "whatif"
    environments.measure(SCRIPT, "make", folder)
    shutil.rmtree(folder / "run" / "cache" / "table", ignore_errors=True)
    first = True
    for what in ("plan", "one", "all"):
        found = environments.measure(SCRIPT, what, folder)
        yield Row(
            name=f"whatif_{what}" + ("_making_table" if first else ""),
            text_mb=0,
            ours=found["wall_s"],
            peer=None,
            peer_name="",
            unit="seconds of wall time, a million documents",
            at_most=WITHOUT_TABLE_S if first else WITH_TABLE_S,
            more={name: found[name] for name in ("cpu_s", "peak_mb")},
        )
        first = False
