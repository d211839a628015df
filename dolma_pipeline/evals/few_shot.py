"""Examples before a question: which, and in what order.

`first`: the first n of the file, the same for every item, as MMLU's development examples are used (Hendrycks et al.
2021, arXiv 2009.03300). `keyed`: the n examples whose hash of seed, item and example is smallest, in that order:
another draw for each item, the same on every machine and whatever other items there are. An item is never its own
example, so the file of examples may be the file of items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import xxhash

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.rows import Row

Draw = Literal["first", "keyed"]


class Examples(NamedTuple):
    """Where examples come from.

    rows: all that there are. number: before each item. draw: how they are chosen. seed: of `keyed`. group: key in which
    an example must equal its item, or "". path: of their file, for errors.
    """

    rows: Sequence[Row]
    number: int
    draw: Draw
    seed: int
    group: str
    path: str

    def before(self, row: Row) -> list[Row]:
        """The examples of an item, in the order of the prompt.

        Raises:
            DataError: there are fewer than asked for.
        """
        fitting = [
            one
            for one in self.rows
            if one.values != row.values and (not self.group or one.values.get(self.group) == row.values.get(self.group))
        ]
        if len(fitting) < self.number:
            of = f' of "{self.group}" {row.values.get(self.group)!r}' if self.group else ""
            raise DataError(
                f"{row.place}: shots is {self.number}, but {self.path} has {len(fitting)} examples{of} for it."
            )
        if self.draw == "keyed":
            salt = xxhash.xxh3_64_intdigest(f"few_shot/{row.id}".encode(), self.seed)
            fitting.sort(key=lambda one: (xxhash.xxh3_64_intdigest(one.id.encode(), salt), one.place))
        return fitting[: self.number]
