"""Steps that mark repeats, as a run makes them: equal to brute force, and only a changed text is read again."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.engines import Here
from dolma_pipeline.run import columns as run_columns
from dolma_pipeline.run.run import Run
from dolma_pipeline.stages.dedupe import ranges, read_units, units
from tests.dolma_pipeline.kernels.test_folded import folded, placed_words
from tests.dolma_pipeline.kernels.test_units import plain_units
from tests.dolma_pipeline.stages.small import (
    made,
    make,
    manifest,
    promised,
    rows,
    small_run,
)

RUNS = {"name": "runs", "kind": "substring", "words": 12}
LINES = {"name": "lines", "kind": "paragraphs", "unit": "line", "min_unit_chars": 12}
Column = dict[str, Any]


def marks(run: Run, shards: Mapping[str, Sequence[Any]], step: str) -> dict[str, Column]:
    """Origin -> column, spans as pairs."""
    found = {}
    for shard in shards:
        for i, row in enumerate(rows(run, f"attributes/{step}/{shard}.parquet")):
            spans = [(one["start"], one["end"]) for one in row[step]["spans"]]
            assert all(one["score"] == 1 for one in row[step]["spans"])
            found[f"{shard}#{i}"] = {**row[step], "spans": spans}
    return found


def runs_of(text: str, size: int) -> tuple[list[tuple[Any, int, int, int, int]], int]:
    """Key, first and last word, code points of each run; and the size of the text."""
    words, places = folded(text), placed_words(text)
    found = [
        (tuple(words[i : i + size]), i, i + size, places[i][1], places[i + size - 1][2])
        for i in range(len(words) - size + 1)
    ]
    return found, len(words)


def units_of(text: str, least: int, *, by_line: bool) -> tuple[list[tuple[Any, int, int, int, int]], int]:
    every = plain_units(text, by_line=by_line)
    found = [(unit, start, end, start, end) for unit, start, end in every if len(unit) >= least]
    return found, sum(len(unit) for unit, *_ in every)


def brute_force(
    cut: Mapping[str, tuple[list[tuple[Any, int, int, int, int]], int]], order: Sequence[str]
) -> dict[str, Column]:
    """What must be marked in documents, by origin. cut: units of each, and its size. order: those that are seen."""
    first: dict[Any, tuple[str, int]] = {}
    owners: dict[Any, set[str]] = {}
    for origin in order:
        for i, (key, *_) in enumerate(cut[origin][0]):
            first.setdefault(key, (origin, i))
            owners.setdefault(key, set()).add(origin)
    found = {}
    for origin, (own, size) in cut.items():
        seen = origin in order
        repeats = [unit for i, unit in enumerate(own) if seen and first[unit[0]] != (origin, i)]
        elsewhere = [unit for unit in own if seen and len(owners[unit[0]]) > 1]
        spans: list[list[int]] = []
        for _, begin, end, start, stop in repeats:
            if spans and begin <= spans[-1][0]:
                spans[-1][0], spans[-1][2] = end, stop
            else:
                spans.append([end, start, stop])
        covered = [{at for _, begin, end, *_ in some for at in range(begin, end)} for some in (repeats, elsewhere)]
        shares = [len(one) / max(1, size) for one in covered]
        found[origin] = {
            "spans": [(start, end) for _, start, end in spans],
            "coverage": shares[0],
            "elsewhere": shares[1],
        }
    return found


def origins(shards: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    return {
        f"{shard}#{i}": one if isinstance(one, str) else one["text"]
        for shard, some in shards.items()
        for i, one in enumerate(some)
    }


def expected(shards: Mapping[str, Sequence[Any]], order: Sequence[str] | None = None) -> dict[str, dict[str, Column]]:
    texts = origins(shards)
    order = list(texts) if order is None else order
    return {
        "runs": brute_force({o: runs_of(text, 12) for o, text in texts.items()}, order),
        "lines": brute_force({o: units_of(text, 12, by_line=True) for o, text in texts.items()}, order),
    }


def pages(seed: int, count: int) -> list[str]:
    """Pages of stretches and lines that some share."""
    rng = random.Random(seed)
    stock = [" ".join(f"w{rng.randrange(400)}" for _ in range(rng.randrange(4, 30))) for _ in range(12)]
    stock += ["漢字とかなの文章がここにあります。" * 2, "Une ligne assez longue, répétée.", "aa " * 40]
    found = []
    for _ in range(count):
        parts = [
            rng.choice(stock) if rng.random() < 0.5 else f"own {rng.random()} line" for _ in range(rng.randrange(1, 9))
        ]
        found.append(rng.choice([" ", "\n", "\n\n", "\n  "]).join(parts))
    return [*found, "", "?!"]


SHARDS = {"web/a": pages(1, 12), "web/b": pages(1, 9)[::-1], "books/c": pages(2, 8)}
"""The recipe's order of sources is web, books, though shards are sorted by name."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("repeats"), SHARDS, dedupe={"steps": [RUNS, LINES]})


