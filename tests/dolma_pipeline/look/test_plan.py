"""`--plan`: what the run's own plan says, what another budget would give, and what stands in its way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.look.plan import plan
from dolma_pipeline.look.text import plan_text
from dolma_pipeline.look.what_if import what_if
from tests.dolma_pipeline.look.conftest import loaded, made
from tests.pipeline import tiny


def outside_the_cache(folder: Path) -> dict[str, int]:
    """Every file of a run but those of its cache, and when it was changed."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files}
    return {name: time for name, time in names.items() if not name.startswith("cache/")}


def test_it_is_the_plan_that_the_run_made(finished: Path, here: Path) -> None:
    before = outside_the_cache(finished)
    record = plan(loaded(finished)).record()
    made_plan = json.loads((finished / "mix/plan.json").read_text())
    assert record["exact"]
    assert (record["unit"], record["target"]) == (made_plan["unit"], None)
    for name, one in record["sources"].items():
        theirs = made_plan["sources"][name]
        for key in ("available", "held_out", "documents", "bytes", "tokens", "epochs", "weight", "wanted"):
            assert one["plan"][key] == theirs[key]
        assert one["kept"]["documents"] == theirs["available"]["documents"] + theirs["held_out"]["documents"]
    assert sum(one["documents"]["documents"] for one in record["sources"].values()) == 280
    assert outside_the_cache(finished) == before


def test_another_budget_is_planned_and_what_cuts_it_is_said(finished: Path, here: Path) -> None:
    weights = {"web": {"remove": ["marks_v1.asides"], "weight": 0.2}, "code": {"weight": 0.8}, "forum": {"weight": 0}}
    report = plan(loaded(finished, mix__target_tokens=12_000, mix__sources=weights))
    cuts = {name: one["plan"]["cut_by"] for name, one in report.record()["sources"].items()}
    assert cuts == {"web": "budget", "code": "max_epochs", "forum": "budget"}
    text = plan_text(report)
    assert "what would be taken (budget: 12,000 tokens)" in text
    assert "max_epochs cuts what the weights ask of code" in text
    assert "~" not in text


def test_the_table_and_the_kept_ids_may_go(copied: Path) -> None:
    before = plan(loaded(copied)).record()
    shutil.rmtree(copied / "cache")
    assert plan(loaded(copied)).record() == before


def test_tokens_of_documents_that_were_never_encoded_are_estimates(copied: Path) -> None:
    tried = what_if(loaded(copied), ["unique:"])
    one = tried.record()["sources"]["web"]
    assert one["before"]["tokens_exact"]
    assert not one["after"]["tokens_exact"]
    assert one["gained"]["documents"] == 12
    ratio = one["before"]["tokens"] / one["before"]["bytes"]
    assert one["gained"]["tokens"] == pytest.approx(one["gained"]["bytes"] * ratio, rel=0.02)
    assert any(note.startswith("~ web: 12 of 138 documents that pass were never encoded") for note in tried.notes)
    there = {"words": "length_v1.words >= 10"}
    made(loaded(copied, mix__where=there), redo=True)
    made(loaded(copied), redo=True)
    again = what_if(loaded(copied), ["unique:"]).record()  # the kept ids know them now
    assert again["exact"]
    assert again["sources"]["web"]["gained"]["documents"] == 12


def test_before_anything_ran(here: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run has begun there\. First: dolma-pipeline mix RECIPE\."):
        plan(loaded(tmp_path / "none"))


def test_before_the_rules_were_asked(here: Path, tmp_path: Path, trained: Path) -> None:
    made(loaded(tmp_path / "run"), stages=("tag",))
    with pytest.raises(UsageError) as caught:
        plan(loaded(tmp_path / "run"))
    said = str(caught.value)
    assert "the rules have not been asked there yet; left to do: dedupe/exact (" in said
    assert "attributes/minhash (not done) and 1 more. " in said
    assert "First: dolma-pipeline run RECIPE (or tag, dedupe and mix)." in said


def test_with_other_settings_than_the_folder(finished: Path, here: Path) -> None:
    where = {**tiny.tree()["mix"]["where"], "words": "length_v1.words >= 30"}
    with pytest.raises(UsageError) as caught:
        what_if(loaded(finished, mix__where=where), ["unique:"])
    assert "mix.where.words: 'length_v1.words >= 10' -> 'length_v1.words >= 30'" in str(caught.value)
    assert "say what is to be changed with --what-if" in str(caught.value)


def test_a_file_that_is_gone_is_named(copied: Path) -> None:
    (copied / "tokenizer/tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"run/tokenizer/tokenizer\.json: gone\. Run the recipe again; it is made anew"):
        plan(loaded(copied))
    shutil.rmtree(copied / "cache/table", ignore_errors=True)
    (copied / "mix/verdicts/web/a.parquet").unlink()
    with pytest.raises(DataError, match=r"run/mix/verdicts/web/a\.parquet: gone\. Run the recipe again"):
        plan(loaded(copied))


def test_a_recipe_without_mix(here: Path, finished: Path) -> None:
    with pytest.raises(UsageError, match="the recipe has no `mix`"):
        plan(loaded(finished, mix=None))


def test_nothing_passes(finished: Path, here: Path) -> None:
    tried = what_if(loaded(finished), ["never: 1 = 2"])
    assert tried.after is None
    assert "no document passes the rules: nothing would be taken" in tried.notes
    record = tried.record()["sources"]["web"]
    assert (record["after"]["documents"], record["lost"]["documents"]) == (0, record["before"]["documents"])
    assert record["chosen"]["after"] is None
