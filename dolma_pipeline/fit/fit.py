"""From sets of documents to a classifier with its measures and its card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dolma_pipeline.errors import UsageError
from dolma_pipeline.fit import measures
from dolma_pipeline.fit.classifier import LABELS, ClassifierSettings, Held, score, train, write_lines
from dolma_pipeline.fit.gather import Gathered, gather
from dolma_pipeline.fit.sample import Sample, Sampled
from dolma_pipeline.fit.sets import TEXT, DocumentSet
from dolma_pipeline.storage.scratch import Scratch

MIN_DOCUMENTS = 20
"""Documents of a label below which nothing is trained: what is measured on a tenth of them would mean nothing."""


@dataclass(frozen=True)
class SampleSettings:
    """Which documents are taken, and which of them are held out.

    max_documents, max_bytes: caps of each label; max_bytes None: no cap. held_out: share of the documents that is
    measured on. seed: of the sample, the split and the training.
    """

    max_documents: int = 200_000
    max_bytes: int | None = None
    held_out: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Taken:
    """What was taken of the sets of one label.

    documents, num_bytes, empty: seen, and how many were empty. capped: whether a cap has left some out. shared: taken
    documents that the other label has, too, which are in neither. sampled: the rest.
    """

    sets: Sequence[DocumentSet]
    sampled: Sampled
    documents: int
    num_bytes: int
    empty: int
    capped: bool
    shared: int = 0

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "sets": [one.record() for one in self.sets],
            "documents": self.documents,
            "bytes": self.num_bytes,
            "empty": self.empty,
            "capped": self.capped,
            "shared": self.shared,
            "taken": len(self.sampled.keys),
            "taken_bytes": int(self.sampled.sizes.sum()),
        }


def sample(sets: Sequence[DocumentSet], settings: SampleSettings) -> Taken:
    """Take documents of the sets of one label; what is taken does not depend on the order of the sets."""
    sets = sorted(sets, key=lambda one: (one.unit == TEXT, one.name))  # of a text in several, its group counts
    taking = Sample(seed=settings.seed, max_documents=settings.max_documents, max_bytes=settings.max_bytes)
    for one in sets:
        for chunk in one.look():
            taking.add(chunk)
    sampled = taking.close()
    return Taken(sets, sampled, taking.documents, taking.num_bytes, taking.empty, taking.bound is not None)


def apart(positive: Taken, negative: Taken) -> tuple[Taken, Taken]:
    """Both samples without the texts that they share.

    Raises:
        UsageError: too few are left of one.
    """
    shared = np.intersect1d(positive.sampled.keys, negative.sampled.keys, assume_unique=True)
    found = []
    for label, one in zip(LABELS, (positive, negative), strict=True):
        left = one.sampled.without(shared)
        check_enough(label, one, num_shared=len(shared))
        found.append(
            Taken(
                one.sets,
                left,
                one.documents,
                one.num_bytes,
                one.empty,
                one.capped,
                len(one.sampled.keys) - len(left.keys),
            )
        )
    return found[0], found[1]


def check_enough(label: str, one: Taken, *, num_shared: int = 0) -> None:
    """Hold that something can be learned from a sample.

    Args:
        num_shared: documents of it that the other sample has, too.

    Raises:
        UsageError: it has fewer than `MIN_DOCUMENTS` without them.
    """
    taken = len(one.sampled.keys)
    left, names = taken - num_shared, ", ".join(each.name for each in one.sets)
    if left >= MIN_DOCUMENTS:
        return
    if not one.documents:
        raise UsageError(f"the {label} set has no documents: {names} gives none.")
    if num_shared and taken >= MIN_DOCUMENTS:
        raise UsageError(
            f"the {label} set ({names}) shares {num_shared:,} of its {taken:,} documents with the other set, and "
            f"{left:,} are left: a document cannot be of both. At least {MIN_DOCUMENTS} of each are needed."
        )
    empty = f", of which {one.empty:,} are empty" if one.empty else ""
    caps = ", up to --max-documents and --max-bytes" if one.capped else ""
    raise UsageError(
        f"the {label} set ({names}) has {one.documents:,} documents{empty} and {left:,} that can be taken (each text "
        f"once{caps}); at least {MIN_DOCUMENTS} are needed."
    )


@dataclass(frozen=True)
class Measured:
    """What a classifier is worth on documents that were held out.

    auc, source_auc: of its scores, and of the source's name alone. precision, recall: at a score of 0.5; precision is
    None where no document has so much. scores: the lowest and the highest.
    """

    auc: float
    source_auc: float
    precision: float | None
    recall: float
    within: Sequence[measures.Within]
    rank_correlation: float | None
    thresholds: Sequence[measures.Threshold]
    scores: tuple[float, float]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "auc": self.auc,
            "precision": self.precision,
            "recall": self.recall,
            "source_alone_auc": self.source_auc,
            "within_source_rank_correlation": self.rank_correlation,
            "within_source": [asdict(one) | {"rank_correlation": one.rank_correlation} for one in self.within],
            "thresholds": [asdict(one) for one in self.thresholds],
        }


@dataclass(frozen=True)
class Fitted:
    """A model in scratch, and all that is told of it.

    model: its file. parts: label -> documents that were learned from, and held out.
    """

    model: Path
    kind: str
    parameters: Mapping[str, Any]
    settings: SampleSettings
    taken: Mapping[str, Taken]
    parts: Mapping[str, tuple[int, int]]
    measured: Measured

    def record(self) -> dict[str, Any]:
        """As the card has it."""
        return {
            "kind": self.kind,
            "labels": list(LABELS),
            "parameters": dict(self.parameters),
            "sample": asdict(self.settings),
            "data": {label: one.record() for label, one in self.taken.items()},
            "units": sorted({one.unit for both in self.taken.values() for one in both.sets}),
            "split": {
                label: dict(zip(("learned", "held_out"), both, strict=True)) for label, both in self.parts.items()
            },
            "scores": self.measured.record(),
        }


def fit_classifier(
    positive: Sequence[DocumentSet],
    negative: Sequence[DocumentSet],
    scratch: Scratch,
    *,
    settings: SampleSettings,
    training: ClassifierSettings,
) -> Fitted:
    """Train and measure a classifier.

    Raises:
        UsageError: too few documents of a label, or settings with which nothing can be trained.
        DataError: documents that cannot be read.
    """
    both = apart(sample(positive, settings), sample(negative, settings))
    gathered = gather(
        [(one.sets, one.sampled) for one in both], scratch, seed=settings.seed, held_out=settings.held_out
    )
    learned, parts = _parts(gathered)
    for part, name in enumerate(("to learn from", "held out")):
        for label in LABELS:
            if not parts[label][part]:
                raise UsageError(
                    f"of the {label} set no document is {name}: its {len(both[LABELS.index(label)].sampled.keys):,} "
                    f"documents are too few, or too like each other, for --held-out {settings.held_out:g}."
                )
    lines, place = scratch.path(".txt"), scratch.path(".bin")
    write_lines(gathered, lines, max_chars=training.max_chars)
    model = train(lines, training, seed=settings.seed)
    model.save_model(str(place))
    measured = measure(score(model, gathered, max_chars=training.max_chars), learned)
    return Fitted(place, "fasttext", asdict(training), settings, dict(zip(LABELS, both, strict=True)), parts, measured)


Learned = Counter[tuple[str, int]]
"""How many documents were learned from, by source and label."""


def _parts(gathered: Gathered) -> tuple[Learned, dict[str, tuple[int, int]]]:
    """What was learned from, and how many documents of each label are learned from and held out."""
    learned, counts = Learned(), {label: [0, 0] for label in LABELS}
    for table in gathered.tables():
        grouped = table.group_by(["source", "label", "held_out"]).aggregate([("place", "count")]).to_pylist()
        for row in grouped:
            counts[LABELS[row["label"]]][row["held_out"]] += row["place_count"]
            if not row["held_out"]:
                learned[row["source"], row["label"]] += row["place_count"]
    return learned, {label: (both[0], both[1]) for label, both in counts.items()}


def measure(held: Held, learned: Learned) -> Measured:
    """What scores are worth; of both labels there is a document at least."""
    within = measures.within_sources(held.scores, held.labels, held.sources)
    source_scores = measures.source_scores(learned, held.sources)
    auc, source_auc = (measures.auc(one, held.labels) for one in (held.scores, source_scores))
    assert auc is not None
    assert source_auc is not None
    (middle,) = measures.thresholds(held.scores, held.labels, held.sizes, held.sources, (0.5,))
    return Measured(
        auc,
        source_auc,
        middle.precision,
        middle.recall,
        within,
        measures.pooled_rank_correlation(within),
        measures.thresholds(held.scores, held.labels, held.sizes, held.sources),
        (float(held.scores.min()), float(held.scores.max())),
    )
