"""Paths of this machine in a run whose workers are on others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.config import Recipe
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.engines.elsewhere import DATAFLOW, NEEDED_BY_DATAFLOW, advice, class_name, given_options
from dolma_pipeline.errors import ConfigError, UsageError
from dolma_pipeline.runner import run
from dolma_pipeline.runner.check import check_beam
from dolma_pipeline.runner.reach import check_reach

ROOT = Path(__file__).parents[3]
FAR: dict[str, Any] = {
    "output": "s3://bucket/run",
    "sources": {"web": {"documents": ["s3://bucket/in/*"], "attributes": ["s3://bucket/attributes"]}},
    "tokenizer": {"load": "https://host/tokenizer.json"},
    "beam": {"runner": "FlinkRunner", "environment_type": "EXTERNAL"},
}
SHARED = {**FAR["beam"], "shared_disk": True}


def recipe(**changes: Any) -> Recipe:
    return recipe_from_text(json.dumps({**FAR, **changes}))


@pytest.mark.parametrize(
    ("key", "path", "changes"),
    [
        ("output", "runs/x", {"output": "runs/x"}),
        ("output", "memory://x", {"output": "memory://x"}),
        ("sources.web.documents", "in/*", {"sources": {"web": {"documents": ["s3://b/x", "in/*"]}}}),
        ("sources.web.documents", "files.txt", {"sources": {"web": {"documents": "@files.txt"}}}),
        ("sources.web.attributes", "a", {"sources": {"web": {"documents": "s3://b/x", "attributes": "a"}}}),
        ("tokenizer.load", "t.json", {"tokenizer": {"load": "t.json"}}),
    ],
)
def test_a_path_that_workers_do_not_see(key: str, path: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{key}: {path.replace('*', '.')} is on this machine, and workers of Flink"):
        check_reach(recipe(**changes))
    if not path.startswith("memory"):
        with pytest.raises(ConfigError, match=r"starts at the folder that this command was given in.* the whole path"):
            check_reach(recipe(**{**changes, "beam": SHARED}))
    check_reach(recipe(**{**changes, "beam": {**FAR["beam"], "environment_type": "LOOPBACK"}}))
    for runner in ("local", "FnApiRunner"):
        check_reach(recipe(**{**changes, "beam": runner}))
        check_reach(recipe(**changes), [f"--runner={runner}"])
    with pytest.raises(ConfigError, match="workers of DataflowRunner are on others"):
        check_reach(recipe(**{**changes, "beam": "local"}), ["--runner=DataflowRunner"])


def test_what_workers_see() -> None:
    check_reach(recipe())
    for output in ("/mnt/run", "file:///mnt/run"):
        with pytest.raises(ConfigError, match="is on this machine"):
            check_reach(recipe(output=output))
        check_reach(recipe(output=output, beam=SHARED))
    with pytest.raises(ConfigError, match="is on this machine"):
        check_reach(recipe(output="memory://x", beam=SHARED))


def test_a_run_is_refused_before_anything_starts() -> None:
    with pytest.raises(UsageError, match=r"beam\.runner: DataflowRunner needs project, region, temp_location, sdk"):
        check_beam(recipe(beam="DataflowRunner"))
    with pytest.raises(ConfigError, match="output: run is on this machine"):
        run(recipe(output="run"), quiet=True)


@pytest.mark.parametrize("page", ["dataflow", "flink", "spark"])
def test_the_recipes_of_the_pages_can_be_reached(page: str) -> None:
    content = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    recipes = re.findall(r"```yaml\n(.*?)```", content, re.DOTALL)
    assert recipes
    for text in recipes:
        recipe = recipe_from_text(text)
        check_reach(recipe)
        given = [f"--{name}={value}" for name, value in recipe.beam.options.items()]
        needed = NEEDED_BY_DATAFLOW if class_name(recipe.beam.runner) == DATAFLOW else ("job_endpoint",)
        assert [name for name in needed if name not in given_options(given)] == []
        assert advice(recipe.beam.runner, given) == []
