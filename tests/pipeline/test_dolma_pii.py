"""The preset `dolma_pii` in a run: what is kept, masked and dropped, to the character."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import zstandard

import dolma_pipeline as dp


def run(folder: Path, rows: list[dict[str, Any]]) -> dict[str, str]:
    """Id -> text of what the preset lets through."""
    (folder / "in.jsonl").write_text("".join(json.dumps({"id": r["id"], "text": r["text"]}) + "\n" for r in rows))
    tree = {"output": str(folder / "run"), "sources": {"web": {"documents": str(folder / "in.jsonl")}},
            "mix": {"presets": ["dolma_pii"]}}  # fmt: skip
    (folder / "r.yaml").write_text(json.dumps(tree))
    dp.run(str(folder / "r.yaml"))
    files = (folder / "run" / "mix" / "documents").rglob("*.zst")
    read = zstandard.ZstdDecompressor().stream_reader
    lines = [json.loads(line) for file in files for line in read(file.read_bytes()).read().splitlines()]
    return {line["id"]: line["text"] for line in lines}


def test_masks_keep_punctuation_and_layout(tmp_path: Path) -> None:
    many = " ".join(f"a{i}@b.org" for i in range(6))
    texts = ["Nothing here.", "Mail (a@b.org), call 303-555-0127!\n\tPing 10.0.0.1.", many]
    assert run(tmp_path, [{"id": str(i), "text": text} for i, text in enumerate(texts)]) == {
        "0": texts[0],
        "1": "Mail (|||EMAIL_ADDRESS|||), call |||PHONE_NUMBER|||!\n\tPing |||IP_ADDRESS|||.",
    }


def test_dolmas_policy(tmp_path: Path, data: Path) -> None:
    rows = [json.loads(line) for line in (data / "pii" / "dolma_policy.jsonl").read_text().splitlines()]
    got = run(tmp_path, rows)
    assert {row["id"] for row in rows if row["expected_action"] != "remove"} == got.keys()
    for row in rows:
        if row["expected_text"] is not None:
            assert got[row["id"]] == row["expected_text"], row["id"]
