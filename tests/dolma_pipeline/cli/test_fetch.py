"""`fetch`: the named assets, or all; nothing if a name is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolma_pipeline import assets
from dolma_pipeline.cli import main


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []

    def fetch(name: str) -> Path:
        seen.append(name)
        return Path("cache") / name

    monkeypatch.setattr(assets, "fetch", fetch)
    return seen


def test_all(fetched: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch"]) == 0
    assert fetched == sorted(assets.ASSETS)
    assert "lid.176.ftz  cache/lid.176.ftz\n" in capsys.readouterr().out


def test_some(fetched: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "lid.176.ftz", "--format", "json", "lid.176.ftz"]) == 0
    assert fetched == ["lid.176.ftz"]
    assert json.loads(capsys.readouterr().out) == {"lid.176.ftz": "cache/lid.176.ftz"}


def test_a_wrong_name_fetches_nothing(fetched: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "lid.176.ftz", "lid.176.bin"]) == 2
    assert fetched == []
    assert capsys.readouterr().err == "error: no asset named 'lid.176.bin'. Did you mean 'lid.176.ftz'?\n"
