"""Milliseconds of CPU for a MB of text, tagger by tagger: `profile_taggers.py SAMPLE…`; docs/performance.md has them.

Each tagger is given a batch whose bitmaps, word and line tables are there already, but for what the first rows say:
reading, and these. The least of several passes; a line for each, a column for each sample (JSON lines of `id` and
`text`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping

from ours import batches

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.bitmaps import find_bitmaps
from dolma_pipeline.kernels.lines import split_lines
from dolma_pipeline.kernels.words import split_words
from dolma_pipeline.registry import load_tagger

TAGGERS: Mapping[str, Mapping[str, object]] = {
    "language_v1": {},
    "gopher_v1": {},
    "c4_v1": {},
    "pii_v1": {},
    "length_v1": {},
    "fineweb_v1": {},
    "refinedweb_v1": {},
    "repetition_v1": {},
    "text_v1": {},
    "compression_v1": {},
    "license_v1": {},
    "code_v1": {},
    "url_v1": {},
}
PASSES = 7


def least(passes: Iterable[Callable[[], object]]) -> float:
    """The CPU-seconds of the cheapest."""
    found = []
    for one in passes:
        start = time.process_time()
        one()
        found.append(time.process_time() - start)
    return min(found)


def each(found: list[Batch], work: Callable[[Batch], object]) -> Callable[[], object]:
    """`work` on fresh batches whose tables are there."""

    def fresh(batch: Batch) -> Batch:
        made = Batch(batch.table)
        made.__dict__.update(bitmaps=batch.bitmaps, words=batch.words, lines=batch.lines, text=batch.text)
        return made

    ready = [fresh(batch) for batch in found]
    return lambda: [work(batch) for batch in ready]


def profile(path: str) -> dict[str, float]:
    """Name -> milliseconds a MB."""
    found = batches(path)
    megabytes = sum(int(batch.text.offsets[-1]) - int(batch.text.offsets[0]) for batch in found) / 1e6
    seconds = {
        "reading": least([lambda: batches(path)] * PASSES),
        "bitmaps": least([each(found, lambda batch: find_bitmaps(batch.text)) for _ in range(PASSES)]),
        "words": least([each(found, lambda batch: split_words(batch.text, batch.bitmaps)) for _ in range(PASSES)]),
        "lines": least([each(found, lambda batch: split_lines(batch.text, batch.bitmaps)) for _ in range(PASSES)]),
    }
    for name, parameters in TAGGERS.items():
        tagger = load_tagger(name, **parameters)
        tagger.attributes(found[0])
        seconds[name] = least([each(found, tagger.attributes) for _ in range(PASSES)])
    return {name: 1000 * value / megabytes for name, value in seconds.items()}


if __name__ == "__main__":
    columns = [profile(path) for path in sys.argv[1:]]
    for name in columns[0]:
        print(f"{name:16}" + "".join(f"{column[name]:8.2f}" for column in columns))
