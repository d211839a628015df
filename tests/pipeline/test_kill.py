"""kill -9 at any point of any stage: the same command goes on and ends with the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.pipeline.tiny import files, tree

ROOT = Path(__file__).parents[2]

POINTS = [
    ("", 3),  # the list of shards
    ("", 12),  # noting the settings of units
    ("tag", 3),
    ("tag", 13),  # one tagger has done the shard with the bad line, the other has not
    ("tag", 9),  # closing: no manifest yet
    ("tag", 3),  # closing: a manifest, but the records are still there
    ("dedupe/sign", 6),
    ("dedupe/edges", 9),
    ("dedupe/cluster", 2),
    ("dedupe/cluster", 5),
    ("dedupe/cluster", 4),
    ("dedupe/candidates", 3),
    ("dedupe/elect", 2),
    ("dedupe/write", 7),
    ("dedupe/write", 17),
    ("tokenizer/sample", 3),
    ("tokenizer/make", 1),
    ("tokenizer/make", 3),
    ("tokenizer/make", 4),
    ("mix/filter", 8),
    ("mix/plan", 1),
    ("mix/write", 5),
    ("mix/write", 13),
    ("tokens/cut", 1),
    ("tokens/encode", 5),
    ("tokens/parts", 11),
    ("tokens/parts", 28),  # all is done, only the work folder is left
]
"""Each counts what the runs before it have left to do."""


def killed(corpus: Path, output: Path, points: list[tuple[str, int]], how: str) -> list[int]:
    """Exit codes of the runs: -9 for each point, then that of the last one, which is left alone."""
    script = ROOT / "tests/pipeline/killed.py"
    done = subprocess.run(
        [sys.executable, script, json.dumps(tree()), output, json.dumps(points), how],
        cwd=corpus,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: list[int] = json.loads(done.stdout)
    return found


def test_killed_at_any_kind_of_point(finished: Path, corpus: Path, tmp_path: Path) -> None:
    ends = killed(corpus, tmp_path / "run", POINTS, "plain")
    assert list(zip(POINTS, ends, strict=False)) == [(point, -signal.SIGKILL) for point in POINTS]
    assert ends[-1] == 0
    assert files(tmp_path / "run") == files(finished)


def test_killed_in_each_stage_on_beam(finished: Path, corpus: Path, tmp_path: Path) -> None:
    points = [("tag", 13), ("dedupe/edges", 9), ("tokenizer/sample", 3), ("mix/write", 5), ("tokens/parts", 11)]
    ends = killed(corpus, tmp_path / "run", points, "beam")
    assert ends == [*[-signal.SIGKILL] * len(points), 0]
    assert files(tmp_path / "run") == files(finished)
