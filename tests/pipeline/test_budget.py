"""Budgets, weights and repetition: what the plan says is what is written."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dolma_pipeline.errors import SettingsChangedError, UsageError
from dolma_pipeline.look.plan import plan
from dolma_pipeline.runner import run
from tests.pipeline.tiny import read_jsonl, recipe, tree

pytestmark = pytest.mark.usefixtures("plain")


def planned(folder: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((folder / "mix/plan.json").read_bytes())["sources"]
    return found


def redone(copied: Path, **changes: Any) -> Mapping[str, Any]:
    run(recipe(copied, **changes), redo=True, quiet=True)
    check_tokens(copied)
    return planned(copied)


def documents(folder: Path) -> dict[str, int]:
    """Origin -> copies of the documents to train on."""
    rows = [row for path in (folder / "mix/documents").rglob("*.zst") for row in read_jsonl(path)]
    return {row["origin"]: row.get("epochs", 1) for row in rows}


def check_tokens(folder: Path) -> None:
    """Every copy is a document of the shards, numbered from 0, and sums are those of the plan."""
    rows = [
        row for path in sorted((folder / "tokens/train").glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    copies = Counter(row["origin"] for row in rows)
    assert copies == documents(folder)
    for origin, number in copies.items():
        assert sorted(row["epoch"] for row in rows if row["origin"] == origin) == list(range(number))
    for source, one in planned(folder).items():
        mine = [row for row in rows if row["source"] == source]
        assert (len(mine), sum(row["end"] - row["start"] for row in mine)) == (one["documents"], one["tokens"])


def test_a_budget_is_kept_and_shared_by_size(copied: Path) -> None:
    plan = redone(copied, mix__target_tokens=6000)
    total = sum(one["tokens"] for one in plan.values())
    assert 6000 - 3 * 400 < total <= 6000
    available = sum(one["available"]["tokens"] for one in plan.values())
    for one in plan.values():
        assert one["tokens"] <= one["wanted"] == pytest.approx(6000 * one["available"]["tokens"] / available, abs=1)
        assert 0 < one["epochs"] < 1
        assert not one["limited"]


def test_a_larger_budget_only_adds_documents(copied: Path, tmp_path: Path) -> None:
    redone(copied, mix__target_tokens=4000)
    small = documents(copied)
    redone(copied, mix__target_tokens=8000)
    assert set(small) < set(documents(copied))


def test_weights_and_repetition(copied: Path) -> None:
    sources = {"web": {"weight": 1}, "code": {"weight": 3}, "forum": {"weight": 0}}
    plan = redone(copied, mix__target_tokens=16000, mix__sources=sources, mix__max_epochs=4)
    assert plan["forum"]["tokens"] == 0 == plan["forum"]["epochs"]
    assert plan["code"]["wanted"] == 12000 == 3 * plan["web"]["wanted"]
    assert 12000 - 400 < plan["code"]["tokens"] <= 12000
    assert plan["code"]["full_epochs"] == 2
    copies = documents(copied)
    assert {number for origin, number in copies.items() if origin.startswith("code")} == {2, 3}
    assert {number for origin, number in copies.items() if origin.startswith("web")} == {1}
    assert plan["code"]["epochs"] == pytest.approx(
        plan["code"]["tokens"] / plan["code"]["available"]["tokens"], abs=1e-6
    )


def test_max_epochs_limits_and_is_said(copied: Path) -> None:
    sources = {"web": {"weight": 1}, "code": {"weight": 3}, "forum": {"weight": 1}}
    changes = {"mix__target_tokens": 20000, "mix__sources": sources, "mix__max_epochs": 1.5}
    plan = redone(copied, **changes)
    assert [name for name, one in plan.items() if one["limited"]] == ["code"]
    assert 1.4 < plan["code"]["epochs"] <= 1.5
    text = run(recipe(copied, **changes)).text()
    assert "  code: max_epochs cut the share that the weights ask for" in text


MIXER = """
from dolma_pipeline.mixing import mixer

@mixer("first_half")
def first_half(sources, target):
    \"\"\"Half of the budget for the first source.\"\"\"
    return {name: target // 2 if name == min(sources) else 0 for name in sources}
"""


def test_a_mixer_of_ones_own_needs_no_tagger(here: Path, tmp_path: Path) -> None:
    file = tmp_path / "my_mixers.py"
    file.write_text(MIXER)
    mix = {"mixer": "first_half", "target_tokens": 2000}
    bare = {"tag": None, "dedupe": None, "tokens": None, "mix": mix, "modules": [str(file)]}
    run(recipe(tmp_path / "run", **bare), quiet=True)
    plan = planned(tmp_path / "run")
    assert {name: one["wanted"] for name, one in plan.items()} == {"code": 1000, "forum": 0, "web": 0}
    assert 1000 - 200 < plan["code"]["tokens"] <= 1000
    file.write_text(MIXER.replace("// 2", "// 4"))
    with pytest.raises(SettingsChangedError) as caught:
        run(recipe(tmp_path / "run", **bare), quiet=True)
    assert "  modules: my_mixers.py (mix.mixer first_half): other content\nthis makes again: mix\n" in str(caught.value)
    run(recipe(tmp_path / "run", **bare), redo=True, quiet=True)
    assert planned(tmp_path / "run")["code"]["wanted"] == 500


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("None", "mixer 'first_half' returned None, expected a mapping of source to a whole number of tokens"),
        ("{'web': 1}", "mixer 'first_half' gives source 'code' no size; expected a whole number of tokens from 0"),
        ("{**dict.fromkeys(sources, 0), 'web': -5}", "mixer 'first_half' gives source 'web' -5 (int), expected a whol"),
        ("{**dict.fromkeys(sources, 0), 'web': 9.5}", "mixer 'first_half' gives source 'web' 9.5 (float), expected a "),
        ("{**dict.fromkeys(sources, 0), 'x': 1}", "mixer 'first_half' gives source 'x' a size; the sources are: code"),
        ("{**dict.fromkeys(sources, 0), 'web': 5 * target}", "mixer 'first_half' gives 10,000 tokens together ("),
    ],
)
def test_a_mixer_that_breaks_its_contract_stops_the_run_and_the_look(
    copied: Path, tmp_path: Path, returned: str, words: str
) -> None:
    file = tmp_path / "my_mixers.py"
    wrong = MIXER.partition("    return")[0] + f"    return {returned}\n"
    file.write_text(wrong)
    changes = {"modules": [*tree()["modules"], str(file)], "mix__mixer": "first_half", "mix__target_tokens": 2000}
    with pytest.raises(UsageError, match=f"^{re.escape(words)}"):
        plan(recipe(copied, **changes))
    with pytest.raises(UsageError, match=f"^mix/plan, all: {re.escape(words)}"):
        run(recipe(copied, **changes), redo=True, quiet=True)
