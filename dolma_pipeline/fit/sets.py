"""Sets of documents that models are trained on. Each is looked at twice: for the sample, then for its texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.dedup.exact import text_keys
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DataError
from dolma_pipeline.fit.sample import Chunk
from dolma_pipeline.io import paths
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.formats import format_of
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.shards import Shard

Choose = Callable[[Chunk], NDArray[np.int64]]
"""Rows of a chunk, ascending, of which the texts are wanted."""


TEXT = "text"
"""The unit of documents that nobody has looked for near copies among: equal texts."""


class DocumentSet(Protocol):
    """Documents; the same in both looks."""

    @property
    def name(self) -> str:
        """As it was given; stands for it in errors."""

    @property
    def unit(self) -> str:
        """What is in one part as a whole (`Chunk.units`), in a word."""

    def look(self) -> Iterator[Chunk]:
        """All documents, without their texts."""

    def texts(self, choose: Choose) -> Iterator[tuple[Chunk, pa.Array]]:
        """The documents of the same chunks that are chosen, and their texts (string)."""

    def record(self) -> dict[str, Any]:
        """What it was made of, once it was looked at: plain JSON without places of this machine."""


@dataclass
class FileSet:
    """The documents of files, of any format that is read.

    Args:
        pattern: a path, glob, URL, or `@files.txt`. settings: of object stores. normalize: as of a recipe.

    Raises:
        UsageError (from `look`): nothing is found there.
        DataError (from `look`, `texts`): a document that cannot be read, or a file that was changed meanwhile.
    """

    pattern: str
    settings: Mapping[str, str] = field(default_factory=dict)
    normalize: Sequence[str] = ()
    _sha256: dict[str, str] = field(default_factory=dict, init=False)

    @property
    def name(self) -> str:
        """The pattern."""
        return self.pattern

    @property
    def unit(self) -> str:
        """Text."""
        return TEXT

    def look(self) -> Iterator[Chunk]:
        """All documents. Their source is the key `source` of each, or the pattern where it has none."""
        for batch in self._batches():
            yield self._chunk(batch)

    def texts(self, choose: Choose) -> Iterator[tuple[Chunk, pa.Array]]:
        """Those that are chosen."""
        for batch in self._batches():
            chunk = self._chunk(batch)
            rows = choose(chunk)
            if len(rows):
                yield chunk.take(rows), batch.table.column("text").take(pa.array(rows))

    def record(self) -> dict[str, Any]:
        """The pattern's last part, how many files, and a hash over their names and contents."""
        known = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(self._sha256.items()))
        digest = "sha256:" + hashlib.sha256(known.encode()).hexdigest()
        return {
            "files": self.pattern.rpartition("/")[2],
            "num_files": len(self._sha256),
            "digest": digest,
            "unit": TEXT,
        }

    def _batches(self) -> Iterator[Batch]:
        for file in paths.find([self.pattern], settings=self.settings):
            failures: list[Failure] = []
            shard = Shard(file.relative, "", file.relative, format_of(file.path).name)
            reader = ShardReader(shard, file.path, report=failures.append, normalize=self.normalize)
            for batch in reader:
                if failures:
                    break
                yield batch
            if failures:
                line = "" if failures[0].line is None else f":{failures[0].line}"
                raise DataError(
                    f"{file.path}{line}: {failures[0].reason}. A set of documents is read whole, or not at all; a run "
                    "reads what can be read, and --positive-source and --negative-source take its documents."
                )
            if self._sha256.setdefault(file.relative, str(reader.sha256)) != reader.sha256:
                raise DataError(f"{file.path}: the file was changed while it was read. Start again.")

    def _chunk(self, batch: Batch) -> Chunk:
        keys = text_keys(batch)
        own = batch.table.column("source").to_pylist()
        units = [f"{value:016x}" for value in keys.hi.tolist()]
        return Chunk(keys.hi, np.diff(batch.text.offsets).astype(np.int64), [one or self.pattern for one in own], units)
