"""Documents, bytes and tokens of many sets of documents at once, from one histogram of what the rules say.

Rows with the same verdicts before and after are counted together: some hundred groups stand for millions of rows.
Cost: 0.1 s for 10^6 rows and 15 rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.look.asking import SourceVerdicts
from dolma_pipeline.sql import count_bits, pack, unpack


@dataclass(frozen=True)
class Amount:
    """So many documents, with their text as it was read.

    tokens: EOS counted; None: nothing is known of them. exact: tokens are counted and not estimated.
    """

    documents: int
    bytes: int
    tokens: int | None
    exact: bool = True

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"documents": self.documents, "bytes": self.bytes, "tokens": self.tokens, "tokens_exact": self.exact}


@dataclass(frozen=True)
class RuleChange:
    """One rule before and after.

    before, after: first, any, alone, null; None where there is no such rule. kept, dropped: what passes this rule
    afterwards, and what does not. gained, lost: what passes it only afterwards, only before.
    """

    before: Mapping[str, int] | None
    after: Mapping[str, int] | None
    kept: Amount
    dropped: Amount
    gained: Amount
    lost: Amount

    def record(self) -> dict[str, Any]:
        """As JSON."""
        amounts = {name: getattr(self, name).record() for name in ("kept", "dropped", "gained", "lost")}
        return {"before": self.before, "after": self.after, **amounts}


class Histogram:
    """Documents of one source by what all rules say of them before and after.

    Args:
        before, after: verdicts. sizes: bytes, int64[n]. tokens: with estimates, int64[n]; None: nothing is known.
        known: which of them are counted as before, and as after.
    """

    def __init__(
        self,
        before: SourceVerdicts,
        after: SourceVerdicts,
        sizes: NDArray[np.int64],
        tokens: NDArray[np.int64] | None,
        known: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    ) -> None:
        self._names = (tuple(before.rules), tuple(after.rules))
        words: list[NDArray[np.uint64]] = []
        widths: list[int] = []
        for one in (before, after):
            for kind in range(2):
                found = pack([verdict[kind] for verdict in one.rules.values()], one.rows)
                widths.append(found.shape[1])
                words += list(found.T)
        # A column that is the same in all rows (most words of NULLs) parts nothing.
        parting = [i for i, word in enumerate(words) if len(word) and (word != word[0]).any()]
        columns: dict[str, Any] = {f"w{i}": np.ascontiguousarray(words[i]) for i in parting}
        values = {"documents": np.ones(len(sizes), np.int64), "bytes": sizes}
        values |= {f"unknown_{when}": (~some).astype(np.int64) for when, some in enumerate(known)}
        values["tokens"] = np.zeros(len(sizes), np.int64) if tokens is None else tokens
        self._has_tokens = tokens is not None
        sums = [(name, "sum") for name in values]
        table = pa.table({**columns, **values})
        grouped = table.group_by(list(columns), use_threads=False).aggregate(sums) if len(sizes) else table
        suffix = "_sum" if len(sizes) else ""
        self._sums = {name: grouped.column(f"{name}{suffix}").to_numpy() for name in values}
        size = grouped.num_rows
        full = [
            grouped.column(f"w{i}").to_numpy()
            if i in parting
            else np.full(size, word[0] if len(word) else 0, np.uint64)
            for i, word in enumerate(words)
        ]
        at = np.cumsum([0, *widths])
        self._words = [np.stack(full[a:b], axis=1).reshape(size, b - a) for a, b in pairwise(at)]
        self._failed = [unpack(bits, len(names)) for bits, names in zip(self._words[0::2], self._names, strict=True)]

    def amount(self, some: NDArray[np.bool_], when: int = 1) -> Amount:
        """Of some groups, with tokens as before (0) or after (1)."""
        unknown = int(self._sums[f"unknown_{when}"][some].sum())
        tokens = int(self._sums["tokens"][some].sum()) if self._has_tokens else None
        return Amount(
            int(self._sums["documents"][some].sum()),
            int(self._sums["bytes"][some].sum()),
            tokens,
            unknown == 0 or tokens is None,
        )

    def passes(self, when: int) -> NDArray[np.bool_]:
        """Which groups pass all rules, before (0) or after (1)."""
        found = np.ones(len(self._sums["bytes"]), np.bool_)
        for failed in self._failed[when]:
            found &= ~failed
        return found

    def rules(self) -> dict[str, RuleChange]:
        """Every rule of before and after: those of now in their order, then those that are gone."""
        counts = [
            count_bits(self._words[2 * when], self._words[2 * when + 1], names, times=self._sums["documents"])
            for when, names in enumerate(self._names)
        ]
        found = {}
        nothing = np.zeros(len(self._sums["bytes"]), np.bool_)
        for rule in dict.fromkeys([*self._names[1], *self._names[0]]):
            old, new = (
                self._failed[when][names.index(rule)] if rule in names else nothing
                for when, names in enumerate(self._names)
            )
            kept, dropped, gained = (self.amount(some) for some in (~new, new, old & ~new))
            lost = self.amount(new & ~old, 0)
            found[rule] = RuleChange(counts[0].get(rule), counts[1].get(rule), kept, dropped, gained, lost)
        return found
