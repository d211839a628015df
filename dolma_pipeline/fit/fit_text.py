"""What `fit` says to people of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dolma_pipeline.fit.fit import Measured, Taken
from dolma_pipeline.fit.fit_ngrams import FittedNgrams
from dolma_pipeline.fit.measures import Threshold

SHOWN_SOURCES = 20
SHOWN_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Thresholds of the table by source; the card has all."""
SAME = 0.02
"""Areas that differ by less are as good as each other here."""
TELLING = 0.6
"""An AUC of the source alone below which its name tells next to nothing."""
LITTLE = 0.1
"""A rank correlation within sources below which a score hardly follows the label there."""
FEW = 100
"""Held-out documents of a label below which numbers are rough: the standard error of an AUC of 0.9 is 0.02 or more
(Hanley and McNeil 1982)."""
NARROW = 0.1
"""Scores that lie closer together are those of vectors that are hardly trained."""


def fit_text(
    out: str,
    num_bytes: int,
    taken: Mapping[str, Taken],
    parts: Mapping[str, tuple[int, int]],
    measured: Measured,
    notes: Sequence[str],
) -> str:
    """Tables and sentences on a classifier."""
    lines = [f"{out}: a fastText classifier, {num_bytes / 1e6:,.1f} MB", ""]
    lines += _aligned(
        [("set", "documents", "taken", "MB taken", "in both sets", "learned from", "held out")]
        + [
            (
                label,
                f"{one.documents:,}",
                f"{len(one.sampled.keys):,}",
                f"{int(one.sampled.sizes.sum()) / 1e6:,.1f}",
                f"{one.shared:,}",
                f"{parts[label][0]:,}",
                f"{parts[label][1]:,}",
            )
            for label, one in taken.items()
        ]
    )
    lines += [
        "",
        f"held out as a whole: {' and '.join(sorted({each.unit for one in taken.values() for each in one.sets}))}",
        f"on what was held out: AUC {measured.auc:.3f}; at a score of 0.5 precision {_share(measured.precision)}, "
        f"recall {_share(measured.recall)}",
        f"AUC of the source alone: {measured.source_auc:.3f}",
        f"rank correlation with the label within sources (Somers' D): {_number(measured.rank_correlation)}",
        *notes,
        "",
    ]
    within = sorted(measured.within, key=lambda one: (-one.documents, one.source))
    rows = [("source", "held out", "positive", "AUC", "rank correlation")]
    for one in within[:SHOWN_SOURCES]:
        own = (one.source, f"{one.documents:,}", f"{one.positive:,}", _number(one.auc), _number(one.rank_correlation))
        rows.append(own)
    lines += [*_aligned(rows), *_more(len(within)), ""]
    lines += _aligned(
        [("score >=", "documents", "MB", "precision", "recall")]
        + [
            (
                f"{one.threshold:g}",
                f"{one.documents:,}",
                f"{one.num_bytes / 1e6:,.2f}",
                _share(one.precision),
                _share(one.recall),
            )
            for one in measured.thresholds
        ]
    )
    shown = [one for one in measured.thresholds if one.threshold in SHOWN_THRESHOLDS]
    head = ("kept, documents / MB", *(f">= {one.threshold:g}" for one in shown))
    by_source = [(one.source, *(_kept(at, one.source) for at in shown)) for one in within[:SHOWN_SOURCES]]
    lines += ["", *_aligned([head, *by_source]), *_more(len(within))]
    return "\n".join(lines) + "\n"


def ngrams_text(out: str, num_bytes: int, fitted: FittedNgrams) -> str:
    """Tables on a model of byte n-grams."""
    taken, overall = fitted.taken, fitted.overall
    lines = [
        f"{out}: {fitted.num_ngrams:,} byte n-grams of up to {fitted.training.order} bytes, {num_bytes / 1e6:,.1f} MB"
        + (f"; the longer ones are seen {fitted.min_count} times or more" if fitted.min_count > 1 else ""),
        "",
        f"{taken.documents:,} documents, {len(taken.sampled.keys):,} taken "
        f"({int(taken.sampled.sizes.sum()) / 1e6:,.1f} MB); "
        f"learned from {fitted.learned:,}, held out {fitted.held_out:,}, as a whole: "
        + " and ".join(sorted({one.unit for one in taken.sets})),
        f"on what was held out: {overall.bits_per_byte:.3f} bits per byte",
        "",
    ]
    by_size = sorted(fitted.sources.items(), key=lambda one: (-one[1].num_bytes, one[0]))
    rows = [("source", "documents", "MB", "bits per byte")]
    for source, one in by_size[:SHOWN_SOURCES]:
        rows.append((source, f"{one.documents:,}", f"{one.num_bytes / 1e6:,.2f}", f"{one.bits_per_byte:.3f}"))
    lines += [*_aligned(rows), *_more(len(by_size)), ""]
    lines += _aligned(
        [
            ("of the documents", *(f"{percent} %" for percent in fitted.percentiles)),
            ("are under bits per byte", *(f"{value:.3f}" for value in fitted.percentiles.values())),
        ]
    )
    return "\n".join(lines) + "\n"


def notes_on(measured: Measured, taken: Mapping[str, Taken], parts: Mapping[str, tuple[int, int]]) -> list[str]:
    """What to know of these numbers, a sentence each."""
    notes = _notes_on_sources(measured)
    low, high = measured.scores
    if high - low < NARROW:
        notes.append(
            f"All scores lie between {low:.3f} and {high:.3f}: the classifier has hardly learned. Give a higher "
            "--epoch or --lr."
        )
    for label, one in taken.items():
        if one.shared:
            notes.append(
                f"{one.shared:,} taken documents of the {label} set are in the other one, too: left out of both."
            )
            break
    for label, one in taken.items():
        if one.empty:
            notes.append(f"{one.empty:,} documents of the {label} set have an empty text and were left out.")
        if parts[label][1] < FEW:
            notes.append(
                f"Only {parts[label][1]:,} documents of the {label} set were held out: these numbers are rough."
            )
    return notes


def _notes_on_sources(measured: Measured) -> list[str]:
    """What the name of the source alone tells, beside what the score tells inside a source."""
    within, notes = measured.rank_correlation, list[str]()
    if within is None:
        notes.append(
            "No source has held-out documents of both sets, so whether the score tells anything within a source cannot "
            "be known from these sets."
        )
    aucs = f"(AUC {measured.source_auc:.3f} beside {measured.auc:.3f})"
    if measured.source_auc < TELLING:
        return notes
    if measured.source_auc >= measured.auc - SAME:
        same = f"The name of the source alone tells the label at least as well as the score does {aucs}"
        if within is None:
            so = "on these sets the score is a detector of sources, and nothing here shows that it measures quality."
        elif within < LITTLE:
            so = "within a source it hardly follows the label, so the score is a detector of sources, not of quality."
        else:
            so = f"what it is worth is that it follows the label within sources, too (rank correlation {within:.3f})."
        notes.append(f"{same}: {so}")
    elif measured.source_auc >= 0.5 + (measured.auc - 0.5) / 2:
        notes.append(
            f"Much of what the score tells is which source a document is of: its name alone gives more than half of "
            f"what the score has beyond chance {aucs}."
        )
    return notes


def _kept(at: Threshold, source: str) -> str:
    documents, num_bytes = at.by_source[source]
    return f"{documents:,} / {num_bytes / 1e6:,.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _more(number: int) -> list[str]:
    left = number - SHOWN_SOURCES
    return [f"and {left:,} more sources; the card has them all"] if left > 0 else []


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns two blanks apart, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
