"""Steps that mark repeats, as a run makes them: equal to brute force, and only a changed text is read again."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.engines import Here
from dolma_pipeline.errors import ConfigError, UsageError
from dolma_pipeline.kernels.unicode import UNSPACED_BLOCKS
from dolma_pipeline.run import columns as run_columns
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import listed
from dolma_pipeline.runner.decide import decide
from dolma_pipeline.runner.ready import make_ready, tidy
from dolma_pipeline.stages.dedupe import ranges, read_units, units
from dolma_pipeline.stages.dedupe.stage import DedupeStage
from tests.dolma_pipeline.kernels.test_folded import folded, placed_words
from tests.dolma_pipeline.kernels.test_units import plain_units
from tests.dolma_pipeline.stages.small import (
    artifacts_of,
    jsonl,
    made,
    make,
    manifest,
    promised,
    rows,
    run_of,
    small_run,
    write_shards,
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
@given(texts=st.lists(st.lists(st.sampled_from("ab漢c"), max_size=70).map(" ".join), min_size=1, max_size=5))
def test_any_words(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
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
    """Names of shards as they are opened."""
    found: list[str] = []
    real = run_columns.open_shard
    monkeypatch.setattr(run_columns, "open_shard", lambda *args: found.append(args[1].name) or real(*args))
    return found


def again(run: Run) -> None:
    """What a launcher does with a folder before it goes on in it."""
    artifacts = [*artifacts_of(run).values()]
    decisions = [decide(run, one) for one in artifacts]
    make_ready(run, decisions, artifacts, {one.name: one.shard for one in listed(run)})


def test_another_order_or_rule_opens_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = opened(monkeypatch)
    recipe: dict[str, Any] = {"dedupe": {"steps": [RUNS, LINES]}, "mix": {"where": {"few": "chars < 400"}}}
    run = small_run(tmp_path, SHARDS, **recipe)
    make(run, until="dedupe/spans/lines")
    assert len(names) > len(SHARDS), "the scan, and the runs of some"
    files = [f"attributes/{step}/{shard}.parquet" for step in ("runs", "lines") for shard in SHARDS]
    for change in (
        {**recipe, "dedupe": {"prefer": "chars DESC", "steps": [RUNS, LINES]}},
        {**recipe, "mix": {"where": {"few": "chars < 200"}}},
        {**recipe, "dedupe": {"steps": [{"name": "exact", "kind": "exact"}, RUNS, LINES]}},
    ):
        other = small_run(tmp_path, SHARDS, where=run.folder, **change)
        again(other)
        names.clear()
        make(other, until="dedupe/spans/lines")
        assert names == []
        fresh = made(tmp_path, SHARDS, until="dedupe/spans/lines", **change)
        assert [other.folder.read(name) for name in files] == [fresh.folder.read(name) for name in files]


def test_a_run_that_grows_reads_again_what_has_new_relatives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = {"web/z": ["Nothing of this is anywhere else. " * 1, "x"]}
    shards = {**SHARDS, **alone}
    recipe = {"dedupe": {"steps": [RUNS, LINES]}}
    run = small_run(tmp_path, {name: shards[name] for name in ("web/b", "web/z", "books/c")}, **recipe)
    make(run)
    tidy(run, artifacts_of(run).values(), keep_work=False)
    assert not list(run.folder.list("cache/repeats"))
    write_shards(tmp_path, shards)
    names = opened(monkeypatch)
    grown = run_of(run.recipe, run.folder)
    again(grown)
    make(grown)
    assert "web/z" not in names
    assert names.count("web/a") == 2
    assert names.count("web/b") == 1, "other anchors of it occur twice now"
    assert promised(grown) == promised(made(tmp_path, {"web/b": shards["web/b"], **shards}, **recipe))


def test_a_contained_document_goes_and_spans_are_cut_and_masked(tmp_path: Path) -> None:
    part = " ".join(f"word{i}" for i in range(60))
    shards = {
        "web/a": [part, f"Before it. {part} And behind it.", "Mail me: a line of mine\nA line of mine\nA line of mine"]
    }
    run = made(
        tmp_path,
        shards,
        dedupe={"prefer": "chars DESC", "steps": [{"name": "runs", "kind": "substring"}, LINES]},
        mix={
            "where": {"not_contained": "runs.coverage < 0.9", "short": "len(runs.spans) = 0"},
            "replace": [{"spans": "lines.spans", "with": "[…]"}],
            "documents": True,
        },
    )
    found = marks(run, shards, "runs")
    assert [one["coverage"] for one in found.values()] == [1.0, 0.0, 0.0]
    assert found["web/a#1"]["elsewhere"] == 60 / 65
    texts = [one["text"] for one in jsonl(run, "mix/documents/web/a.jsonl.zst")]
    assert texts == [shards["web/a"][1], "Mail me: a line of mine\nA line of mine\n[…]"]
    first = made(
        tmp_path,
        shards,
        dedupe={"steps": [{"name": "runs", "kind": "substring"}]},
        mix={"sources": {"web": {"remove": ["runs.spans"], "min_chars": 30}}, "documents": True},
    )
    assert [one["coverage"] for one in marks(first, shards, "runs").values()] == [0.0, 60 / 65, 0.0]
    assert [one["elsewhere"] for one in marks(first, shards, "runs").values()] == [1.0, 60 / 65, 0.0]
    texts = [one["text"] for one in jsonl(first, "mix/documents/web/a.jsonl.zst")]
    assert texts == [part, shards["web/a"][2]], "what is left of the second is too short"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({**RUNS, "words": 9}, r"dedupe\.steps\.0: words: found 9, expected at least 10\. Shorter runs"),
        ({**RUNS, "unit": "line"}, "is of kind paragraphs, and this step is of kind substring; leave it out"),
        ({**LINES, "words": 60}, "is of kind substring, and this step is of kind paragraphs; leave it out"),
        ({**LINES, "min_unit_chars": 0}, "min_unit_chars"),
        ({**LINES, "min_chars": 3}, "min_chars"),
        ({**LINES, "unit": "sentence"}, "sentence"),
    ],
)
def test_misuse_is_told(tmp_path: Path, step: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, UsageError), match=words):
        DedupeStage().check(Process.of(small_run(tmp_path, {"web/a": ["x"]}, dedupe={"steps": [step]})))


def test_steps_that_can_mark_nothing_say_so(tmp_path: Path, run: Run) -> None:
    shards = {"web/a": ["a few words", "A few words"]}
    steps = [RUNS, {**LINES, "unit": "paragraph", "min_unit_chars": 5000}]
    found = made(tmp_path, shards, dedupe={"steps": steps})
    assert manifest(found, "attributes/runs")["warnings"] == [
        "no document has 12 words, so nothing is marked. Take fewer words."
    ]
    assert manifest(found, "attributes/lines")["warnings"] == [
        "no paragraph of any document has 5,000 characters, so nothing is marked. Take a smaller min_unit_chars, or "
        "`unit: line`."
    ]
    assert [one["spans"] for one in marks(found, shards, "lines").values()] == [[], []]
    assert "warnings" not in manifest(run, "attributes/runs")


@pytest.mark.parametrize("remove", [[], ["runs.spans"]])
def test_no_word_is_lost_where_whole_documents_of_repeats_go(tmp_path: Path, remove: list[str]) -> None:
    """Documents are pieces of four texts; each word stands at one place of its text."""
    rng = random.Random(8)
    origins = [[f"w{i}x{j}" for j in range(70)] for i in range(4)]
    texts = []
    for _ in range(60):
        words: list[str] = []
        for _ in range(rng.randrange(1, 4)):
            own, first = rng.choice(origins), rng.randrange(60)
            words += own[first : first + rng.randrange(8, 40)]
        texts.append(" ".join(words))
    run = made(
        tmp_path,
        {"web/a": texts[:30], "web/b": texts[30:]},
        dedupe={"prefer": "chars DESC", "steps": [{"name": "runs", "kind": "substring", "words": 10}]},
        mix={"where": {"own": "runs.coverage < 1"}, "sources": {"web": {"remove": remove}}, "documents": True},
    )
    left = [one["text"] for shard in "ab" for one in jsonl(run, f"mix/documents/web/{shard}.jsonl.zst")]
    assert len(left) < 50
    assert {word for text in left for word in text.split()} == {word for text in texts for word in text.split()}


def test_all_contained_families_are_covered(data: Path, tmp_path: Path) -> None:
    """The longest first, so that it is the contained one that is marked; nothing that is unrelated is."""
    truth = [json.loads(line) for line in (data / "dedup" / "truth.jsonl").read_text().splitlines()]
    shards = {}
    for path in sorted((data / "dedup" / "documents").glob("*.gz")):
        shards[f"web/{path.name.split('.')[0]}"] = [
            json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()
        ]
    run = made(tmp_path, shards, dedupe={"prefer": "chars DESC", "steps": [{"name": "runs", "kind": "substring"}]})
    found = marks(run, shards, "runs")
    by_id = {one["id"]: found[f"{shard}#{i}"] for shard, some in shards.items() for i, one in enumerate(some)}
    contained = [one["id"] for one in truth if one["kind"] == "contained/part"]  # of a `contained/whole`
    assert len(contained) == 6
    assert {name: by_id[name]["coverage"] for name in contained if by_id[name]["coverage"] < 1} == {}
    assert all(by_id[one["id"]]["elsewhere"] == 0 for one in truth if one["kind"] == "unrelated")


@pytest.mark.slow
def test_marks_of_the_development_documents_are_those_of_brute_force(data: Path, tmp_path: Path) -> None:
    """Python's own hash of every run of 50 words, and words as `re` finds them."""
    shards = {}
    for path in sorted((data / "documents").glob("*/*")):
        raw = path.read_bytes()
        plain = (
            gzip.decompress(raw)
            if path.suffix == ".gz"
            else zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()
        )
        shards[f"{path.parent.name}/{path.name.split('.')[0]}"] = [
            {"id": str(i), "text": json.loads(line)["text"]} for i, line in enumerate(plain.splitlines())
        ]
    run = made(tmp_path, shards, dedupe={"steps": [{"name": "runs", "kind": "substring"}]})
    first: set[int] = set()
    numbers: dict[str, int] = {}
    later = different = 0
    sources = list(dict.fromkeys(name.split("/")[0] for name in shards))
    found = marks(run, shards, "runs")
    unspaced = re.compile("[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in UNSPACED_BLOCKS) + "]")
    for shard in sorted(shards, key=lambda name: (sources.index(name.split("/")[0]), name)):
        for i, document in enumerate(shards[shard]):
            text = document["text"]
            if unspaced.search(text):
                places = placed_words(text)
            else:
                places = [(one[0], *one.span()) for one in re.finditer(r"\w+", text)]
            words = [numbers.setdefault("".join(map(str.lower, word)), len(numbers)) for word, *_ in places]
            spans: list[list[int]] = []
            for at in range(len(words) - 49):
                key = hash(tuple(words[at : at + 50]))
                if key not in first:
                    first.add(key)
                    continue
                later += 1
                if spans and at <= spans[-1][0]:
                    spans[-1][0], spans[-1][2] = at + 50, places[at + 49][2]
                else:
                    spans.append([at + 50, places[at][1], places[at + 49][2]])
            different += found[f"{shard}#{i}"]["spans"] != [(start, end) for _, start, end in spans]
    counts = manifest(run, "attributes/runs")["counts"].values()
    assert later == sum(one["repeats"] for one in counts) == 917_434
    assert different == 0
