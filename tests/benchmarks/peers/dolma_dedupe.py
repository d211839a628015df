"""Dolma's deduper in Rust, one thread, files to attribute files: `dolma_dedupe.py documents|paragraphs SAMPLE`.

At its default rate of false positives for paragraphs (1e-6). For few entries its smallest filter gets thousands of
hash functions, so it is told of as many as give that filter 15.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
from pathlib import Path

kind = sys.argv.pop(1)
os.environ["RUST_LOG"] = "warn"

import dolma  # noqa: E402
import timing  # noqa: E402

ENTRIES = 400_000

texts = timing.read_texts()
KEYS = {
    "documents": {"documents": {"attribute_name": "copies", "key": "$.text"}},
    "paragraphs": {"paragraphs": {"attribute_name": "copies"}},
}


def dedupe(folder: str, texts: list[str], estimate: int) -> None:
    """Write the documents, then mark copies; only the marking is timed."""
    documents = Path(folder) / "documents"
    documents.mkdir()
    with gzip.open(documents / "sample.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps({"id": str(n), "text": t, "source": "x"}) + "\n" for n, t in enumerate(texts))
    settings = {
        "documents": [f"{documents}/*.gz"],
        "work_dir": {"input": f"{folder}/in", "output": f"{folder}/out"},
        "dedupe": {"name": "copies", "skip_empty": True, **KEYS[kind]},
        "bloom_filter": {
            "file": f"{folder}/filter.bin",
            "read_only": False,
            "size_in_bytes": 0,
            "estimated_doc_count": estimate,
            "desired_false_positive_rate": 1e-6,
        },
        "processes": 1,
    }
    global seconds
    seconds = timing.cpu_seconds(lambda: dolma.deduper(settings))
    found = list((Path(folder) / "attributes").rglob("*.gz"))
    if len(found) != 1:
        raise SystemExit(f"dolma wrote {len(found)} files of attributes, 1 is expected")


seconds = 0.0
count = max(ENTRIES, sum(text.count("\n") + 1 for text in texts) if kind == "paragraphs" else len(texts))
with tempfile.TemporaryDirectory() as folder:
    dedupe(folder, texts[:10], count)
with tempfile.TemporaryDirectory() as folder:
    dedupe(folder, texts, count)
timing.report(timing.megabytes(texts), seconds)
