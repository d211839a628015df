"""How fast a tagger is on this machine: MB of made-up text per CPU-second, each tagger alone with its own tables.

Cost: `SECONDS` of CPU a tagger or a little more, and what its `setup` takes; a slow one is measured on less text.
"""

from __future__ import annotations

import sys
import time

from dolma_pipeline.documents import MAX_BATCH_ROWS, Batch
from dolma_pipeline.kernels.warm import ensure
from dolma_pipeline.look.sample_text import sample_texts
from dolma_pipeline.tagging import LoadedTagger

SECONDS = 0.4
"""CPU time after which no other piece of text is begun."""
_FIRST_TEXTS, _GROWTH = 8, 4


def sample_batch(*, num_bytes: int = 2_000_000) -> list[str]:
    """The texts that `megabytes_per_second` takes, at most as many as a batch has."""
    return sample_texts(num_bytes=num_bytes)[:MAX_BATCH_ROWS]


def megabytes_per_second(tagger: LoadedTagger, texts: list[str]) -> float:
    """UTF-8 bytes of text / CPU-seconds of this process / 1,000,000, words and lines included, setup not.

    The first texts are taken once before, for what is loaded at first use. Then pieces grow until `SECONDS` are over
    or all texts were taken, and the last piece counts.

    Args:
        texts: as `sample_batch` gives them; at least one.

    Raises:
        AssetError: a model or list that the tagger needs is not there.
        DolmaError: whatever the tagger lets out.
    """
    ensure(tagger.spec.kernels, say=lambda line: print(line, file=sys.stderr))
    tagger.setup()
    count = min(_FIRST_TEXTS, len(texts))
    tagger.attributes(Batch.of(texts[:count]))
    began = time.process_time()
    while True:
        batch = Batch.of(texts[:count])
        start = time.process_time()
        tagger.attributes(batch)
        now = time.process_time()
        if now - began >= SECONDS or count == len(texts):
            num_bytes = sum(len(text.encode()) for text in texts[:count])
            return num_bytes / max(now - start, 1e-6) / 1e6
        count = min(count * _GROWTH, len(texts))
