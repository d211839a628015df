"""Paths of a recipe, whichever key they stand in: `~` is a home folder, a variable is refused before work starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

import dolma_pipeline as dp
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.errors import ConfigError, UsageError
from dolma_pipeline.evals.run import task_files
from dolma_pipeline.registry import read_modules
from dolma_pipeline.runner import run
from tests.pipeline.tiny import MARKS, read_jsonl

TEXT = "one two three four five six"


@pytest.fixture
def home(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with all that a recipe can name, below a folder with brackets; the working directory is another."""
    folder = tmp_path / "ann[1]"
    (folder / "docs").mkdir(parents=True)
    for name in ("a[1]", "b"):
        lines = [{"id": f"{name}-{i}", "text": f"{TEXT} {name} {i}"} for i in range(20)]
        (folder / f"docs/{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        spans = [{"id": line["id"], "attributes": {"lang__x__en": [[0, 5, 0.9]]}} for line in lines]
        (folder / "given").mkdir(exist_ok=True)
        (folder / f"given/{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in spans))
    (folder / "marks.py").write_text(MARKS, encoding="utf-8")
    shutil.copy(finished / "tokenizer/tokenizer.json", folder / "tok.json")
    monkeypatch.setenv("HOME", str(folder))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def tree(at: str, **changes: Any) -> dict[str, Any]:
    """A recipe all of whose paths begin with `at`."""
    return {
        "output": f"{at}/out/run",
        "workers": 1,
        "sources": {
            "web": {"documents": [f"{at}/docs/a[1].jsonl", f"{at}/docs/b*.jsonl"], "attributes": f"{at}/given"}
        },
        "modules": [f"{at}/marks.py"],
        "tag": {"taggers": ["length_v1", "marks_v1"]},
        "tokenizer": {"load": f"{at}/tok.json"},
        "mix": {"where": {"lang": "score(lang.x__en) > 0.5"}, "documents": True},
        "tokens": {},
        **changes,
    }


def test_a_recipe_whose_paths_begin_with_a_tilde_is_the_recipe_with_the_home_folder(home: Path, plain: None) -> None:
    result = run(recipe_from_text(json.dumps(tree("~"))), quiet=True)
    folder = home / "out/run"
    assert result.output == str(folder)
    assert [path.name for path in Path.cwd().iterdir()] == []
    documents = [row["id"] for path in sorted((folder / "mix/documents/web").iterdir()) for row in read_jsonl(path)]
    assert documents == [f"{name}-{i}" for name in ("a[1]", "b") for i in range(20)]
    shards = [orjson.loads(line) for line in (folder / "shards.jsonl").read_bytes().splitlines()]
    assert [(shard["name"], shard["path"]) for shard in shards] == [
        ("web/a[1]", "a[1].jsonl"),
        ("web/b", "b.jsonl"),
    ]
    # The recipe stays as it was written, so it means the same in another home.
    assert 'output: "~/out/run"' in (folder / "recipe.yaml").read_text()
    again = run(recipe_from_text(json.dumps(tree(str(home)))), quiet=True)
    assert again.nothing_to_do


VARIABLES: dict[str, dict[str, Any]] = {
    "output": {"output": "$RUNS/x"},
    "sources.web.documents": {"sources": {"web": {"documents": "$RUNS/docs/*.jsonl"}}},
    "sources.web.attributes": {"sources": {"web": {"documents": "~/docs/*.jsonl", "attributes": "${RUNS}/given"}}},
    "modules": {"modules": ["$RUNS/marks.py"], "tag": {"taggers": ["length_v1"]}},
    "tokenizer.load": {"tokenizer": {"load": "$RUNS/tok.json"}},
    "eval.tasks": {"train": {}, "eval": {"held_out": False, "tasks": ["$RUNS/task.jsonl"]}},
}


@pytest.mark.parametrize(("key", "changes"), VARIABLES.items(), ids=VARIABLES)
def test_a_variable_in_any_path_is_refused_with_its_key(
    home: Path, monkeypatch: pytest.MonkeyPatch, key: str, changes: dict[str, Any]
) -> None:
    monkeypatch.setenv("RUNS", str(home))
    if key == "eval.tasks":
        pytest.importorskip("torch")
    with pytest.raises(ConfigError) as error:
        run(recipe_from_text(json.dumps(tree("~", **changes))), quiet=True)
    assert f": {key}: " in str(error.value)
    assert "RUNS} is not replaced" in str(error.value) or "$RUNS is not replaced in a recipe" in str(error.value)
    assert not (home / "out").exists()
    assert [path.name for path in Path.cwd().iterdir()] == []


def test_what_is_called_without_a_recipe_takes_a_tilde_too(home: Path) -> None:
    counts = dp.tag_file("~/docs/a[1].jsonl", taggers="length_v1", output="~/tagged")
    assert counts.documents == 20
    assert (home / "tagged/length_v1/a[1].parquet").is_file()
    (module,) = read_modules(["~/marks.py"])
    assert (module.name, module.text) == ("~/marks.py", MARKS)
    assert task_files(EvalConfig(tasks=("~/t.jsonl",))) == {"t": home / "t.jsonl"}
    with pytest.raises(UsageError, match=r"^\$X/t\.jsonl: \$X is not replaced in a recipe"):
        task_files(EvalConfig(tasks=("$X/t.jsonl",)))
