"""A consumer: whatever wants a shard's text. The planner fuses consumers into readings, so text is read once for all.

A consumer says what it makes and what must be there before; for each shard it starts a feeder, which is handed the
batches one by one together with attribute columns, and at the end says what it made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyarrow as pa

from dolma_pipeline.documents import Batch
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.shards import ShardAt

if TYPE_CHECKING:
    from dolma_pipeline.run.process import Process

T = TypeVar("T")


@dataclass
class Feed:
    """One batch on its way through a reading.

    batch: the documents. columns: attribute columns of them by label: those that consumers asked for, and those that
    consumers before this one made of this very batch. Values that several consumers need are made once: `shared`.
    """

    batch: Batch
    columns: dict[str, pa.StructArray] = field(default_factory=dict)
    _shared: dict[str, Any] = field(default_factory=dict)

    def shared(self, key: str, make: Callable[[], T]) -> T:
        """What `make` gives, once a batch; the key names what it is, such as `edited`."""
        if key not in self._shared:
            self._shared[key] = make()
        return cast(T, self._shared[key])


@dataclass(frozen=True)
class ShardRead:
    """How the reading of a shard ended.

    documents, num_bytes: that were given out, and bytes of their text. failures: lines (rows) that gave no document.
    sha256: of the content, hex; "" where the file was not read; of one that was not read to its end, as indexed.
    lost: why it was not read to its end, though someone wanted the rest; "" if it was.
    """

    documents: int = 0
    num_bytes: int = 0
    failures: Sequence[Failure] = ()
    sha256: str = ""
    lost: str = ""


class Feeder(ABC):
    """One consumer at work on one shard."""

    wants_text = True
    """False: this shard has nothing new for it; if no feeder wants the text, the shard is not read."""
    until: int | None = None
    """The row before which all texts lie that it wants; None: they may lie anywhere. A shard of which nobody wants much
    of the rest is not read to its end, in a reading behind the index."""

    @abstractmethod
    def add(self, feed: Feed) -> None:
        """Take a batch. May add columns to `feed.columns` for consumers behind it."""

    @abstractmethod
    def close(self, read: ShardRead) -> Mapping[str, Any]:
        """All batches came. Finish files (they are committed after this) and give what is to be recorded:
        `outputs`, `counts`; `shard` and `inputs` are added. `files`: as `Work.files`."""


@dataclass(frozen=True)
class Consumer(ABC):
    """What wants text; subclasses are frozen dataclasses that hold names and settings, never data.

    Args:
        artifact: what it makes, or helps to make.
    """

    artifact: Artifact

    @property
    def name(self) -> str:
        """Unique among the consumers of a run; default the artifact's name."""
        return self.artifact.name

    @property
    @abstractmethod
    def reading(self) -> str:
        """What its reading is called where people read it, e.g. `scan`."""

    @property
    def needs(self) -> frozenset[str]:
        """Names of artifacts and marks that must be made before its reading begins."""
        return frozenset()

    @property
    def makes(self) -> frozenset[str]:
        """Names of artifacts and marks that are there when its reading has ended."""
        return frozenset({self.name})

    @property
    def columns(self) -> Mapping[str, frozenset[str] | None]:
        """Attribute columns that its feeders want in `Feed.columns`: label -> fields (None: all).

        A column that another consumer hands on in the same reading is taken from there; others are read from files.
        """
        return {}

    @property
    def hands_on(self) -> str:
        """The label of a column that its feeders add to `Feed.columns`, the very one that its file has; "" if none."""
        return ""

    @property
    def records(self) -> bool:
        """Whether what its feeders give are the records of the artifact's shards: then a shard is done once, whichever
        run did it. Else they are only kept in the phase's own records, under its name in `more`."""
        return True

    @property
    def closes(self) -> bool:
        """Whether its artifact is finished when the reading has ended; else a later phase closes it."""
        return self.records

    @abstractmethod
    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        """Begin a shard. Files are opened on `stack`, so that they are committed together, or not at all."""
