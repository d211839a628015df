"""`convert`: a recipe on stdout, notes on stderr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.config import load_recipe

CONFIG = {
    "streams": [
        {
            "name": "web",
            "documents": ["data/documents/*.gz"],
            "output": {"path": "out", "discard_fields": ["metadata"]},
            "filter": {"include": ["$.metadata[?(@.stars >= 5)]"]},
        }
    ]
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("mix.v1.json").write_text(json.dumps(CONFIG))
    return "mix.v1.json"


def test_a_recipe_is_printed(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", config]) == 0
    out, err = capsys.readouterr()
    Path("my.yaml").write_text(out)
    recipe = load_recipe("my.yaml")
    assert (recipe.output, list(recipe.sources)) == ("runs/mix", ["web"])
    assert err == "no counterpart: output.path out: documents are written to mix/documents/ in the run's folder\n"


def test_as_json_with_an_output(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", config, "--output", "runs/other", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["recipe"].splitlines()[0], err) == ("output: runs/other", "")
    assert len(json.loads(out)["notes"]) == 1


def test_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert"]) == 2
    assert capsys.readouterr().err == "error: 'convert' takes one config of Dolma's mixer; found 0\n"
    assert main(["convert", "none.yaml"]) == 2
    said = "none.yaml: No such file or directory; a config of Dolma's mixer is a YAML file, give its path"
    assert capsys.readouterr().err == f"error: {said}\n"
