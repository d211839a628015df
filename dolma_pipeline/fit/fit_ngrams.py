"""From a set of documents to a model of byte n-grams with its measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.documents import text_buffers
from dolma_pipeline.errors import UsageError
from dolma_pipeline.fit.fit import SampleSettings, Taken, check_enough, sample
from dolma_pipeline.fit.gather import Gathered, gather
from dolma_pipeline.fit.ngrams import Counter, smoothed
from dolma_pipeline.fit.sets import DocumentSet
from dolma_pipeline.storage.scratch import Scratch

LABEL = "positive"
"""What errors and the card call the set."""
PERCENTS = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class NgramSettings:
    """How a model is made.

    order: bytes of the longest n-gram, 2 to 7. max_ngrams: that the model may have, 16 bytes each in its file.
    """

    order: int = 6
    max_ngrams: int = 1_500_000


@dataclass(frozen=True)
class SourceBits:
    """Documents of one source that were held out: how many, their bytes, and the bits that the model needs for them."""

    documents: int
    num_bytes: int
    bits: float

    @property
    def bits_per_byte(self) -> float:
        """Of all of them together."""
        return self.bits / self.num_bytes

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"bits_per_byte": self.bits_per_byte}


@dataclass(frozen=True)
class FittedNgrams:
    """A model in scratch, and all that is told of it.

    model: its file. num_ngrams: that it has. min_count: how often one had to be seen. learned, held_out: documents.
    sources: source -> what was held out of it. percentiles: percent -> bits per byte that so many documents stay under.
    """

    model: Path
    training: NgramSettings
    settings: SampleSettings
    taken: Taken
    num_ngrams: int
    min_count: int
    learned: int
    held_out: int
    sources: dict[str, SourceBits]
    percentiles: dict[int, float]

    @property
    def overall(self) -> SourceBits:
        """All that was held out."""
        every = self.sources.values()
        return SourceBits(*(sum(getattr(one, name) for one in every) for name in ("documents", "num_bytes", "bits")))

    def record(self) -> dict[str, Any]:
        """As the card has it."""
        return {
            "kind": "ngram",
            "parameters": asdict(self.training),
            "sample": asdict(self.settings),
            "data": {LABEL: self.taken.record()},
            "units": sorted({one.unit for one in self.taken.sets}),
            "split": {LABEL: {"learned": self.learned, "held_out": self.held_out}},
            "model": {"num_ngrams": self.num_ngrams, "min_count": self.min_count},
            "scores": {
                **self.overall.record(),
                "percentiles": {str(percent): value for percent, value in self.percentiles.items()},
                "sources": {source: one.record() for source, one in sorted(self.sources.items())},
            },
        }


def fit_ngrams(
    sets: Sequence[DocumentSet], scratch: Scratch, *, settings: SampleSettings, training: NgramSettings
) -> FittedNgrams:
    """Make and measure a model.

    Raises:
        UsageError: too few documents. DataError: documents that cannot be read.
    """
    from dolma_pipeline.kernels.byte_ngrams import ByteNgrams
    from dolma_pipeline.kernels.byte_ngrams_file import to_bytes

    taken = sample(sets, settings)
    check_enough(LABEL, taken)
    own = [(taken.sets, taken.sampled)]
    gathered = gather(own, scratch, seed=settings.seed, held_out=settings.held_out)
    counter, learned = Counter(training.order), 0
    for table in gathered.tables():
        texts = table.filter(pc.invert(table.column("held_out"))).column("text").combine_chunks()
        learned += len(texts)
        counter.add(texts)
    held_out = len(taken.sampled.keys) - learned
    if not (learned and held_out):
        raise UsageError(
            f"no document is {'held out' if learned else 'to learn from'}: the {learned + held_out:,} documents are "
            f"too few, or too like each other, for --held-out {settings.held_out:g}."
        )
    found = smoothed(counter.close(), training.order, max_ngrams=training.max_ngrams)
    arrays = found.arrays()
    place = scratch.path(".ngrams")
    with open(place, "wb") as file:
        file.write(to_bytes(training.order, *arrays))
    sources, each = _measured(ByteNgrams.of(training.order, *arrays), gathered)
    percentiles = dict(zip(PERCENTS, np.percentile(each, PERCENTS).tolist(), strict=True))
    return FittedNgrams(
        place, training, settings, taken, len(arrays[0]), found.min_count, learned, held_out, sources, percentiles
    )


def _measured(model: Any, gathered: Gathered) -> tuple[dict[str, SourceBits], NDArray[np.float64]]:
    """What was held out, by source; and the bits per byte of each document."""
    from dolma_pipeline.kernels.tables import empty_tokens, sealed_tokens

    sources: dict[str, SourceBits] = {}
    each = []
    for table in gathered.tables():
        held = table.filter(table.column("held_out"))
        text = text_buffers(held.column("text").combine_chunks())
        bits = model.bits(text, sealed_tokens(empty_tokens(held.num_rows, 0), 0)).texts
        sizes = np.diff(text.offsets).astype(np.int64)
        each.append(bits / sizes)
        grouped = pa.table({"source": held.column("source"), "bytes": sizes, "bits": bits}).group_by("source")
        for row in grouped.aggregate([("bytes", "count"), ("bytes", "sum"), ("bits", "sum")]).to_pylist():
            before = sources.get(row["source"], SourceBits(0, 0, 0.0))
            sources[row["source"]] = SourceBits(
                before.documents + row["bytes_count"],
                before.num_bytes + row["bytes_sum"],
                before.bits + row["bits_sum"],
            )
    return sources, np.concatenate(each)
