"""`--what-if` with steps that mark repeats: what it says is what a run then makes, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.errors import UsageError
from dolma_pipeline.look.changes import changed
from dolma_pipeline.look.what_if import what_if
from tests.dolma_pipeline.look.conftest import made

PART = " ".join(f"word{i}" for i in range(60))
TEXTS = [PART, f"Before it. {PART}", "alone " * 20, "alone too", f"{PART} and behind it some more", PART.upper()]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    rows = [{"id": f"d{i}", "text": text} for i, text in enumerate(TEXTS)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: dict[str, Any] = {
        "output": f"{tmp_path}/run",
        "sources": {"web": {"documents": f"{tmp_path}/*.jsonl"}},
        "dedupe": {"steps": [{"name": "exact", "kind": "exact"}, {"name": "runs", "kind": "substring"}]},
        "mix": {"where": {"long": "chars >= 5", "own": "runs.coverage < 0.9", "one": "exact.keep"}},
    }
    found = recipe_from_text(json.dumps(settings))
    made(found, stages=("dedupe", "mix"))
    return found


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        (["own: runs.coverage < 0.99"], 5),
        (["own: runs.elsewhere = 0"], 2),
        (["own: len(runs.spans) = 0"], 3),
        (["long: chars >= 10"], 2),
        (["own:", "long: chars > 410"], 2),
    ],
)
def test_what_it_says_is_what_a_run_then_makes(recipe: Recipe, changes: list[str], passes: int) -> None:
    """The fourth text goes by another rule, and has no text in common with any other; without a rule on marks all is
    exact in any case."""
    found = what_if(recipe, changes)
    assert found.exact
    assert found.sources["web"].after.documents == passes
    after = made(changed(recipe, changes), redo=True, stages=("dedupe", "mix"))
    assert after.manifests["mix"].counts["web"].kept == passes


def test_other_marks_are_refused(recipe: Recipe) -> None:
    words = "what dedupe step 'runs' marks may be other text with these rules: of the documents .* {} have .*redo"
    with pytest.raises(UsageError, match=words.format(2)):
        what_if(recipe, [f"long: chars > {len(PART)}"])
    with pytest.raises(UsageError, match=words.format(1)):
        what_if(recipe, [f"long: chars <> {len(PART) + 11}", "own:", "mix.sources.web.remove=[runs.spans]"])


def test_the_table_tells_of_repeats(recipe: Recipe) -> None:
    text = made(changed(recipe, ["long: chars >= 6"]), redo=True, stages=("dedupe", "mix")).text()
    assert "repeated text: what stands in an earlier document, or earlier in its own" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("runs "))
    assert row == ["runs", "web", "6", "3", "33", "3", "1,227", "68.2%"]
