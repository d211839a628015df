"""kill -9 at any point of any stage: the same command goes on and ends with the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.pipeline.tiny import files, tree

ROOT = Path(__file__).parents[2]

POINTS = [
    "shards.jsonl",
    ".done/scan-*/.covers.json",
    "attributes/marks_v1/forum/d.parquet",  # its signatures are there, its index is not
    ".done/scan-*/web/a.json",  # the shard with the bad line: all files are there, the record is not
    "index/manifest.json",
    "attributes/length_v1/manifest.json",
    "cache/judged/*/web/b.parquet",
    "cache/judged/*/manifest.json",
    "cache/edges/*/minhash/*.parquet",
    "dedupe/minhash/clusters/members.parquet",
    "dedupe/minhash/manifest.json",
    ".done/dedupe.candidates-*/forum/00000.json",
    "cache/elected/*/groups/exact.parquet",
    "attributes/minhash/forum/d.parquet",
    "attributes/minhash/manifest.json",  # the other step is finished
    "mix/dropped/web/a.parquet",
    "mix/verdicts/manifest.json",
    "cache/sample/*/web/a.parquet",
    "tokenizer/tokenizer.json",
    "tokenizer/manifest.json",
    "cache/ids/*/web/a/*.texts.parquet",
    "cache/measured/*/web/b.parquet",
    "mix/plan.json",
    "mix/documents/forum/d.jsonl.zst",
    "mix/manifest.json",
    "cache/parts/*/held_out/web/*.parquet",
    "tokens/held_out/web/part-00000.npy",
    "tokens/manifest.json",
    "-cache/parts/*",  # done; the next start clears it up, and dies
    "-.done/scan-*/web",
    "-.done/write-*",
]
"""In the order in which a run comes to them; `-`: before it goes."""


Killed = Callable[[Path, Sequence[str | None], str], list[int]]
"""Exit codes of a run that is begun once for each point: -9 where it died there, 0 where nothing kills it (None)."""


@pytest.fixture(scope="module")
def killed(corpus: Path) -> Iterator[Killed]:
    """By one process for all tests: what a run loads is loaded once."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "tests/pipeline/killed.py", json.dumps(tree())],
        cwd=corpus,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    asked, answers = process.stdin, process.stdout

    def ends(output: Path, points: Sequence[str | None], how: str) -> list[int]:
        asked.write(json.dumps([str(output), points, how]) + "\n")
        asked.flush()
        found: list[int] = json.loads(answers.readline())
        return found

    yield ends
    process.communicate()
    assert process.returncode == 0


def test_killed_at_any_kind_of_point(finished: Path, killed: Killed, tmp_path: Path) -> None:
    ends = killed(tmp_path / "run", [*POINTS, None], "plain")
    assert list(zip(POINTS, ends, strict=False)) == [(point, -signal.SIGKILL) for point in POINTS]
    assert ends[-1] == 0
    assert files(tmp_path / "run") == files(finished)


def test_killed_in_each_stage_on_beam(finished: Path, killed: Killed, tmp_path: Path) -> None:
    points = [point for point in POINTS if point.endswith(("web/a.json", "minhash/*.parquet", "r.json", ".zst", "npy"))]
    assert [point.split("/")[0] for point in points] == [".done", "cache", "tokenizer", "mix", "tokens"]
    ends = killed(tmp_path / "run", [*points, None], "beam")
    assert ends == [*[-signal.SIGKILL] * len(points), 0]
    assert files(tmp_path / "run") == files(finished)


def test_a_run_that_was_killed_goes_on_without_its_cache(finished: Path, killed: Killed, tmp_path: Path) -> None:
    """Whatever of its unfinished work lay there is done again."""
    for point in ("cache/elected/*/groups/exact.parquet", "mix/documents/forum/d.jsonl.zst", "tokens/*/part-00002.npy"):
        assert killed(tmp_path / "run", [point, point], "plain") == [-signal.SIGKILL] * 2
        shutil.rmtree(tmp_path / "run/cache")
    assert killed(tmp_path / "run", [None], "plain") == [0]
    assert files(tmp_path / "run") == files(finished)
