"""decontaminate as a stage: small runs in memory, rows in, rows out; the forms; the development data."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from dolma_pipeline.engines import Here
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.look.what_if import what_if
from dolma_pipeline.run import layout
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner import run as launch
from dolma_pipeline.stages.decontaminate.items import check_findable
from tests.dolma_pipeline.stages.decontaminate.forms import planted
from tests.dolma_pipeline.stages.small import (
    artifacts_of,
    jsonl,
    made,
    make,
    manifest,
    promised,
    rows,
    small_recipe,
    small_run,
    write_shards,
)

QUESTION = "Which of these many bones is the longest one that a grown human being has in the leg?"
ITEMS = [
    {"id": "q/0", "question": QUESTION, "choices": [" the fibula", " the femur"], "gold": 1},
    {"id": "q/1", "question": "Who wrote this?", "choices": ["he", "she"], "gold": 0},
    {"id": "q/2", "question": "What is the capital of Upper Volta?", "answer": "Ouagadougou"},
    {"question": "At which temperature in degrees does pure water boil at sea level?", "answer": "100"},
]
TEXTS = [
    "Nothing of it.",
    f"Quiz night. {QUESTION.upper()}\nAnswer: the femur. Good night to all of you.",
    "What is the capital of Upper Volta? I never knew.",
    "at which temperature, in degrees, does pure water boil at sea level",
    "Which of these many bones is the longest one? Nobody says so.",
]


def write_items(folder: Path, name: str, items: Sequence[Any]) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in items))
    return str(path)


def section(folder: Path, **settings: Any) -> dict[str, Any]:
    return {"benchmarks": {"quiz": write_items(folder, "evals/quiz.jsonl", ITEMS)}, **settings}


def marks(run: Run, shard: str = "web/a") -> list[dict[str, Any]]:
    return [row["decontaminate"] for row in rows(run, layout.attributes("decontaminate", shard))]


def test_documents_in_which_items_stand_are_marked_with_the_item_and_its_place(tmp_path: Path) -> None:
    run = made(tmp_path, {"web/a": TEXTS}, decontaminate=section(tmp_path))
    found = marks(run)
    assert [row["contaminated"] for row in found] == [False, True, False, True, False]
    assert [row["weak"] for row in found] == [False, False, True, False, False]
    assert [row["item"] for row in found] == ["", "q/0", "q/2", "quiz.jsonl:4", ""]
    assert [row["run"] for row in found] == [0, 21, 0, 12, 0]
    assert [row["coverage"] for row in found] == [0.0, 1.0, 0.0, 1.0, 0.0]
    (span,) = found[1]["spans"]
    assert TEXTS[1][span["start"] : span["end"]] == f"{QUESTION.upper()}\nAnswer: the femur"
    assert (found[2]["spans"], len(found[3]["spans"])) == ([], 1)


def test_the_report_says_what_of_each_benchmark_was_found_and_where(tmp_path: Path) -> None:
    run = made(tmp_path, {"web/a": TEXTS, "web/b": TEXTS[1:2]}, decontaminate=section(tmp_path))
    assert manifest(run, "decontaminate")["benchmarks"] == {
        "quiz": {"items": 4, "unfindable": 0, "views_too_short": 2, "stock": 0, "found": 2, "weak": 1}
    }
    items = rows(run, layout.ITEMS)
    assert items[1]["too_short"] == ["question", "answered"]
    assert items[1]["views"] == ["labelled"], "with the word and the answer it has 5 words"
    assert [(one["item"], one["documents"], one["weak"], one["origins"]) for one in jsonl(run, layout.FOUND)] == [
        ("q/0", 2, 0, ["web/a#1", "web/b#0"]),
        ("q/2", 0, 1, ["web/a#2"]),
        ("quiz.jsonl:4", 1, 0, ["web/a#3"]),
    ]
    counts = manifest(run, "attributes/decontaminate")["counts"]["web"]
    assert (counts["in"], counts["kept"], counts["contaminated"], counts["weak"]) == (6, 6, 3, 1)
    assert counts["benchmarks"] == {"quiz": {"documents": 3, "weak": 1}}


def test_a_rule_of_the_mix_drops_them_and_edits_cut_them_out(tmp_path: Path) -> None:
    where = {"clean": "NOT decontaminate.contaminated"}
    run = made(tmp_path, {"web/a": TEXTS}, decontaminate=section(tmp_path), mix={"where": where})
    assert [one["text"] for one in jsonl(run, layout.documents("web/a"))] == [TEXTS[0], TEXTS[2], TEXTS[4]]
    cut = {"sources": {"web": {"remove": ["decontaminate.spans"]}}}
    run = made(tmp_path, {"web/a": TEXTS}, decontaminate=section(tmp_path), mix=cut)
    assert jsonl(run, layout.documents("web/a"))[1]["text"] == "Quiz night. . Good night to all of you."


def test_a_document_that_is_marked_is_never_the_one_that_stays_of_copies(tmp_path: Path) -> None:
    """Rules over the column are early rules: they are asked before duplicates."""
    near = " ".join(f"word{i}" for i in range(100))
    texts = [f"{near} {QUESTION}", near]
    where = {"clean": "NOT decontaminate.contaminated"}
    run = made(
        tmp_path, {"web/a": texts}, decontaminate=section(tmp_path), mix={"where": where},
        dedupe={"steps": [{"name": "near", "kind": "minhash", "bands": 30, "rows": 3, "threshold": 0.7}]},
    )  # fmt: skip
    assert [row["near"]["keep"] for row in rows(run, layout.attributes("near", "web/a"))] == [False, True]


def test_8_words_find_what_13_do_not_and_need_coverage_or_a_run(tmp_path: Path) -> None:
    half = "Which of these many bones is the longest one that a grown cat has?"
    settings = [{}, {"ngram": 8}, {"ngram": 8, "min_coverage": 0.8}, {"ngram": 8, "min_coverage": 0.8, "min_run": 12}]
    for number, (own, expected) in enumerate(zip(settings, [False, True, False, True], strict=True)):
        folder = tmp_path / str(number)
        (row,) = marks(made(folder, {"web/a": [half]}, decontaminate=section(folder, **own)))
        assert (row["contaminated"], row["run"] > 0) == (expected, number > 0), own


def test_other_thresholds_open_no_text(tmp_path: Path) -> None:
    run = made(tmp_path, {"web/a": TEXTS}, decontaminate=section(tmp_path))
    assert not marks(run)[2]["contaminated"]
    (tmp_path / "in/web/a.jsonl").unlink()
    recipe = small_recipe(tmp_path, ["web"], decontaminate=section(tmp_path, mark_weak=True))
    again = Run(recipe, run.folder, run.modules, run.shards_digest)
    before, after = artifacts_of(run), artifacts_of(again)
    left = {name for name in before if before[name].digest != after[name].digest}
    assert left == {"attributes/decontaminate", "decontaminate"}
    run.folder.delete([layout.manifest(name) for name in sorted(left)])
    assert make(again) == ["decontaminate/mark", "decontaminate/report"]
    assert marks(again)[2]["contaminated"]


def test_other_items_make_the_matches_anew(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"web/a": TEXTS}, decontaminate=section(tmp_path))
    before = artifacts_of(run)
    write_items(tmp_path, "evals/quiz.jsonl", [*ITEMS, {"id": "q/9", "question": "Is this one more of those things?"}])
    Process.leave()
    after = artifacts_of(run)
    assert {name for name in before if before[name].digest != after[name].digest} == {
        "decontaminate/items", "decontaminate/matches", "attributes/decontaminate", "decontaminate"
    }  # fmt: skip


def test_the_same_bytes_for_any_order_of_tasks_and_repeats(tmp_path: Path) -> None:
    shards = {f"web/{name}": TEXTS[i:] for i, name in enumerate("abcd")}
    plain = made(tmp_path, shards, decontaminate=section(tmp_path))
    for seed in (1, 2):
        run = small_run(tmp_path, shards, decontaminate=section(tmp_path))
        make(run, engine=Here(seed=seed, repeated=0.5, again=True))
        assert promised(run) == promised(plain)


def test_the_marks_do_not_depend_on_how_texts_are_cut_into_shards(tmp_path: Path) -> None:
    one = marks(made(tmp_path / "1", {"web/a": TEXTS}, decontaminate=section(tmp_path)))
    parts = {f"web/{i}": [text] for i, text in enumerate(TEXTS)}
    several = made(tmp_path / "2", parts, decontaminate=section(tmp_path))
    assert [row for i in range(len(TEXTS)) for row in marks(several, f"web/{i}")] == one


def test_new_shards_are_looked_at_and_the_others_left_alone(tmp_path: Path) -> None:
    run = made(tmp_path, {"web/a": TEXTS[:2]}, decontaminate=section(tmp_path))
    grown = artifacts_of(run)
    assert {name for name, one in grown.items() if one.grows} == {
        "index", "decontaminate/items", "decontaminate/matches", "attributes/decontaminate"
    }  # fmt: skip


def test_documents_are_items_too_and_files_may_be_compressed(tmp_path: Path) -> None:
    write_items(tmp_path, "evals/texts.jsonl", [{"id": "t/0", "text": "Once there was a king of all the lands. " * 3}])
    benchmarks = {"texts": str(tmp_path / "evals/*.jsonl")}
    texts = ["He read: once there was a king of all the lands, once there was a king of all the lands."]
    (row,) = marks(made(tmp_path, {"web/a": texts}, decontaminate={"benchmarks": benchmarks}))
    assert (row["contaminated"], row["item"], row["run"]) == (True, "t/0", 18)


def test_items_are_normalized_as_documents_are(tmp_path: Path) -> None:
    """Composed and decomposed letters are the same text where the recipe says so."""
    decomposed = " ".join(f"cafe\u0301{i} ne\u0301e" for i in range(12))
    shards = {"web/a": [decomposed, "a page of other words"]}
    quiz = write_items(tmp_path, "quiz.jsonl", [{"question": decomposed}])
    sheet = write_items(tmp_path, "sheet.jsonl", [{"id": "x", "text": decomposed}])
    for benchmarks in ({"quiz": quiz}, {"sheet": sheet}):
        run = made(tmp_path, shards, normalize=["nfc"], decontaminate={"benchmarks": benchmarks})
        assert [one["contaminated"] for one in marks(run)] == [True, False]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([{"query": "x"}], r"quiz.jsonl:1: no item of an evaluation set: it has query"),
        (["not json"], r"quiz.jsonl:1: not JSON .* begins with b'not json'"),
        (["[1]"], "quiz.jsonl:1: not a JSON object"),
        ([], "its files have no items"),
        ([{"text": "Some text of a document."}, {"id": "x"}], r"quiz.jsonl:2: .*\. A benchmark is read whole"),
    ],
)
def test_a_file_that_holds_no_items_is_told_before_anything_starts(
    tmp_path: Path, items: Sequence[Any], words: str
) -> None:
    path = write_items(tmp_path, "evals/quiz.jsonl", items)
    run = small_run(tmp_path, {"web/a": TEXTS}, decontaminate={"benchmarks": {"quiz": path}})
    with pytest.raises(ConfigError, match=words):
        check_findable(Process.of(run))


def test_a_pattern_that_finds_nothing(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"web/a": TEXTS}, decontaminate={"benchmarks": {"quiz": str(tmp_path / "*.nothing")}})
    with pytest.raises(ConfigError, match="no such file"):
        check_findable(Process.of(run))


def test_a_benchmark_of_which_nothing_can_be_found_is_an_error(tmp_path: Path) -> None:
    path = write_items(tmp_path, "evals/quiz.jsonl", [{"question": "Why?"}, {"question": "Who was it?"}])
    run = small_run(tmp_path, {"web/a": TEXTS}, decontaminate={"benchmarks": {"quiz": path}})
    with pytest.raises(
        ConfigError, match=r"benchmarks.quiz: none of its items can be found: all .* fewer than 5 words"
    ):
        check_findable(Process.of(run))
    with pytest.raises(ConfigError, match=r"benchmarks.quiz: none of its items can be found"):
        make(run)


@pytest.mark.parametrize("text", ["Who was it there then?", "誰が東京に", "1, 2, 3, 4, 5", "a-b-c-d-e"])
def test_five_words_of_one_item_are_enough(tmp_path: Path, text: str) -> None:
    path = write_items(tmp_path, "evals/quiz.jsonl", [{"question": "Why?"}, {"question": text}])
    run = small_run(tmp_path, {"web/a": TEXTS}, decontaminate={"benchmarks": {"quiz": path}})
    check_findable(Process.of(run))


@pytest.mark.parametrize("ngram", [13, 8])
def test_the_five_forms_are_found_and_clean_pages_are_not_marked(tmp_path: Path, ngram: int) -> None:
    items, pages, clean = planted(100)
    path = write_items(tmp_path, "evals/i.jsonl", [{"id": str(i), "question": text} for i, text in enumerate(items)])
    shards = {f"web/{form.replace(' ', '_')}": found for form, found in pages.items()} | {"web/clean": clean}
    run = made(tmp_path, shards, decontaminate={"benchmarks": {"made": path}, "ngram": ngram})
    assert not any(row["contaminated"] or row["weak"] for row in marks(run, "web/clean"))
    for number, form in enumerate(pages):
        found = marks(run, f"web/{form.replace(' ', '_')}")
        right = [
            row["item"] == str(number * 100 + i) and (row["contaminated"] or row["weak"]) for i, row in enumerate(found)
        ]
        assert sum(right) >= 95, form


def test_what_if_of_a_rule_on_the_column_needs_no_text(tmp_path: Path) -> None:
    write_shards(tmp_path, {"web/a": TEXTS})
    where = {"clean": "NOT decontaminate.contaminated"}
    recipe = small_recipe(tmp_path, ["web"], decontaminate=section(tmp_path), mix={"where": where}, workers=1)
    recipe = dataclasses.replace(recipe, output=str(tmp_path / "run"))
    assert launch(recipe, quiet=True).manifests["mix"].counts["web"].kept == 3
    (tmp_path / "in/web/a.jsonl").unlink()
    tried = what_if(recipe, ["clean: NOT decontaminate.contaminated AND NOT decontaminate.weak"])
    assert tried.exact
    found = tried.record()["sources"]["web"]
    assert (found["before"]["documents"], found["after"]["documents"], found["lost"]["documents"]) == (3, 2, 1)


def test_two_workers_write_the_same_bytes(tmp_path: Path) -> None:
    write_shards(tmp_path, {f"web/{name}": TEXTS[i:] for i, name in enumerate("abc")})
    trees = []
    for workers in (1, 2):
        recipe = small_recipe(tmp_path, ["web"], decontaminate=section(tmp_path), workers=workers)
        folder = tmp_path / f"run{workers}"
        launch(dataclasses.replace(recipe, output=str(folder)), quiet=True)
        files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
        trees.append({k: v.read_bytes() for k, v in files.items() if k.parts[0] not in layout.UNPROMISED})
    assert trees[0] == trees[1]
    assert Path("decontaminate/found.jsonl") in trees[0]


TASKS = ("arc_easy", "arc_challenge", "boolq", "hellaswag", "openbookqa", "piqa", "sciq", "winogrande")


def contaminated(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The documents, and the plants in them."""
    lines = gzip.decompress((data / "contamination/documents.jsonl.gz").read_bytes()).splitlines()
    truth = (data / "contamination/truth.jsonl").read_bytes().splitlines()
    return [orjson.loads(line) for line in lines], [orjson.loads(line) for line in truth]


