"""What a run costs before it has seen much text: compiling kernels once, and starting."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator

import environments
from before import AFTER
from bench_run import Runs
from rows import Row

TIMES = 3


def compiling(runs: Runs) -> Iterator[Row]:
    """Wall time of the kernels' first compile for the quickstart; before, all kernels were compiled by one process."""
    recipe = AFTER.home / "pipelines" / "quickstart.yaml"
    with tempfile.TemporaryDirectory() as empty:
        now = environments.measure("run_once.py", "compile", recipe, variables={"NUMBA_CACHE_DIR": empty})
    peer = None
    if runs.old:
        with tempfile.TemporaryDirectory() as empty:
            variables = {"NUMBA_CACHE_DIR": empty}
            was = environments.measure(
                "run_once.py", "warm", python=runs.old.python, home=runs.old.home, variables=variables
            )
        peer = was["wall_s"]
    yield Row(
        name="first_compile",
        text_mb=0,
        ours=now["wall_s"],
        peer=peer,
        peer_name="" if peer is None else "the program before",
        unit="seconds of wall time, on two cores at most",
        at_most_ours=14,
        more={"cpu_s": now["cpu_s"], "num_kernels": now["num_kernels"], "num_lines_said": now["num_lines_said"]},
    )


def fixed(runs: Runs) -> Iterator[Row]:
    """CPU of a run over three documents, kernels compiled; the least of three."""
    path = runs.work / "three.jsonl"
    words = "the quick brown fox jumps over the lazy dog while it rains in the city and the cat sits on a mat"
    rows = [{"id": str(i), "text": f"{words} {i}. " * 8, "source": "code"} for i in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    now = runs.once("fixed", {"code": [str(path)]}, times=TIMES)
    was = runs.once("fixed", {"code": [str(path)]}, runs.old, times=TIMES) if runs.old else None
    yield Row(
        name="fixed_cpu",
        text_mb=now["text_mb"],
        ours=now["cpu_s"],
        peer=was["cpu_s"] if was else None,
        peer_name="the program before" if was else "",
        unit="CPU seconds of a run over 3 documents",
        at_most_ours=1.2,
        more={"cpu_s": {**now["cpu_s_by_step"]}, "wall_s": now["wall_s"]},
    )
