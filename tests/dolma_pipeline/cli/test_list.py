"""`list`: what there is, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline import assets, registry
from dolma_pipeline.cli import list as list_command
from dolma_pipeline.cli import main
from dolma_pipeline.documents import Span
from dolma_pipeline.look import speed
from dolma_pipeline.tagging import DECLARED
from dolma_pipeline.train.presets import PRESETS


def listed(kind: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["list", kind, "--format", "json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_taggers(capsys: pytest.CaptureFixture[str]) -> None:
    found = {one["name"]: one for one in listed("taggers", capsys)}
    pii = found["pii_v1"]
    assert pii["fields"] == {"email": "spans", "phone": "spans", "ip": "spans"}
    assert pii["parameters"]["phone_regions"] == ["US"]
    assert all(one["fields"] or one["needs"] for one in found.values())
    assert [name for name, one in found.items() if not one["summary"].endswith(".")] == []  # whole sentences
    assert found["dolma_v1"]["needs"].startswith("dolma_v1 needs dolma_class and types")
    assert main(["list", "taggers"]) == 0
    text = capsys.readouterr().out
    assert "\npii_v1\n" in "\n" + text
    assert "    fields          email spans, phone spans, ip spans\n" in text
    assert "phone_regions=[US]" in text


def test_taggers_say_where_they_come_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "import dolma_pipeline as dp\n\n@dp.tagger('own_v1', fields={'n': int})\ndef own(doc): return {'n': 0}\n"
    needy = (
        "\n@dp.tagger('needy_v1')\n@dataclass\nclass Needy:\n    model: str = ''\n    fields = {'n': int}\n"
        "    def __post_init__(self):\n        if not self.model: raise ValueError('needs a model')\n"
        "    def tag(self, batch): return {}\n"
    )
    (tmp_path / "own.py").write_text(f"from dataclasses import dataclass\n{text}{needy}")
    assert main(["list", "taggers", "--module", "own.py", "--format", "json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert (found["own_v1"]["origin"], found["own_v1"]["fields"]) == ("own.py", {"n": "int"})
    assert found["gopher_v1"]["origin"] == "built-in"
    assert found["needy_v1"]["needs"] == "tagger 'needy_v1' refuses its parameters {}: needs a model"
    assert "MB/s" not in found["own_v1"]
    registry._forget("own.py")


def test_speed_is_measured_and_what_is_missing_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(assets.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.delenv(assets.FOLDER_VARIABLE, raising=False)
    registry.tagger_specs()
    for name in DECLARED.keys() - {"length_v1", "language_v1"}:
        monkeypatch.delitem(DECLARED, name)
    monkeypatch.setattr(speed, "SECONDS", 0.01)
    assert main(["list", "taggers", "--measure", "--format", "json"]) == 0
    language, length = json.loads(capsys.readouterr().out)
    assert length["MB/s"] > 0
    assert "MB/s" not in language
    assert language["needs"].startswith("the asset 'lid.176.ftz' is not in the cache")


def test_mixers(capsys: pytest.CaptureFixture[str]) -> None:
    found = {one["name"]: one for one in listed("mixers", capsys)}
    assert found["proportional"]["summary"]


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    found = {one["name"]: one for one in listed("models", capsys)}
    assert list(found) == list(PRESETS)
    assert found["olmo-1b"]["num_parameters"] == 1_176_764_416  # Groeneveld et al. 2024, table 1: 1.18 B
    assert found["amber-7b"]["summary"] == "6,738.4 million parameters at a vocabulary of 32,000"
    assert found["crystalcoder-7b"]["summary"] == "6,575.3 million parameters at a vocabulary of 32,032"
    assert found["tiny"]["summary"] == "1.9 million parameters at a vocabulary of 4,096"
    assert found["tiny"]["shape"]["width"] == 128
    assert main(["list", "models"]) == 0
    assert "    num_parameters  1,176,764,416\n" in capsys.readouterr().out


def test_assets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv(assets.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.delenv(assets.FOLDER_VARIABLE, raising=False)
    (found,) = [one for one in listed("assets", capsys) if one["name"] == "lid.176.ftz"]
    assert (found["licence"], found["num_bytes"], found["path"]) == ("CC-BY-SA-3.0", 938_013, "")
    assert found["sha256"] == assets.ASSETS["lid.176.ftz"].sha256


def test_presets(capsys: pytest.CaptureFixture[str]) -> None:
    found = {one["name"]: one for one in listed("presets", capsys)}
    assert found["c4"]["taggers"] == ["c4_v1"]
    assert found["c4"]["remove"]["c4.ends"] == ["c4_v1.lines_without_end"]
    assert found["gopher"]["where"]["gopher.symbols"] == "gopher_v1.symbol_ratio <= 0.1"
    assert all(one["summary"] and one["papers"] for one in found.values())
    assert main(["list", "presets"]) == 0
    text = capsys.readouterr().out
    assert "    papers          Rae et al. 2021, Scaling Language Models" in text
    assert "    where   gopher.words: gopher_v1.word_count BETWEEN 50 AND 100000\n" in text
    assert "    remove  c4.ends: [c4_v1.lines_without_end]\n" in text


def test_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    found = {one["name"]: one for one in listed("tasks", capsys)}
    assert found["kind: choices"]["metrics"][:2] == ["acc", "acc_norm"]
    assert "neutral" not in found["kind: mc2"]["keys"]
    assert found["mmlu"]["keys"]["group"] == "subject"
    assert all(one["summary"] and (one.get("source") or one["metrics"]) for one in found.values())
    assert main(["list", "tasks"]) == 0
    text = capsys.readouterr().out
    assert "arc_challenge\n    science questions, hard\n" in text
    assert 'prompt="Q: {question}\\nA:"' in text


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["list"], "error: 'list' takes one of taggers, mixers, models, assets, presets, tasks; found 0\n"),
        (
            ["list", "models", "mixers"],
            "error: 'list' takes one of taggers, mixers, models, assets, presets, tasks; found 2\n",
        ),
        (["list", "mixers", "--measure"], "error: --measure is for 'list taggers'\n"),
        (["list", "assets", "--module", "own.py"], "error: --module is for 'list taggers'\n"),
        (["list", "tagers"], "error: no list named 'tagers'. Did you mean 'taggers'?\n"),
    ],
)
def test_errors(typed: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(typed) == 2
    assert capsys.readouterr() == ("", message)


def test_a_long_record_is_wrapped() -> None:
    record = {
        "name": "a_v1",
        "summary": "What it does.",
        "fields": {f"field_{i}": "float" for i in range(20)},
        "paper": "",
    }
    lines = list_command._shown(record).splitlines()
    assert lines[:2] == ["a_v1", "    What it does."]
    assert lines[2].startswith("    fields          field_0 float, field_1 float")
    assert lines[3].startswith(" " * 20 + "field_")
    assert max(map(len, lines)) <= 116
    assert "paper" not in "".join(lines)


@pytest.mark.parametrize(("kind", "word"), [(int, "int"), (bool, "bool"), (str, "str"), (list[Span], "spans")])
def test_names_of_types(kind: Any, word: str) -> None:
    assert list_command._type_name(kind) == word
