"""fastText itself on texts in memory: `fasttext_predict.py SAMPLE MODEL MAX_CHARS`, all labels of each text.

Line ends are blanks to it, and a text is cut to its first characters (0: whole).
"""

from __future__ import annotations

import sys

import fasttext
import timing

most = int(sys.argv[3])
texts = [text.replace("\n", " ")[: most or None] for text in timing.read_texts()]
model = fasttext.load_model(sys.argv[2])
model.predict("a first call", k=-1)
labels: list[str] = []


def predict() -> None:
    """Each text by itself, as its users call it."""
    for text in texts:
        labels.append(model.predict(text, k=-1)[0][0])


timing.report(timing.megabytes(texts), timing.cpu_seconds(predict), labels=len(set(labels)))
