"""Dedupe kinds: what a step of `dedupe.steps` marks, and how. Another kind is one class with `register_kind`.

A `CopyKind` gives keys of documents; documents with an equal key are copies or candidates, and an election says which
of them stay. A `SpanKind` (`span_kinds`) marks stretches of text. Ours are the `kind_…` beside this.
Keys of a band lie sorted in each shard's file, so that a range of them is one slice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import UnknownNameError, UsageError
from dolma_pipeline.registry import YOUR_OWN, keep_registry
from dolma_pipeline.run.columns import DEDUPE_TYPE, Fields
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt

if TYPE_CHECKING:
    from dolma_pipeline.run.artifact import Artifact
    from dolma_pipeline.run.planner import Step


@dataclass(frozen=True)
class BandKeys:
    """The keys of one band in one shard, ascending: keys uint64[k], rows uint32[k]; second: 64 more bits, or None.

    words: of a kind that is verified, uint64[k, 2], a hash of each row's words; None: the keys are that hash.
    without: how many documents of the shard have no key.
    """

    keys: NDArray[np.uint64]
    rows: NDArray[np.uint32]
    second: NDArray[np.uint64] | None = None
    words: NDArray[np.uint64] | None = None
    without: int = 0


class Signer(ABC):
    """Collects what a kind keeps of a shard's texts."""

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Take a batch."""

    @abstractmethod
    def table(self) -> pa.Table:
        """What is kept, as `CopyKind.keys` reads it."""


class ColumnSigner(ABC):
    """Makes what a kind keeps of documents of one source from their columns, without their texts.

    Attributes:
        index: columns of the index that it reads, or `source`. wanted: attribute column -> fields (None: all).
    """

    index: Collection[str] = ()
    wanted: Mapping[str, Fields] = MappingProxyType({})

    @abstractmethod
    def table(self, columns: pa.Table) -> pa.Table:
        """What is kept of the documents of one shard, as `CopyKind.keys` reads it."""


class DedupeKind(ABC):
    """One kind of dedupe step.

    Attributes:
        name: in the recipe. format: number of what is kept; another number makes kept work stale.
        elects: whether it says which documents stay, so that later steps do not see the others.
        column: the type of its step's column. kernels: names of `kernels.warm.KERNELS` that it needs.
    """

    name: str
    format: int = 1
    elects: bool
    column: pa.StructType
    kernels: tuple[str, ...] = ()

    def check(self, config: DedupeStepConfig) -> None:
        """Whatever can be known to be wrong with a step before the run.

        Raises:
            UsageError: what, and what to do.
        """
        return

    def bind(self, process: Process, config: DedupeStepConfig) -> Sequence[str]:
        """Hold a step against the columns that there are; gives the attribute columns that it reads, sorted.

        Raises:
            ConfigError: what cannot be, with its place in the recipe.
        """
        return ()

    def format_of(self, config: DedupeStepConfig) -> int:
        """The number of the format of what is kept."""
        return self.format

    @abstractmethod
    def settings(self, config: DedupeStepConfig) -> dict[str, Any]:
        """The keys of the step that what it keeps of texts depends on."""


class CopyKind(DedupeKind):
    """One way to find documents that are copies.

    Attributes:
        verified: an equal key makes only a candidate, and shingles decide (`estimates`, `threshold`); else it makes a
            copy, and what equal keys connect is a cluster.
    """

    elects = True
    column = DEDUPE_TYPE
    kernels: tuple[str, ...] = ("components", "sorting")
    verified: bool = False

    @abstractmethod
    def num_bands(self, config: DedupeStepConfig) -> int:
        """How many keys a document has."""

    def signer(self, config: DedupeStepConfig) -> Signer | None:
        """What collects signatures while texts are read; None if columns are enough."""
        return None

    def signer_in(self, process: Process, shard: ShardAt, config: DedupeStepConfig) -> Signer | None:
        """The same for one shard, where it depends on its source."""
        return self.signer(config)

    def of_columns(self, config: DedupeStepConfig) -> bool:
        """Whether something is kept that is made of columns other than the index's own hash (`column_signer`)."""
        return False

    def column_signer(self, process: Process, source: str, config: DedupeStepConfig) -> ColumnSigner:
        """What makes that for a source."""
        raise NotImplementedError(f"dedupe kind {self.name} keeps nothing of columns")

    def keeps(self, config: DedupeStepConfig) -> bool:
        """Whether something is kept of each shard beside the index."""
        return self.of_columns(config) or self.signer(config) is not None

    def nothing(self, run: Run, config: DedupeStepConfig) -> str:
        """What to say where no document has a key: what is wrong, what there is, what to do."""
        return (
            "no document has a key of this kind. Leave the step out, or see whether the documents are the right ones."
        )

    @abstractmethod
    def keys(
        self, run: Run, shard: ShardAt, config: DedupeStepConfig, bands: range, within: tuple[int, int]
    ) -> list[BandKeys]:
        """The keys of these bands in a shard that are in `within` (first, one past the last; others may be there)."""

    def num_shingles(
        self, run: Run, shard: ShardAt, config: DedupeStepConfig, rows: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Of a kind that is verified: how many shingles these rows of a shard have, 0 where nothing is kept."""
        raise NotImplementedError(f"dedupe kind {self.name} is not verified")

    def estimates(
        self, run: Run, config: DedupeStepConfig, rows: Iterator[tuple[ShardAt, NDArray[np.int64]]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Of a kind that is verified: low bytes of the signatures of these rows, uint8[n, p], for an estimate of how
        like two documents are; and the number of their shingles, int32[n]."""
        raise NotImplementedError(f"dedupe kind {self.name} is not verified")


class TextKind(DedupeKind):
    """One way to mark what is told by a document's text alone: no order, rule or other document plays a part."""

    elects = False

    @abstractmethod
    def artifacts(self, process: Process, config: DedupeStepConfig, index: Artifact) -> list[Artifact]:
        """What a step makes, `attributes/<step>` the last."""

    @abstractmethod
    def steps(
        self, config: DedupeStepConfig, known: Mapping[str, Artifact], left: Mapping[str, Artifact]
    ) -> list[Step]:
        """The phases and consumers that make those of them that are left."""


KINDS: dict[str, DedupeKind] = {}
"""Every kind of this process, by name."""
keep_registry(KINDS)


def register_kind(kind: DedupeKind) -> DedupeKind:
    """Make a kind known. UsageError if another one of this name is."""
    before = KINDS.get(kind.name)
    if before is not None and type(before) is not type(kind):
        raise UsageError(f"dedupe kind '{kind.name}' is registered twice: {type(before)!r} and {type(kind)!r}")
    KINDS[kind.name] = kind
    return kind


def known_kind(config: DedupeStepConfig) -> DedupeKind:
    """The kind of any step.

    Raises:
        UnknownNameError: there is none of that name; says what is near.
    """
    if config.kind not in KINDS:
        raise UnknownNameError("dedupe kind", config.kind, KINDS, hint=f"Your own: {YOUR_OWN}.")
    return KINDS[config.kind]


def kind_of(config: DedupeStepConfig) -> CopyKind:
    """The kind of a step that elects documents (`steps.electing_steps`)."""
    kind = known_kind(config)
    assert isinstance(kind, CopyKind), f"dedupe kind {kind.name} finds no copies of documents"
    return kind
