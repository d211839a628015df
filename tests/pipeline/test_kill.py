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
    "shards.jsonl",
    "dedupe/minhash/.done/unit.json",
    "attributes/length_v1/.done/shards/code/c.json",
    "attributes/marks_v1/.done/shards/web/a.json",  # the other tagger has done the shard with the bad line
    "attributes/length_v1/manifest.json",
    "dedupe/exact/.done/shards/forum/d.json",
    "attributes/length_v1/.done",  # done; the next start clears it up, and dies
    "dedupe/minhash/edges/*.parquet",
    "dedupe/minhash/.work/edges/.done/shards/*.json",
    "dedupe/minhash/clusters/members.parquet",
    "dedupe/.elect/candidates/web/a.parquet",
    "dedupe/exact/edges",
    "dedupe/minhash/.work",
    "dedupe/.elect/elected/minhash.parquet",
    "attributes/minhash/forum/d.parquet",
    "tokenizer/.sample/web/a.parquet",
    "dedupe/.elect",
    "tokenizer/tokenizer.json",
    "tokenizer/manifest.json",
    "mix/dropped/web/a.parquet",
    "tokenizer/.sample",
    "mix/plan.json",
    "mix/documents/forum/d.jsonl.zst",
    "tokens/.work/cuts.json",
    "mix/.work",
    "tokens/.work/runs/held_out/forum/d.arrow",
    "tokens/held_out/web/part-00000.npy",
    "tokens/manifest.json",
    "tokens/.done",  # all is done, only the work is left
    "tokens/.work",
]
"""In the order in which a run comes to them."""


def killed(corpus: Path, output: Path, points: list[str], how: str) -> list[int]:
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
    points = [point for point in POINTS if point.endswith(("a.json", "h/edges/*.parquet", "r.json", ".zst", ".npy"))]
    assert [point.split("/")[0] for point in points] == ["attributes", "dedupe", "tokenizer", "mix", "tokens"]
    ends = killed(corpus, tmp_path / "run", points, "beam")
    assert ends == [*[-signal.SIGKILL] * len(points), 0]
    assert files(tmp_path / "run") == files(finished)
