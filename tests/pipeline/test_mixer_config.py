"""A config of Dolma's mixer as a recipe keeps the same documents, with the same texts, as Dolma's mixer.

tests/golden/dolma_mixer.json was made by the script beside it with dolma 1.2.1.
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

import dolma_pipeline as dp
from dolma_pipeline.cli import main
from dolma_pipeline.storage.inputs import read_whole

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_run_keeps_what_dolma_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import zstandard

    config = runpy.run_path(str(GOLDEN / "dolma_mixer.py"))["write_example"](tmp_path)
    assert main(["convert", str(config), "--output", str(tmp_path / "run")]) == 0
    (tmp_path / "my.yaml").write_text(capsys.readouterr().out)
    dp.run(str(tmp_path / "my.yaml"), "workers=1")
    kept: dict[str, dict[str, str]] = {}
    for source in ("web", "forum"):
        lines = []
        for path in sorted((tmp_path / "run/mix/documents" / source).rglob("*.zst")):
            text = zstandard.ZstdDecompressor().stream_reader(read_whole(str(path))).read().decode()
            lines += [json.loads(line) for line in text.splitlines()]
        kept[source] = {line["id"]: line["text"] for line in lines}
    assert kept == json.loads((GOLDEN / "dolma_mixer.json").read_text())
