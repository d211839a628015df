"""Edits of texts: which spans are changed, and how long an edited text is, without the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.stages.pseudonyms import Key, pseudonyms

if TYPE_CHECKING:
    from dolma_pipeline.kernels.edit import Replacement


@dataclass(frozen=True)
class Edit:
    """Spans to change: attribute column, its field, and the UTF-8 text in their place (None: they are cut out).

    With a key, each span's pseudonym stands in its place, which is as long as `replacement`.

    Args:
        min_score, max_score: only spans of `min_score <= score < max_score`; None for no bound.
    """

    column: str
    field: str
    replacement: bytes | None
    min_score: float | None = None
    max_score: float | None = None
    key: Key | None = None

    def part(self, column: pa.StructArray, texts: pa.StringArray) -> tuple[pa.ListArray, Replacement]:
        """The spans of a column's rows that are changed, and what stands in their place: a part of `Edits.of`."""
        made = self.replacement if self.key is None else pseudonyms(self.key, self.field, texts)
        return self.spans(column), made

    def spans(self, column: pa.StructArray) -> pa.ListArray:
        """The spans of a column's rows that are changed."""
        lists = pc.struct_field(column, self.field)
        if self.min_score is None and self.max_score is None:
            return lists
        spans = lists.flatten()
        # A score is kept in 32 bits, so a bound is too: what was written as 0.3 is not below 0.3.
        scores = pc.struct_field(spans, "score").to_numpy(zero_copy_only=False).astype(np.float32)
        chosen = ~np.isnan(scores)
        if self.min_score is not None:
            chosen &= scores >= np.float32(self.min_score)
        if self.max_score is not None:
            chosen &= scores < np.float32(self.max_score)
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        rows = np.repeat(np.arange(len(lists)), lengths)[chosen]
        offsets = np.searchsorted(rows, np.arange(len(lists) + 1)).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), spans.filter(pa.array(chosen)))


def edited_lengths(chars: NDArray[np.int64], parts: Sequence[tuple[pa.ListArray, bytes | None]]) -> NDArray[np.int64]:
    """Code points of edited texts: what united spans cover goes, what stands in their place comes.

    Args:
        chars: of the texts. parts: as `kernels.edit.Edits.of` takes them; spans that overlap are united, and the one
            that starts first gives the replacement, as there.
    """
    from dolma_pipeline.kernels.edit import Edits

    edits = Edits.of(len(chars), parts)
    if len(edits.starts) == 0:
        return chars
    row = np.repeat(np.arange(len(chars)), np.diff(edits.rows))
    far = int(max(edits.ends.max(), 1)) + 1  # so that spans of two rows never overlap
    starts, ends = edits.starts + row * far, edits.ends + row * far
    reach = np.maximum.accumulate(ends)
    opens = np.ones(len(starts), np.bool_)
    opens[1:] = starts[1:] >= reach[:-1]
    firsts = np.flatnonzero(opens)
    lasts = np.append(firsts[1:], len(starts)) - 1
    longer = np.array([len(text.decode()) for text in edits.texts] + [0], np.int64)  # -1, removed, is the last
    change = longer[edits.replacements[firsts]] - (reach[lasts] - starts[firsts])
    out = chars.copy()
    np.add.at(out, row[firsts], change)
    return out
