"""How often `language_v1` is right, by length of the text: `python -m tests.taggers.language_accuracy [DATA]`.

The numbers of docs/classifiers.md. DATA is the development data, by default what `DOLMA_PIPELINE_DATA` names.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dolma_pipeline.documents import Batch
from taggers.language import Language

SAME = {"nb": ("nb", "no")}
"""The model knows Norwegian Bokmål by both."""


def accuracy(data: Path) -> dict[str, float]:
    """Shares of texts whose language is found, by length and `all`; `und` of texts in none; of mixed ones the error."""
    rows = _rows(data / "langid/langid.jsonl.gz")
    found = _tagged(rows)["lang"]
    right = np.array([lang in SAME.get(row["lang"], (row["lang"],)) for row, lang in zip(rows, found, strict=True)])
    lengths = np.array([row["length"] for row in rows])
    table = {name: float(right[lengths == name].mean()) for name in ("short", "medium", "long")}
    table["all"] = float(right.mean())
    none = _tagged(_rows(data / "langid/no_language.jsonl"))["lang"]
    table["und"] = float(np.mean([lang == "und" for lang in none]))
    mixed = _rows(data / "langid/mixed.jsonl.gz")
    share = np.array([1 - max(row["fractions"].values()) for row in mixed])
    table["mixed: error"] = float(np.abs(share - _tagged(mixed, unit="paragraph")["mixed"]).mean())
    return table


def _rows(path: Path) -> list[dict[str, Any]]:
    content = path.read_bytes()
    lines = (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()
    return [json.loads(line) for line in lines]


def _tagged(rows: list[dict[str, Any]], **parameters: Any) -> Mapping[str, Any]:
    tagger = Language(**parameters)
    tagger.setup()
    return tagger.tag(Batch.of([row["text"] for row in rows]))


if __name__ == "__main__":
    for name, value in accuracy(Path(sys.argv[1] if sys.argv[1:] else os.environ["DOLMA_PIPELINE_DATA"])).items():
        print(f"{name:14} {value:.4f}")