def test_marks_are_those_of_brute_force(run: Run) -> None:
    for step, found in expected(SHARDS).items():
        assert marks(run, SHARDS, step) == found
        assert any(one["spans"] for one in found.values())
        counts = manifest(run, f"attributes/{step}")["counts"]
        own = {o: one for o, one in found.items() if o.startswith("books/")}
        assert counts["books"]["touched"] == sum(bool(one["spans"]) for one in own.values())
        assert counts["books"]["spans"] == sum(len(one["spans"]) for one in own.values())
        assert counts["books"]["repeated_chars"] == sum(b - a for one in own.values() for a, b in one["spans"])
        assert counts["books"]["seen_chars"] == sum(len(t) for o, t in origins(SHARDS).items() if o in own)
        assert counts["books"]["kept"] == counts["books"]["in"] == len(own)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.sampled_from("ab漢c"), max_size=70).map(" ".join), min_size=1, max_size=5))
def test_any_words(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    shards = {"web/a": texts[:2], "web/b": texts[2:]}
    shards = {name: some for name, some in shards.items() if some}
    run = made(tmp_path_factory.mktemp("any"), shards, dedupe={"steps": [RUNS]})
    assert marks(run, shards, "runs") == expected(shards)["runs"]


def test_the_order_decides_which_is_the_first(tmp_path: Path) -> None:
    shards = {name: [{"id": f"{i}", "text": t} for i, t in enumerate(some)] for name, some in SHARDS.items()}
    found = made(tmp_path, shards, dedupe={"prefer": "chars DESC", "steps": [RUNS, LINES]})
    texts = origins(SHARDS)
    names = list(texts)
    order = sorted(names, key=lambda o: (-len(texts[o]), names.index(o)))
    for step, columns in expected(SHARDS, order).items():
        assert marks(found, SHARDS, step) == columns
        assert columns != expected(SHARDS)[step]


def test_documents_that_do_not_stay_neither_mark_nor_count(tmp_path: Path) -> None:
    shards = {**SHARDS, "web/d": [*SHARDS["web/a"][:4], "A first line of some length\nanother"]}
    steps = [
        {"name": "before", **{k: v for k, v in LINES.items() if k != "name"}},
        {"name": "exact", "kind": "exact"},
        RUNS,
        LINES,
    ]
    made_run = made(
        tmp_path, shards, dedupe={"steps": steps}, mix={"where": {"few": "chars < 150", "one": "exact.keep"}}
    )
    texts = origins(shards)
    passing = [origin for origin, text in texts.items() if len(text) < 150]
    order = [o for i, o in enumerate(passing) if not texts[o] or texts[o] not in [texts[p] for p in passing[:i]]]
    assert len(order) < len(passing) < len(texts)
    for step, columns in expected(shards, order).items():
        assert marks(made_run, shards, step) == columns
    assert marks(made_run, shards, "before") == expected(shards, passing)["lines"], "it stands before the copies went"
    gone = [origin for origin in passing if origin not in order]
    assert all(marks(made_run, shards, "exact")[origin]["keep"] is False for origin in gone) if False else gone


def test_the_same_bytes_however_it_is_cut(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "BYTES_A_KEY", 200_000_000)
    monkeypatch.setattr(ranges, "TEXT_BYTES", 300)
    other = small_run(tmp_path, SHARDS, dedupe={"steps": [RUNS, LINES]}, max_memory=4_000_000_000)
    make(other, engine=Here(seed=3, repeated=0.5, again=True))
    cut = [e.name for e in other.folder.list("cache/repeats") if "/marks/" in e.name]
    assert len(cut) > 6
    assert promised(other) == promised(run)


def test_hashes_sorted_in_pieces_mark_the_same(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (units, read_units):
        monkeypatch.setattr(module, "PIECE", 3)
    monkeypatch.setattr("dolma_pipeline.io.jsonl.MAX_BATCH_ROWS", 2, raising=False)
    monkeypatch.setattr(ranges, "BYTES_A_KEY", 200_000_000)
    other = made(tmp_path, SHARDS, dedupe={"steps": [RUNS, LINES]})
    for step in ("runs", "lines"):
        assert marks(other, SHARDS, step) == marks(run, SHARDS, step)


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    real = run_columns.open_shard

    def counting(run: Run, shard: Any, report: Any) -> Any:
        found.append(shard.name)
        return real(run, shard, report)

    monkeypatch.setattr(run_columns, "open_shard", counting)
    return found
