"""`mix --plan` and `--what-if` from what is typed to what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolma_pipeline.cli import main
from tests.dolma_pipeline.look.conftest import corpus, finished, here, loaded, trained  # noqa: F401 fixtures
from tests.pipeline import tiny


@pytest.fixture
def recipe(finished: Path, here: Path, tmp_path: Path) -> str:  # noqa: F811
    """A recipe's file whose run is finished."""
    tree = tiny.tree(tokenizer={"load": "tokenizer.json"}, tokens=None)
    (tmp_path / "my.yaml").write_text(json.dumps({"output": str(finished), **tree}))
    assert loaded(finished).mix is not None
    return str(tmp_path / "my.yaml")


def test_a_plan_with_an_override(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mix", recipe, "--plan", "mix.target_tokens=5000"]) == 0
    out = capsys.readouterr().out
    assert "what would be taken (budget: 5,000 tokens)" in out
    assert "budget" in out.splitlines()[-6]
    assert main(["mix", "--plan", recipe, "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["look"] == "plan"


def test_what_if(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mix", recipe, "--what-if", "words: length_v1.words >= 30", "--what-if", "mix.target_tokens=5k"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("what if\n  words: length_v1.words >= 30\n  mix.target_tokens=5k\n")
    assert "the budget is 5,000 tokens; " in out
    assert main(["mix", recipe, "--what-if", "unique:", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record["sources"]["web"]["rules"]) == {"words", "unique"}
    assert record["sources"]["web"]["rules"]["unique"]["after"] is None
    assert not record["exact"]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--plan", "--redo"], "found --plan and --redo; --plan only looks at what there is and goes alone"),
        (["--plan", "--what-if", "seed=2"], "found --plan and --what-if; --plan only looks"),
        (["--what-if", "seed=2", "--", "--runner=X"], "found --what-if and Beam options; --what-if only looks"),
        (
            ["--what-if"],
            "nothing follows --what-if; it takes CHANGE: what 'RULE: SQL' ('RULE:' without it) or KEY=VALUE",
        ),
    ],
)
def test_what_does_not_go_together(
    recipe: str, typed: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mix", recipe, *typed]) == 2
    assert words in capsys.readouterr().err
