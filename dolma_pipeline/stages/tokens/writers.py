"""What writes a part: a token format is one object that registers itself under a name; `olmo` is ours.

A part's files are opened by whoever commits them; the first is that of the ids, and appears last.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dolma_pipeline.errors import UnknownNameError, UsageError
from dolma_pipeline.registry import YOUR_OWN, keep_registry
from dolma_pipeline.storage.committed import Output
from dolma_pipeline.tokens.shards import PartInfo, write_part_files


@dataclass(frozen=True)
class PartIds:
    """What there is to know of the ids of a part.

    dtype: uint8, uint16 or uint32. eos: ends each document. special_ids: others that no text may hold.
    unk_id: stands for text that the tokenizer does not know; None if there is none.
    """

    dtype: np.dtype[Any]
    eos: int
    special_ids: Sequence[int] = ()
    unk_id: int | None = None


class TokenWriter(ABC):
    """One format of parts.

    Attributes:
        name: of the format. endings: of a part's files; the first is that of the ids, of which the digest of the
            data set is made.
    """

    name: str
    endings: tuple[str, ...]

    @abstractmethod
    def write(self, files: Sequence[Output], batches: Iterable[pa.Table], ids: PartIds) -> PartInfo:
        """Write documents in the order given. The same documents give the same bytes, whatever the batches.

        Args:
            files: one an ending, open. batches: origin, source, id, loc, epoch, cluster, kept attributes, and `tokens`
                without EOS. ids: what ends a document, and what must not be in one.

        Raises:
            DataError: a text holds EOS or a special id; names its origin.
        """


WRITERS: dict[str, TokenWriter] = {}
"""Every format of this process, by name."""
keep_registry(WRITERS)


def register_writer(writer: TokenWriter) -> TokenWriter:
    """Make a format known. UsageError if another one of this name is."""
    before = WRITERS.get(writer.name)
    if before is not None and type(before) is not type(writer):
        raise UsageError(f"token format '{writer.name}' is registered twice: {type(before)!r} and {type(writer)!r}")
    WRITERS[writer.name] = writer
    return writer


def writer_of(name: str) -> TokenWriter:
    """The format of a name.

    Raises:
        UnknownNameError: there is none; says what is near.
    """
    if name not in WRITERS:
        raise UnknownNameError("token format", name, WRITERS, hint=f"Your own: {YOUR_OWN}.")
    return WRITERS[name]


class OlmoWriter(TokenWriter):
    """What OLMo-core reads, and beside it what each document was; see `tokens.shards`."""

    name = "olmo"
    endings = (".npy", ".csv.gz", ".parquet")

    def write(self, files: Sequence[Output], batches: Iterable[pa.Table], ids: PartIds) -> PartInfo:
        """See `TokenWriter.write`."""
        ids_file, csv_file, rows_file = files
        return write_part_files(
            (rows_file, csv_file, ids_file),
            batches,
            dtype=ids.dtype,
            eos=ids.eos,
            special_ids=ids.special_ids,
            unk_id=ids.unk_id,
        )


register_writer(OlmoWriter())
