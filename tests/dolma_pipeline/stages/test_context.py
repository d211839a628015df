"""Where things are in a run, and failures that are kept until their shard is done."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from dolma_pipeline.stages.context import Failures, RunContext, sources_of

from dolma_pipeline.errors import UnknownNameError
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.shards import Shard, write_shards
from tests.pipeline.tiny import recipe

SHARDS = [Shard(name, name.split("/")[0], f"{name}.jsonl", "jsonl") for name in ("web/a", "code/b", "web/c")]


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    write_shards(tmp_path / "shards.jsonl", SHARDS)
    return RunContext(recipe(tmp_path), str(tmp_path))


def test_shards_by_name(context: RunContext) -> None:
    assert [shard.name for shard in context.shards()] == ["code/b", "web/a", "web/c"]
    assert context.shard("web/a") == SHARDS[0]
    assert sources_of(SHARDS) == ["code", "web"]
    with pytest.raises(UnknownNameError, match=r"no shard named 'web/b'\. Did you mean "):
        context.shard("web/b")
    write_shards(context.path / "shards.jsonl", SHARDS[:1])
    assert [shard.name for shard in context.shards()] == ["web/a"]


def test_paths(context: RunContext) -> None:
    assert context.attribute_path("length_v1", "web/a") == context.path / "attributes/length_v1/web/a.parquet"
    assert context.attribute_path("x", "web/a", format="jsonl") == context.path / "attributes/x/web/a.jsonl.gz"


def lines(context: RunContext) -> list[dict[str, object]]:
    return [json.loads(line) for line in (context.path / "failed/tag/web/a.jsonl").read_text().splitlines()]


def test_failures_are_written_in_the_order_of_the_input_without_what_is_not_known(context: RunContext) -> None:
    failures = Failures(context, "tag", SHARDS[0])
    failures.add(Failure("a.jsonl", "b_v1: ValueError", line=7, row=5, id="x"))
    failures.add(Failure("a.jsonl", "a_v1: ValueError", line=7, row=5, id="x"))
    failures.add(Failure("a.jsonl", "no JSON", line=2, byte=30))
    failures.add(Failure("a.jsonl", "truncated", line=9, lost=True))
    failures.commit()
    assert len(failures) == 4
    assert lines(context) == [
        {"path": "a.jsonl", "reason": "no JSON", "line": 2, "byte": 30},
        {"path": "a.jsonl", "reason": "a_v1: ValueError", "line": 7, "row": 5, "id": "x"},
        {"path": "a.jsonl", "reason": "b_v1: ValueError", "line": 7, "row": 5, "id": "x"},
        {"path": "a.jsonl", "reason": "truncated", "line": 9, "lost": True},
    ]


def test_an_earlier_try_is_forgotten_but_not_other_taggers(context: RunContext) -> None:
    first = Failures(context, "tag", SHARDS[0])
    first.add(Failure("a.jsonl", "no JSON", line=1, byte=0))
    first.add(Failure("a.jsonl", "a_v1: oh", line=2, row=0))
    first.add(Failure("a.jsonl", "b_v1: oh", line=2, row=0))
    first.commit()
    second = Failures(context, "tag", SHARDS[0])
    second.add(Failure("a.jsonl", "no JSON", line=1, byte=0))
    second.commit(others=["a_v1"])
    assert [line["reason"] for line in lines(context)] == ["no JSON", "a_v1: oh"]


def test_a_worker_deletes_no_list_of_failures(context: RunContext) -> None:
    """A late copy with another input would take away a new one; the launcher does it, by the records."""
    failures = Failures(context, "tag", SHARDS[0])
    Failures(context, "tag", SHARDS[0]).commit()
    assert not failures.path.exists()
    failures.add(Failure("a.jsonl", "no JSON", line=1, byte=0))
    failures.commit()
    Failures(context, "tag", SHARDS[0]).commit()
    assert [line["reason"] for line in lines(context)] == ["no JSON"]


def test_within_an_attempt_the_list_of_shards_is_read_once(context: RunContext) -> None:
    """And the next attempt sees another list, whatever its time of change."""
    first, second = replace(context, attempt="1"), replace(context, attempt="2")
    assert len(first.shards()) == 3
    assert first.shard("web/c") == SHARDS[2]
    changed = (context.path / "shards.jsonl").stat().st_mtime_ns
    write_shards(context.path / "shards.jsonl", SHARDS[:1])
    os.utime(context.path / "shards.jsonl", ns=(changed, changed))
    assert (len(first.shards()), len(second.shards()), len(context.shards())) == (3, 1, 1)
    with pytest.raises(UnknownNameError):
        second.shard("web/c")
    assert len({context.fingerprint, first.fingerprint, second.fingerprint}) == 3
