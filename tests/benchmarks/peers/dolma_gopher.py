"""Dolma's gopher_v2 in one process: `predict` on documents that are in memory."""

from __future__ import annotations

import timing
from dolma.core.data_types import Document
from dolma.taggers.gopher import GopherTaggerV2

texts = timing.read_texts()
tagger = GopherTaggerV2()
documents = [Document(source="bench", id=str(i), text=text) for i, text in enumerate(texts)]
tagger.predict(documents[0])
timing.report(timing.megabytes(texts), timing.cpu_seconds(lambda: [tagger.predict(d) for d in documents]))
