"""Trains a classifier with word bigrams: `fasttext_train.py SAMPLE MODEL`; labels are two halves of the documents."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import fasttext
import timing

texts = timing.read_texts()
with tempfile.TemporaryDirectory() as folder:
    lines = Path(folder) / "lines.txt"
    with lines.open("w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            file.write(f"__label__{number % 2} {' '.join(text.split())}\n")
    trained = fasttext.train_supervised(
        str(lines), dim=100, epoch=1, wordNgrams=2, bucket=200_000, minCount=1, thread=1, verbose=0
    )
    trained.save_model(sys.argv[2])
timing.report(timing.megabytes(texts), 1.0)
