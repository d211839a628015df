"""`demo-corpus OUT`: what was written, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolma_pipeline import demo
from dolma_pipeline.cli import main
from dolma_pipeline.demo import SourceCount


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    seen: list[Path] = []

    def collect(out: Path) -> dict[str, SourceCount]:
        seen.append(out)
        return {"code": SourceCount(documents=1234, bytes=5_600_000, skipped=1, left_out=2)}

    monkeypatch.setattr(demo, "collect", collect)
    return seen


def test_text_and_json(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "corpus"
    assert main(["demo-corpus", str(out)]) == 0
    assert capsys.readouterr().out == (
        f"source     documents  MB of text\ncode           1,234         5.6\n\nin {out}\n".replace("\n\nin", "\nin")
    )
    assert main(["demo-corpus", str(out), "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"]["left_out"] == 2
    assert folders == [out, out]


def test_errors(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo-corpus"]) == 2
    assert capsys.readouterr().err == "error: 'demo-corpus' takes one folder to write to, found 0\n"
    path = tmp_path / "file"
    path.write_text("x", encoding="utf-8")
    assert main(["demo-corpus", str(path)]) == 2
    assert capsys.readouterr().err == f"error: {path} is a file; 'demo-corpus' writes a folder\n"
    assert folders == []
