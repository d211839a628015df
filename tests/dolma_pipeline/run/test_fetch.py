"""Rows by origin: gathered once a shard, given in the order of whoever asks."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from dolma_pipeline.engines import Here
from dolma_pipeline.errors import DataError
from dolma_pipeline.io.tables import put_table
from dolma_pipeline.run import columns as columns_module
from dolma_pipeline.run.fetch import Fetch, rows_by_shard, split_origin
from dolma_pipeline.run.run import Run
from tests.dolma_pipeline.stages.small import made

SHARDS = {name: [f"{name} text {i}" for i in range(9)] for name in ("web/a", "web/b", "code/c")} | {"code/empty": []}
ASKS = "cache/asks/0/asks.parquet"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("fetch"), SHARDS, tag={"taggers": ["length_v1"]})


def fetch(run: Run, origins: list[str], **settings: Any) -> Fetch:
    put_table(run.folder, ASKS, pa.table({"asker": ["x"] * len(origins), "origin": pa.array(origins, pa.string())}))
    phase = Fetch(**{"label": "some", "asks": ASKS, **settings})
    run.folder.delete_tree(".done")
    Here(again=True).run(run, [phase])
    return phase


def test_rows_come_in_the_order_of_who_asks(run: Run) -> None:
    rng = random.Random(1)
    every = [f"{shard}#{i}" for shard, texts in SHARDS.items() for i in range(len(texts))]
    asked = rng.choices(every, k=12)
    phase = fetch(run, asked, index=("id", "chars"), wanted=(("length_v1", ("words",)),), text=True)
    for mine in (asked, asked[::-1], asked[:1] * 3, rng.sample(asked, 4), []):
        found = phase.rows(run, mine)
        assert found.column("origin").to_pylist() == mine
        if mine:
            texts = [SHARDS[origin.split("#")[0]][int(origin.split("#")[1])] for origin in mine]
            assert found.column("text").to_pylist() == texts
            assert found.column("chars").to_pylist() == [len(text) for text in texts]
            assert found.column("id").to_pylist() == [f"d{origin.split('#')[1]}" for origin in mine]
            assert [one["words"] for one in found.column("length_v1").to_pylist()] == [len(t.split()) for t in texts]


def test_shards_are_opened_once_for_all_and_only_those_that_are_asked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    original = columns_module.open_shard

    def note(run: Run, shard: Any, report: Any) -> Any:
        opened.append(shard.name)
        return original(run, shard, report)

    monkeypatch.setattr(columns_module, "open_shard", note)
    fetch(run, ["web/b#3", "code/c#0", "web/b#3", "web/b#8"], text=True)
    assert opened == ["code/c", "web/b"]
    del opened[:]
    fetch(run, ["web/b#3"], index=("chars",))
    assert opened == [], "columns need no text"


def test_nothing_is_asked(run: Run) -> None:
    phase = fetch(run, [])
    assert list(phase.tasks(run)) == []
    assert phase.rows(run, []).num_rows == 0


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("web/b#9", r"^fetch/some, plan: web/b#9: no such document; the shard has 9\.$|web/b#9: no such document"),
        ("web/x#1", r"web/x#1: this run has no shard of that name\."),
        ("web/a", r"'web/a' is not the origin of a document; expected source/path#row\."),
        ("web/a#-1", r"'web/a#-1' is not the origin"),
        ("code/empty#0", r"code/empty#0: no such document; the shard has 0\."),
    ],
)
def test_what_is_not_there(run: Run, origin: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        fetch(run, ["web/a#1", origin])


def test_who_did_not_ask(run: Run) -> None:
    phase = fetch(run, ["web/a#1"])
    with pytest.raises(DataError, match=r"web/a#2: nobody had asked fetch/some for it\."):
        phase.rows(run, ["web/a#1", "web/a#2"])


def test_other_wishes_are_other_records(run: Run) -> None:
    phase = Fetch(label="some", asks=ASKS)
    others = [replace(phase, asks="x"), replace(phase, index=("id",)), replace(phase, text=True)]
    assert len({one.digest for one in [phase, *others]}) == 4


def test_origins() -> None:
    assert split_origin("web/2024/a#b@00001#12") == ("web/2024/a#b@00001", 12)
    found = rows_by_shard(["a/x#3", "a/x#1", "a/x#3", "b/y#0"])
    assert {shard: rows.tolist() for shard, rows in found.items()} == {"a/x": [1, 3], "b/y": [0]}
