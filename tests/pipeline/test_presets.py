"""A run with presets: their rules are counted and told like any other, their edits are made, changes are seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import dolma_pipeline as dp
from dolma_pipeline.config import Recipe, load_recipe, recipe_from_text
from dolma_pipeline.errors import SettingsChangedError, UsageError
from dolma_pipeline.look.changes import changed
from dolma_pipeline.look.explain import explain
from dolma_pipeline.look.what_if import what_if
from tests.dolma_pipeline.look.conftest import made
from tests.pipeline import tiny

SENTENCE = "This is a line that has an end. "
TEXTS = {
    "good": SENTENCE * 4 + "\nWrite to jane.doe@example.com or call the office before noon today.\nnext page",
    "code": SENTENCE * 4 + "\nint main() { return 0; }",
    "short": SENTENCE,
}
STAGES = ("tag", "mix")
OWN = """
summary: ours
taggers: [length_v1, pii_v1]
where: {long: length_v1.words >= 10, never: length_v1.words < 1000}
replace: {mails: {spans: pii_v1.email, with: "|||MAIL|||"}}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("presets")
    (folder / "own.yaml").write_text(OWN)
    for source in ("web", "raw"):
        rows = [{"id": name, "text": text} for name, text in TEXTS.items()]
        (folder / f"{source}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: dict[str, Any] = {
        "output": f"{folder}/run",
        "workers": 1,
        "sources": {name: {"documents": f"{folder}/{name}.jsonl"} for name in ("web", "raw")},
        "mix": {
            "presets": [f"{folder}/own.yaml", "c4"],
            "skip_rules": ["own.never"],
            "where": {"any": "chars > 0"},
            "sources": {"raw": {"skip_rules": ["c4", "own.mails"]}},
        },
    }
    (folder / "my.yaml").write_text(json.dumps(settings))
    made(load_recipe(str(folder / "my.yaml")), stages=STAGES)
    return folder


@pytest.fixture
def recipe(finished: Path) -> Callable[..., Recipe]:
    return lambda *overrides: load_recipe(str(finished / "my.yaml"), *overrides)


def documents(folder: Path, source: str) -> dict[str, str]:
    rows = [line for path in (folder / "run/mix/documents" / source).glob("*") for line in tiny.read_jsonl(path)]
    return {row["id"]: row["text"] for row in rows}


def test_counts_and_edits(finished: Path, recipe: Callable[..., Recipe]) -> None:
    counts = made(recipe(), stages=STAGES).manifests["mix"].counts
    assert {*counts["web"].rules} == {"own.long", "c4.sentences", "c4.lorem_ipsum", "c4.curly_bracket", "any"}
    assert counts["web"].rules["c4.curly_bracket"] == {"first": 1, "any": 1, "alone": 1, "null": 0}
    assert counts["web"].rules["own.long"]["any"] == 1
    assert {*counts["raw"].rules} == {"own.long", "any"}
    assert (counts["web"].kept, counts["raw"].kept) == (1, 2)
    assert documents(finished, "web") == {
        "good": SENTENCE * 4 + "\nWrite to |||MAIL||| or call the office before noon today.\n"
    }
    assert documents(finished, "raw")["good"] == TEXTS["good"]


def test_the_run_says_what_presets_meant(finished: Path) -> None:
    said = (finished / "run/recipe.yaml").read_text()
    assert 'c4.sentences: "c4_v1.sentence_count >= 3"' in said
    assert "presets:" not in said
    again = load_recipe(str(finished / "run/recipe.yaml"))
    assert made(again, stages=STAGES).nothing_to_do


def test_reasons(finished: Path, recipe: Callable[..., Recipe]) -> None:
    (dropped,) = (pq.read_table(path).to_pylist() for path in (finished / "run/mix/dropped/web").glob("*"))
    assert [row["rules"] for row in dropped] == [["c4.curly_bracket"], ["own.long", "c4.sentences"]]
    found = explain(recipe(), "web/web#1")
    assert [rule for rule, said in found.rules.items() if said["says"] != "passed"] == ["c4.curly_bracket"]


@pytest.mark.parametrize(
    ("changes", "web"),
    [
        (["c4.curly_bracket:"], 2),
        (["mix.where.c4.curly_bracket=c4_v1.line_count > 1"], 2),
        (["own.long: length_v1.words >= 1", "c4.sentences: c4_v1.sentence_count >= 1"], 2),
        (["mix.sources.web.skip_rules=[c4]"], 2),
        (["mix.sources.web.skip_rules=[c4, own.long]"], 3),
        (["c4.words: length_v1.words > 100"], 0),
    ],
)
def test_what_if(recipe: Callable[..., Recipe], changes: Sequence[str], web: int) -> None:
    found = what_if(recipe(), changes)
    assert found.exact
    assert found.sources["web"].after.documents == web


def test_what_if_with_another_preset(recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(
        UsageError, match=r"mix\.skip_rules\.0: no rule of a preset named 'own\.never'\. There are: gopher"
    ):
        what_if(recipe(), ["mix.presets=[gopher]"])


def test_a_preset_that_says_something_else_is_a_change(finished: Path, recipe: Callable[..., Recipe]) -> None:
    (finished / "own.yaml").write_text(OWN.replace(">= 10", ">= 12"))
    try:
        with pytest.raises(SettingsChangedError, match=r"mix\.where\.own\.long: .*>= 10.* -> .*>= 12"):
            dp.run(recipe())
    finally:
        (finished / "own.yaml").write_text(OWN)


def test_rules_that_changed_are_a_recipe(recipe: Callable[..., Recipe]) -> None:
    after = changed(recipe(), ["own.long: chars > 3"])
    assert after.mix is not None
    assert after.mix.where["own.long"] == "chars > 3"
    assert recipe_from_text(dp.config.resolved_yaml(after)) == after
