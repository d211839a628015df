"""Taggers with models, in a process that has run without them before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dolma_pipeline.runner import run
from tests.pipeline.tiny import files, read_jsonl, recipe, write_documents

TEXTS = [
    "The river runs through the old town, and the people walk along it. Write to river@example.com today.",
    "Der Fluss fließt durch die alte Stadt, und die Menschen gehen an ihm entlang.",
    "日本語の文章です。川は古い町を流れています。",
]


def test_language_and_personal_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is copied into the run and read from there, whatever ran in this process before."""
    monkeypatch.chdir(tmp_path)
    write_documents(tmp_path / "in/a.jsonl", ({"id": str(i), "text": text} for i, text in enumerate(TEXTS)))
    base: dict[str, Any] = {"sources": {"web": {"documents": "in/*"}}, **dict.fromkeys(("dedupe", "tokens"))}
    run(
        recipe(tmp_path / "other", **{**base, "tag": {"taggers": ["length_v1"]}, "mix": None, "tokenizer": None}),
        quiet=True,
    )
    mix = {
        "where": {"english": "language_v1.lang = 'en' OR language_v1.lang = 'de'"},
        "replace": [{"spans": "pii_v1.email", "with": "|||EMAIL_ADDRESS|||"}],
    }
    changes = {**base, "tag": {"taggers": ["language_v1", "pii_v1"]}, "mix": mix, "tokenizer__vocab_size": 300}
    run(recipe(tmp_path / "run", **changes), quiet=True)
    column = pq.read_table(tmp_path / "run/attributes/language_v1/web/a.parquet").column(0).to_pylist()
    assert [row["lang"] for row in column] == ["en", "de", "ja"]
    rows = read_jsonl(tmp_path / "run/mix/documents/web/a.jsonl.zst")
    assert [row["text"] for row in rows] == [TEXTS[0].replace("river@example.com", "|||EMAIL_ADDRESS|||"), TEXTS[1]]
    (model,) = (name for name in files(tmp_path / "run") if name.startswith("assets/"))
    assert model.endswith("/lid.176.ftz")
