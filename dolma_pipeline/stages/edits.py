"""Edits of texts: which spans are changed, and how long an edited text is, without the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True)
class Edit:
    """Spans to change: attribute column, its field, and the UTF-8 text in their place (None: they are cut out)."""

    column: str
    field: str
    replacement: bytes | None


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
