"""The histogram of verdicts gives what counting row by row gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.look.amounts import Histogram
from dolma_pipeline.look.asking import SourceVerdicts

ROW = st.fixed_dictionaries(
    {
        "before": st.lists(st.sampled_from([None, False, True]), min_size=2, max_size=2),
        "after": st.lists(st.sampled_from([None, False, True]), min_size=3, max_size=3),
        "bytes": st.integers(0, 1000),
        "tokens": st.integers(0, 300),
        "known": st.tuples(st.booleans(), st.booleans()),
    }
)
NAMES = {"before": ["a", "b"], "after": ["b", "c", "a"]}


def verdicts(rows: list[dict[str, Any]], when: str) -> SourceVerdicts:
    found = {}
    for i, name in enumerate(NAMES[when]):
        said = [row[when][i] for row in rows]
        found[name] = (np.array([s is not True for s in said], bool), np.array([s is None for s in said], bool))
    return SourceVerdicts(found, len(rows))


def counted(rows: list[dict[str, Any]], when: str, name: str) -> dict[str, int]:
    """first, any, alone, null by looking at each row."""
    out = dict.fromkeys(("first", "any", "alone", "null"), 0)
    for row in rows:
        failed = [n for n, said in zip(NAMES[when], row[when], strict=True) if said is not True]
        out["first"] += failed[:1] == [name]
        out["any"] += name in failed
        out["alone"] += failed == [name]
        out["null"] += row[when][NAMES[when].index(name)] is None
    return out


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(ROW, max_size=40))
def test_by_rows(rows: list[dict[str, Any]]) -> None:
    sizes = np.array([row["bytes"] for row in rows], np.int64)
    tokens = np.array([row["tokens"] for row in rows], np.int64)
    known = tuple(np.array([row["known"][when] for row in rows], bool) for when in (0, 1))
    found = Histogram(verdicts(rows, "before"), verdicts(rows, "after"), sizes, tokens, (known[0], known[1]))
    lost = [row for row in rows if all(row["before"]) and not all(row["after"])]
    amount = found.amount(found.passes(0) & ~found.passes(1), 0)
    assert (amount.documents, amount.bytes) == (len(lost), sum(row["bytes"] for row in lost))
    assert amount.tokens == sum(row["tokens"] for row in lost)
    assert amount.exact == all(row["known"][0] for row in lost)
    rules = found.rules()
    assert list(rules) == ["b", "c", "a"]
    for name, rule in rules.items():
        assert rule.after == counted(rows, "after", name)
        assert rule.before == (counted(rows, "before", name) if name in NAMES["before"] else None)
        says = {
            when: [row[when][NAMES[when].index(name)] is True if name in NAMES[when] else True for row in rows]
            for when in NAMES
        }
        both = list(zip(says["before"], says["after"], strict=True))
        assert rule.gained.documents == both.count((False, True))
        assert rule.lost.documents == both.count((True, False))
        assert rule.kept.documents + rule.dropped.documents == len(rows)


def test_without_tokens_nothing_is_said_of_them() -> None:
    rows: list[dict[str, Any]] = [{"before": [True, True], "after": [True, True, False]}]
    none = np.zeros(1, bool)
    found = Histogram(verdicts(rows, "before"), verdicts(rows, "after"), np.array([5], np.int64), None, (none, none))
    amount = found.amount(found.passes(0))
    assert (amount.documents, amount.bytes, amount.tokens, amount.exact) == (1, 5, None, True)
