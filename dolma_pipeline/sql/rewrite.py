"""What a rule asks of a text or a list, in terms of numbers that are kept: `length(text)` is `chars`.

Only where the number is exactly the same: DuckDB's `length` of a string counts code points (not graphemes: a letter
and its accent are two, a family of emoji five), `strlen` bytes of UTF-8, and each is NULL for NULL. The rewritten tree
is written out as SQL by DuckDB and must read back as itself; a rule that does not stays as it is, and needs the text.
Cost: below 1 ms for a rule that is rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from dolma_pipeline.sql.columns import BYTES, CHARS, TEXT
from dolma_pipeline.sql.tree import Node, asked_of, column, replaced

CODE_POINTS = frozenset(["length", "len", "char_length", "character_length"])
"""Functions that count the code points of a string."""

UTF8_BYTES = frozenset(["strlen", "octet_length(encode)"])
"""Functions that count its bytes; `bit_length` counts bits, and `octet_length` takes no string."""

LENGTHS = frozenset(["length", "len", "array_length"])
"""Functions that count the items of a list; NULL for NULL."""

Field = tuple[str, str]
"""An attribute and one of its fields."""


@dataclass(frozen=True)
class Stored:
    """What a table holds of span lists instead of the lists themselves; both NULL where the attribute is NULL.

    Args:
        counts: (attribute, field) -> column with the number of spans, int64.
        scores: (attribute, field) -> column with what `score()` gives, float32.
    """

    counts: Mapping[Field, str] = field(default_factory=dict)
    scores: Mapping[Field, str] = field(default_factory=dict)

    @property
    def fields(self) -> list[pa.Field]:
        """The columns that such a table has beside the others."""
        counts = [pa.field(name, pa.int64()) for name in self.counts.values()]
        return counts + [pa.field(name, pa.float32()) for name in self.scores.values()]

    @property
    def labels(self) -> dict[str, str]:
        """Column -> what people know it as: `pii_v1.email`, `score(pii_v1.email)`."""
        counts = {name: f"{label}.{inner}" for (label, inner), name in self.counts.items()}
        return counts | {name: f"score({label}.{inner})" for (label, inner), name in self.scores.items()}


def rewritten(node: Node, schema: pa.Schema, stored: Stored) -> Node:
    """The tree with what is kept in the place of what would be computed; the same tree where nothing is.

    Args:
        node: of an expression that has passed `expressions.check`.
        schema: the columns that there are; `chars` and `bytes` are used only if they are among them.
        stored: what there is instead of lists.
    """
    names = {one.name.lower(): one for one in schema}
    text = names.get(TEXT)
    texts = text is not None and (pa.types.is_string(text.type) or pa.types.is_large_string(text.type))
    by_name = {
        kind: {(label.lower(), inner.lower()): name for (label, inner), name in columns.items()}
        for kind, columns in (("counts", stored.counts), ("scores", stored.scores))
    }

    def instead(node: Node, bound: frozenset[str]) -> Node | None:
        asked = asked_of(node, bound)
        if asked is None:
            return None
        function, path = asked[0], tuple(name.lower() for name in asked[1])
        if path == (TEXT,) and texts:
            for functions, name in ((CODE_POINTS, CHARS), (UTF8_BYTES, BYTES)):
                if function in functions and name in names and pa.types.is_int64(names[name].type):
                    return column(name)
        if len(path) == 2:
            kept = by_name["counts" if function in LENGTHS else "scores"] if function in {*LENGTHS, "score"} else {}
            name = kept.get((path[0], path[1]), "")
            return column(name) if name else None
        return None

    tree: Node = replaced(node, instead, frozenset())
    return tree
