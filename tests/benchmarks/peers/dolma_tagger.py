"""A Dolma tagger in one process: `dolma_tagger.py SAMPLE c4|pii`, `predict` on documents that are in memory.

c4 is c4_v2; pii is pii_regex_with_counts_fast_v2, its three regexes on each paragraph.
"""

from __future__ import annotations

import sys

import timing
from dolma.core.data_types import Document

texts, name = timing.read_texts(), sys.argv[2]
if name == "c4":
    from dolma.taggers.c4 import FasterC4Tagger as Tagger
else:
    from dolma.taggers.pii import FastPiiRegex as Tagger
tagger = Tagger()
documents = [Document(source="bench", id=str(i), text=text) for i, text in enumerate(texts)]
tagger.predict(documents[0])
timing.report(timing.megabytes(texts), timing.cpu_seconds(lambda: [tagger.predict(d) for d in documents]))
