"""What matches of evaluation items mean for documents: which are marked, by which item, and where it stands.

A match is an item of which something stands in a document, with three numbers: coverage, the share of a view's words
under n-grams that were found; run, the words of the longest stretch in common; n-grams, how many. It marks the document
if coverage or run is large enough, or if a view shorter than an n-gram stands there whole. A whole view of very few
words is weak: it may stand anywhere by chance, and marks only if that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.documents import SPANS_TYPE

PLACES_TYPE = pa.list_(pa.struct([pa.field("start", pa.int32()), pa.field("end", pa.int32())]))
MATCHES = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("item", pa.int64()),
        pa.field("coverage", pa.float64()),
        pa.field("run", pa.int64()),
        pa.field("ngrams", pa.int64()),
        pa.field("whole", pa.int64()),
        pa.field("places", PLACES_TYPE),
    ]
)
"""Of a shard, sorted by row and item. run: 0 where no n-gram was found; whole: words of the longest short view that
stands there whole, 0 if none; places: in code points, united."""

MARKS_TYPE = pa.struct(
    [
        pa.field("contaminated", pa.bool_()),
        pa.field("weak", pa.bool_()),
        pa.field("items", pa.int64()),
        pa.field("coverage", pa.float64()),
        pa.field("run", pa.int64()),
        pa.field("ngrams", pa.int64()),
        pa.field("benchmark", pa.string()),
        pa.field("item", pa.string()),
        pa.field("spans", SPANS_TYPE),
    ]
)
"""The column of documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From what on an item marks a document: keys of `decontaminate` in the recipe, by the same names."""

    min_run: int
    min_coverage: float
    weak_words: int
    mark_weak: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """Matches held against thresholds: marks, weak bool[k]; coverage float64[k] and run int64[k], of which those of a
    whole view are 1 and its words, unless it is weak."""

    marks: NDArray[np.bool_]
    weak: NDArray[np.bool_]
    coverage: NDArray[np.float64]
    run: NDArray[np.int64]


def judge_matches(matches: pa.Table, thresholds: Thresholds) -> Judged:
    """Which matches mark their documents, and which are weak.

    Args:
        matches: of `MATCHES`.
    """
    coverage, run, whole = (matches.column(name).to_numpy() for name in ("coverage", "run", "whole"))
    counts = (whole >= thresholds.weak_words) | ((whole > 0) & thresholds.mark_weak)
    marks = counts | (run >= thresholds.min_run) | (coverage >= thresholds.min_coverage)
    return Judged(
        marks, (whole > 0) & ~marks, np.where(counts, 1.0, coverage), np.where(counts, np.maximum(run, whole), run)
    )


def document_marks(
    matches: pa.Table, judged: Judged, *, num_rows: int, ids: Sequence[str], benchmarks: Sequence[str]
) -> pa.StructArray:
    """The column of a shard's documents (`MARKS_TYPE`).

    `coverage`, `run` and `ngrams` are the greatest of any item. `item` and `benchmark` name the one that says most: one
    that marks, then by coverage, run, n-grams, and the first in the recipe; "" where there is none.

    Args:
        matches: of `MATCHES`. judged: of these. num_rows: documents. ids, benchmarks: of each item, by number.
    """
    rows, items, ngrams = (matches.column(name).to_numpy() for name in ("row", "item", "ngrams"))
    greatest = {"coverage": judged.coverage, "run": judged.run, "ngrams": ngrams}
    columns: dict[str, pa.Array] = {
        "contaminated": pa.array(np.bincount(rows[judged.marks], minlength=num_rows) > 0),
        "weak": pa.array(np.bincount(rows[judged.weak], minlength=num_rows) > 0),
        "items": pa.array(np.bincount(rows[judged.marks], minlength=num_rows).astype(np.int64)),
    }
    for name, values in greatest.items():
        most = np.zeros(num_rows, values.dtype)
        np.maximum.at(most, rows, values)
        columns[name] = pa.array(most)
    order = np.lexsort((items, -ngrams, -judged.run, -judged.coverage, ~judged.marks, rows))
    firsts = order[np.unique(rows[order], return_index=True)[1]]
    best = np.full(num_rows, len(ids))
    best[rows[firsts]] = items[firsts]
    for name, values in (("benchmark", benchmarks), ("item", ids)):
        columns[name] = pa.array([*values, ""], pa.string()).take(pa.array(best))
    columns["spans"] = _spans(matches, judged, num_rows)
    return pa.StructArray.from_arrays([columns[field.name] for field in MARKS_TYPE], fields=list(MARKS_TYPE))


def _spans(matches: pa.Table, judged: Judged, num_rows: int) -> pa.ListArray:
    """Where items that mark stand, united; the score is the greatest coverage of those that stand there."""
    some = matches.filter(pa.array(judged.marks))
    places = some.column("places").combine_chunks()
    sizes = places.value_lengths().to_numpy(zero_copy_only=False)
    flat = places.flatten()
    rows = np.repeat(some.column("row").to_numpy(), sizes)
    scores = np.repeat(judged.coverage[judged.marks], sizes)
    starts, ends = (flat.field(name).to_numpy().astype(np.int64) for name in ("start", "end"))
    order = np.lexsort((ends, starts, rows))
    rows, starts, ends, scores = rows[order], starts[order], ends[order], scores[order]
    far = int(ends.max(initial=0)) + 1  # so that spans of two documents never meet
    reach = np.maximum.accumulate(ends + rows * far)
    opens = np.ones(len(rows), np.bool_)
    opens[1:] = (starts + rows * far)[1:] > reach[:-1]
    firsts = np.flatnonzero(opens)
    lasts = np.append(firsts[1:], len(rows)) - 1 if len(firsts) else firsts
    offsets = np.searchsorted(rows[firsts], np.arange(num_rows + 1)).astype(np.int32)
    values = pa.StructArray.from_arrays(
        [
            pa.array(starts[firsts].astype(np.int32)),
            pa.array((reach[lasts] - rows[firsts] * far).astype(np.int32)),
            pa.array((np.maximum.reduceat(scores, firsts) if len(firsts) else scores).astype(np.float32)),
        ],
        fields=list(SPANS_TYPE.value_type),
    )
    return pa.ListArray.from_arrays(pa.array(offsets), values)
