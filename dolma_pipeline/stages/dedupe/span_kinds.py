"""Dedupe kinds that mark stretches of text which stand in an earlier document too, or earlier in the same one.

A `SpanKind` cuts texts into units, each with a hash: what is the same is a repeat. An `AnchoredKind` has so many units
that they are made only where a first reading, of few hashes, has found that there may be a repeat.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.kernels.tables import TextBuffers
from dolma_pipeline.stages.dedupe.kinds import DedupeKind, known_kind

REPEATS_TYPE = pa.struct(
    [
        pa.field("spans", SPANS_TYPE),
        pa.field("coverage", pa.float64()),
        pa.field("elsewhere", pa.float64()),
    ]
)
"""The column of a step that marks repeats. spans: what stands earlier; coverage: the share of the document that they
are; elsewhere: the share that stands in any other document that stays, earlier or later."""


class Units(NamedTuple):
    """Units of n texts, in order, ascending within a text.

    rows (int32[k]): text. starts, ends (int32[k]): code points of it. keys (uint64[k]): hash; more: 64 more bits, or
    None. words (int32[k]): first word, of a kind that measures in words; else None.
    """

    rows: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    keys: NDArray[np.uint64]
    more: NDArray[np.uint64] | None = None
    words: NDArray[np.int32] | None = None


class Anchors(NamedTuple):
    """Hashes of n texts by which repeats are found, in order: rows, words (int32[k]), keys (uint64[k])."""

    rows: NDArray[np.int32]
    words: NDArray[np.int32]
    keys: NDArray[np.uint64]


class SpanKind(DedupeKind):
    """One way to find repeated stretches of text.

    Attributes:
        measure: what documents are measured in, `characters` (a unit has those from its start to its end) or `words`.
        wide: whether units have 128 bits.
    """

    elects = False
    column = REPEATS_TYPE
    measure: str = "characters"
    wide: bool = True

    @abstractmethod
    def units(self, text: TextBuffers, config: DedupeStepConfig) -> tuple[Units, NDArray[np.int64]]:
        """The units of n texts, and what `coverage` is a share of: the size of each text, int64[n]."""

    def words(self, config: DedupeStepConfig) -> int:
        """Words of a unit, of a kind that measures in words."""
        raise NotImplementedError(f"dedupe kind {self.name} does not measure in words")

    def none_found(self, config: DedupeStepConfig) -> str:
        """What is said where no text of the run has a unit."""
        return "no document has a unit, so nothing is marked."


class AnchoredKind(SpanKind):
    """A `SpanKind` whose units are made in a second reading, around anchors that occur twice."""

    @abstractmethod
    def anchors(self, text: TextBuffers, config: DedupeStepConfig) -> tuple[Anchors, NDArray[np.int64]]:
        """The anchors of n texts, and the size of each text, int64[n]."""

    @abstractmethod
    def units_around(
        self, text: TextBuffers, config: DedupeStepConfig, rows: NDArray[np.int32], words: NDArray[np.int32]
    ) -> Units:
        """The units of n texts that hold one of these of their anchors, which are in order."""

    def units(self, text: TextBuffers, config: DedupeStepConfig) -> tuple[Units, NDArray[np.int64]]:
        """All units, wherever they are."""
        found, sizes = self.anchors(text, config)
        return self.units_around(text, config, found.rows, found.words), sizes


def span_kind(config: DedupeStepConfig) -> SpanKind:
    """The kind of a step that marks stretches of text (`steps.span_steps`)."""
    kind = known_kind(config)
    assert isinstance(kind, SpanKind), f"dedupe kind {kind.name} marks no stretches of text"
    return kind


def anchored_kind(config: DedupeStepConfig) -> AnchoredKind:
    """The kind of a step that makes its units in a second reading."""
    kind = known_kind(config)
    assert isinstance(kind, AnchoredKind), f"dedupe kind {kind.name} reads once"
    return kind


def units_artifact(config: DedupeStepConfig) -> str:
    """The artifact that holds the units of a step."""
    anchored = isinstance(known_kind(config), AnchoredKind)
    return f"dedupe/{config.name}/runs" if anchored else f"dedupe/{config.name}"
