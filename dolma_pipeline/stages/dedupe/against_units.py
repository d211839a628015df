"""What of a text is held against a fixed set: its whole, paragraphs, lines, or n-grams of folded words, as hashes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.bloom import Bloom, ExactSet
from dolma_pipeline.dedup.exact import text_keys
from dolma_pipeline.dedup.repeats import joined
from dolma_pipeline.documents import SPANS_TYPE, Batch

NGRAM = 13
AGAINST_TYPE = pa.struct(
    [pa.field("keep", pa.bool_()), pa.field("coverage", pa.float64()), pa.field("spans", SPANS_TYPE)]
)
"""keep: nothing of the document stands in the set (with unit text: it does not as a whole); coverage: the share of the
document that does, of its words or characters; spans: where."""


class Cut(NamedTuple):
    """The units of n texts.

    rows: text of each. begins, stops: place in it, in words or code points, by which overlaps are seen and coverage is
    measured. starts, ends: of n-grams bytes in the buffer, else code points. hi, lo: hash; of n-grams lo is 0.
    sizes: of each text.
    """

    rows: NDArray[np.int64]
    begins: NDArray[np.int64]
    stops: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    hi: NDArray[np.uint64]
    lo: NDArray[np.uint64]
    sizes: NDArray[np.int64]


def cut_texts(batch: Batch, config: DedupeStepConfig) -> Cut:
    """The units of a batch's texts."""
    if config.unit == "text":
        whole = text_keys(batch)
        rows = np.flatnonzero(whole.signed)
        sizes = batch.chars
        nothing = np.zeros(len(rows), np.int64)
        return Cut(rows, nothing, sizes[rows], nothing, sizes[rows], whole.hi[rows], whole.lo[rows], sizes)
    if config.unit == "ngram":
        from dolma_pipeline.kernels.ngrams import all_ngrams

        size = config.ngram or NGRAM
        found = all_ngrams(batch.text, ngram=size)
        lo = np.zeros(len(found.keys), np.uint64)
        return Cut(found.rows, found.words, found.words + size, found.starts, found.ends, found.keys, lo, found.sizes)
    from dolma_pipeline.kernels.units import hashed_units

    units = hashed_units(batch.text, by_line=config.unit == "line", min_chars=config.min_unit_chars)
    rows, starts, ends = (column.astype(np.int64) for column in (units.rows, units.starts, units.ends))
    return Cut(rows, starts, ends, starts, ends, units.hi, units.lo, units.chars)


def batch_column(batch: Batch, config: DedupeStepConfig, known: Bloom | ExactSet) -> pa.StructArray:
    """What of a batch's texts is in a set (`AGAINST_TYPE`)."""
    from dolma_pipeline.kernels.spans import point_lists

    units = cut_texts(batch, config)
    hit = known.contains(units.hi, units.lo)
    places = (units.begins[hit], units.stops[hit]), (units.starts[hit], units.ends[hit])
    found = joined(units.rows[hit], *places, num_rows=len(batch))
    share = found.covered / np.maximum(units.sizes, 1)
    ones = np.ones(len(found.rows))
    if config.unit == "ngram":
        spans = batch.spans(found.rows, found.starts, found.ends, ones)
    else:
        spans = point_lists(found.rows, found.starts, found.ends, ones, num_rows=len(batch))
    columns = [pa.array(found.covered == 0), pa.array(share), spans]
    return pa.StructArray.from_arrays(columns, fields=list(AGAINST_TYPE))
