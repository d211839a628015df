"""Lists of the user's in runs: they travel, and what is made depends on what is in them, not on where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dolma_pipeline.runner import run
from tests.pipeline.tiny import files, recipe, write_documents


def settings(*lists: str) -> dict[str, Any]:
    tagger = {"tagger": "url_v1", "name": "ads", "domains": list(lists)}
    base: dict[str, Any] = {"sources": {"web": {"documents": "in/*"}}}
    return {**base, **dict.fromkeys(("dedupe", "tokens", "mix", "tokenizer")), "tag": {"taggers": [tagger]}}


def test_lists_travel_and_may_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hosts = ("a.ads.net", "b.org", "notads.net")
    rows = ({"id": host, "text": "text", "metadata": {"url": f"http://{host}/"}} for host in hosts)
    write_documents(tmp_path / "in/a.jsonl", rows)
    for folder in ("lists", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.txt").write_text("ads.net\n")
        (tmp_path / folder / "two.txt").write_text("0.0.0.0 b.org\n")
    run(recipe(tmp_path / "run", **settings("lists/one.txt", "./lists/two.txt")), quiet=True)
    column = pq.read_table(tmp_path / "run/attributes/ads/web/a.parquet").column(0).to_pylist()
    assert [row["domain_match"] for row in column] == ["ads.net", "b.org", ""]
    assert sorted(name.rpartition("/")[2] for name in files(tmp_path / "run") if name.startswith("assets/")) == [
        "one.txt",
        "two.txt",
    ]
    done = run(recipe(tmp_path / "run", **settings("elsewhere/one.txt", "elsewhere/two.txt")), quiet=True)
    assert done.nothing_to_do