def test_every_plant_that_shares_13_words_is_found_and_no_clean_document_marked(data: Path, tmp_path: Path) -> None:
    benchmarks = {name: str(data / f"eval/{name}.jsonl") for name in TASKS}
    documents, truth = contaminated(data)
    run = made(tmp_path, {"web/a": documents}, decontaminate={"benchmarks": benchmarks})
    items = [row["id"] for row in rows(run, layout.ITEMS)]
    assert len(items) == 2000
    found = {(documents[one["row"]]["id"], items[one["item"]]) for one in rows(run, layout.matches("web/a"))}
    shared = [(plant["doc"], plant["item"]) for plant in truth if plant["shared_13grams"]]
    assert len(shared) == 148
    assert set(shared) <= found
    marked = {one["id"] for one, row in zip(documents, marks(run), strict=True) if row["contaminated"]}
    assert {doc for doc, _ in shared} <= marked <= {plant["doc"] for plant in truth}


def test_8_words_find_the_plants_that_share_8(data: Path, tmp_path: Path) -> None:
    benchmarks = {name: str(data / f"eval/{name}.jsonl") for name in TASKS}
    documents, truth = contaminated(data)
    run = made(tmp_path, {"web/a": documents}, decontaminate={"benchmarks": benchmarks, "ngram": 8})
    items = [row["id"] for row in rows(run, layout.ITEMS)]
    found = {(documents[one["row"]]["id"], items[one["item"]]) for one in rows(run, layout.matches("web/a"))}
    assert {(plant["doc"], plant["item"]) for plant in truth if plant["shared_8grams"]} <= found
    marked = {one["id"] for one, row in zip(documents, marks(run), strict=True) if row["contaminated"]}
    assert marked <= {plant["doc"] for plant in truth}
