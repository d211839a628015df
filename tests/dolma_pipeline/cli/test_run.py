"""`run` and the single stages: the recipe is checked first, then the runner gets what was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline import runner
from dolma_pipeline.cli import main
from dolma_pipeline.config import Recipe
from dolma_pipeline.errors import TooManyFailuresError

TEXT = """\
output: runs/a
sources: {web: {documents: x}}
tag: {taggers: [t]}
tokenizer: {train: bpe}
mix: {}
tokens: {}
"""


class FakeResult:
    """What the runner gives back."""

    def text(self) -> str:
        return "a table"

    def record(self) -> dict[str, Any]:
        return {"b": 1, "a": "ä"}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []

    def run(recipe: Recipe, **options: Any) -> FakeResult:
        seen.append({"recipe": recipe, **options})
        return FakeResult()

    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(runner, "Result", FakeResult)
    return seen


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "my.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


def test_run(recipe: str, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", recipe, "seed=7"]) == 0
    assert capsys.readouterr().out == "a table\n"
    (call,) = calls
    assert call["recipe"].seed == 7
    assert {key: value for key, value in call.items() if key != "recipe"} == {
        "stages": (),
        "redo": False,
        "dry_run": False,
        "beam_options": (),
        "quiet": False,
        "attach": False,
    }


def test_options_reach_the_runner(recipe: str, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-q", "mix", recipe, "--redo", "--dry-run", "--format", "json", "--", "--region=r"]) == 0
    assert json.loads(capsys.readouterr().out) == {"a": "ä", "b": 1}
    (call,) = calls
    assert call["stages"] == ("tokenizer", "mix")
    assert (call["redo"], call["dry_run"], call["beam_options"], call["quiet"]) == (True, True, ("--region=r",), True)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["train"], "my.yaml has no `train` to run; its stages are tag, tokenizer, mix, tokens"),
        (["run", "sed=7"], "override 'sed=7': sed: no key named 'sed'. Did you mean 'seed'?"),
        (["tag", "tag.format=xml"], "override 'tag.format=xml': tag.format: found text 'xml', expected one of parquet"),
    ],
)
def test_wrong_use_starts_nothing(
    typed: list[str], message: str, recipe: str, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([typed[0], recipe, *typed[1:]]) == 2
    assert message in capsys.readouterr().err
    assert calls == []


def test_a_recipe_that_is_not_there(calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "no/such.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: no/such.yaml: No such file or directory; a recipe is a YAML file")
    assert calls == []


def test_too_many_failures_show_the_tables_too(
    recipe: str, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(recipe: Recipe, **options: Any) -> FakeResult:
        error = TooManyFailuresError("30 of 31 documents failed")
        error.result = FakeResult()
        raise error

    monkeypatch.setattr(runner, "run", run)
    assert main(["run", recipe]) == 3
    out, err = capsys.readouterr()
    assert out == "a table\n"
    assert err == "error: 30 of 31 documents failed\n"
