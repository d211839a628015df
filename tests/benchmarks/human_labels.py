"""What `fit` makes of labels that people gave to web pages: `human_labels.py [DATA]`, a folder of development data.

485 pages (309 texts) with a label of 0 or 1 each, noisy; so AUCs over several splits, to be read and not to be held to.
Prints the AUC of a classifier that learned from seven tenths of them, and those of models that saw none: a classifier
of reference texts and books against web pages, and bits per byte by a model of the same texts.
"""

from __future__ import annotations

import gzip
import json
import statistics
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import fasttext
import numpy as np

from dolma_pipeline.documents import Batch
from dolma_pipeline.fit.classifier import LABELS, PREFIX, ClassifierSettings, line_of
from dolma_pipeline.fit.fit import Fitted, SampleSettings, fit_classifier
from dolma_pipeline.fit.fit_ngrams import NgramSettings, fit_ngrams
from dolma_pipeline.fit.measures import auc
from dolma_pipeline.fit.sets import FileSet
from dolma_pipeline.kernels.byte_ngrams_file import load
from dolma_pipeline.storage.scratch import Scratch

SEEDS = range(10)
LITTLE = ClassifierSettings(lr=0.5, epoch=25, min_count=2, buckets=200_000)
"""For 300 texts."""


def main(data: Path) -> None:
    """Print the numbers."""
    with gzip.open(data / "quality" / "human_labels.jsonl.gz") as file:
        pages = [json.loads(line) for line in file]
    texts = {page["text"]: page["label"] == 1 for page in pages}
    labels = np.array(list(texts.values()))
    print(f"{len(pages)} pages, {len(texts)} texts, {int(labels.sum())} of them with label 1")
    with tempfile.TemporaryDirectory() as place, closing(Scratch()) as scratch:
        files = {}
        for label in (True, False):
            files[label] = Path(place) / f"{label}.jsonl"
            rows = [{"text": text, "source": "pages"} for text, own in texts.items() if own == label]
            files[label].write_text("".join(json.dumps(row) + "\n" for row in rows))
        sets = [[FileSet(str(files[label]))] for label in (True, False)]
        aucs = []
        for seed in SEEDS:
            settings = SampleSettings(held_out=0.3, seed=seed)
            aucs.append(fit_classifier(*sets, scratch, settings=settings, training=LITTLE).measured.auc)
        print(f"learned from 0.7 of them, {len(aucs)} splits: AUC {statistics.mean(aucs):.3f} ", end="")
        print(f"(standard deviation {statistics.stdev(aucs):.3f})")
        good = [FileSet(str(data / "documents" / source / "*")) for source in ("reference", "books")]
        web = [FileSet(str(data / "documents" / "web" / "*"))]
        fitted = fit_classifier(good, web, scratch, settings=SampleSettings(), training=ClassifierSettings())
        print(
            f"learned from reference and books against web: AUC {auc(_scores(fitted, [*texts]), labels):.3f} ", end=""
        )
        own, source = fitted.measured.auc, fitted.measured.source_auc
        print(f"({own:.3f} on its own held-out part, of the source alone {source:.3f})")
        ngrams = fit_ngrams(good, scratch, settings=SampleSettings(), training=NgramSettings())
        batch = Batch.of([*texts])
        bits = load(ngrams.model).bits(batch.text, batch.lines).texts / np.diff(batch.text.offsets)
        print(f"fewer bits per byte by reference and books: AUC {auc(-bits, labels):.3f}")


def _scores(fitted: Fitted, texts: list[str]) -> Any:
    model = fasttext.load_model(str(fitted.model))
    found = []
    for text in texts:
        names, values = model.predict(line_of(text, max_chars=0), k=2)
        found.append(dict(zip(names, values.tolist(), strict=True))[PREFIX + LABELS[0]])
    return np.array(found)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[3] / "shared" / "data")
