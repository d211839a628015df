"""Elections one after another, in which what was decided stands, against the whole of it in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.dedup.settled import Settled, nothing_settled
from dolma_pipeline.dedup.stars import check_stars, elect_stars
from dolma_pipeline.errors import DataError
from tests.dolma_pipeline.dedup.test_stars import plain

LIKENESS = [0.5, 0.8, 0.85, 0.9, 1.0]


@st.composite
def arrivals(draw: st.DrawFn) -> Any:
    """Documents, in which of three batches each comes, and the words, bands, rules, order and likeness of them."""
    n = draw(st.integers(1, 14))
    batch = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    words = draw(st.lists(st.integers(0, n), min_size=n, max_size=n))
    buckets = draw(st.lists(st.sets(st.sampled_from(words), min_size=1), max_size=6))
    candidate = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    place = draw(st.permutations(range(n)))
    values = draw(st.lists(st.sampled_from(LIKENESS), min_size=(n + 1) ** 2, max_size=(n + 1) ** 2))
    return batch, words, buckets, candidate, place, values


@settings(max_examples=150, deadline=None)
@given(arrivals())
def test_batches_equal_the_plain_elections(case: Any) -> None:
    batch, words, buckets, candidate, place, values = case
    size = len(words) + 1
    decided: dict[int, tuple[int, float]] = {}  # document -> whom it went for, and how like it is
    for number in range(3):
        here = [i for i, own in enumerate(batch) if own <= number]
        at = {one: i for i, one in enumerate(here)}
        home = [at[next(j for j in here if words[j] == words[i])] for i in here]
        own = [[h for h in dict.fromkeys(home) if words[here[h]] in bucket] for bucket in buckets]
        own = [bucket for bucket in own if len(bucket) > 1]

        def like(a: int, b: int, here: list[int] = here) -> float:
            a, b = sorted((words[here[a]], words[here[b]]))
            return float(values[a * size + b])

        asked = []

        def compare(a: Any, b: Any, like: Any = like, asked: list[Any] = asked) -> Any:
            asked.extend(zip(a.tolist(), b.tolist(), strict=True))
            return np.array([like(x, y) for x, y in zip(a, b, strict=True)])

        old = {at[i]: (at[keeper], likeness) for i, (keeper, likeness) in decided.items()}
        settled = nothing_settled(len(here))
        for i, (keeper, likeness) in old.items():
            settled.old[i], settled.keep[i], settled.keeper[i], settled.jaccard[i] = True, keeper == i, keeper, likeness
        passes, order = [candidate[i] for i in here], [place[i] for i in here]
        found = elect_stars(
            np.array(home, np.int64), np.array([b for b, some in enumerate(own) for _ in some], np.int64),
            np.array([h for some in own for h in some], np.int64), candidate=np.array(passes, np.bool_),
            place=np.array(order, np.int64), compare=compare, threshold=0.8, settled=settled,
        )  # fmt: skip
        expected = plain(home, own, passes, order, like, 0.8, old=old)
        assert (found.keeper.tolist(), found.jaccard.tolist(), found.rounds, found.stopped) == expected
        assert len(asked) == len(set(asked)), "each pair once"
        assert not [pair for pair in asked if {i for i, h in enumerate(home) if h in pair} <= old.keys()], (
            "what was judged before is not compared with what was"
        )
        for i, (keeper, likeness) in old.items():
            assert (found.keeper[i], found.jaccard[i]) == (keeper, likeness)
        for i, keeper in enumerate(found.keeper.tolist()):
            if keeper != i:
                assert found.keeper[keeper] == keeper
                assert passes[keeper]
                assert found.jaccard[i] == (1.0 if home[i] == home[keeper] else like(home[i], home[keeper])) >= 0.8
        check_stars(
            np.arange(len(here)), found.keeper, found.jaccard, candidate=np.array(passes, np.bool_),
            place=np.array(order, np.int64), threshold=0.8, named=str, old=settled.old,
        )  # fmt: skip
        decided = {here[i]: (here[found.keeper[i]], float(found.jaccard[i])) for i in range(len(here))}


def elect(
    likeness: dict[tuple[int, int], float], bucket: list[int], settled: Settled, *, home: Any = None, **more: Any
) -> list[int]:
    n = len(settled.old)
    return elect_stars(
        np.arange(n) if home is None else home, np.zeros(len(bucket), np.int64), np.array(bucket),
        candidate=np.ones(n, np.bool_), threshold=0.8,
        compare=lambda a, b: np.array([likeness.get((int(x), int(y)), 0.0) for x, y in zip(a, b, strict=True)]),
        **{"place": np.arange(n), "settled": settled, **more},
    ).keeper.tolist()  # fmt: skip


def test_what_is_new_and_preferred_goes_for_what_is_old() -> None:
    settled = nothing_settled(3)
    settled.old[2] = True
    assert elect({(2, 0): 0.9, (0, 1): 0.9}, [0, 1, 2], settled) == [2, 1, 2]
    assert elect({(2, 0): 0.9, (0, 1): 0.9}, [0, 1, 2], nothing_settled(3)) == [0, 0, 2]


def test_what_went_leads_nobody() -> None:
    settled = nothing_settled(3)
    settled.old[:2], settled.keep[1], settled.keeper[1], settled.jaccard[1] = True, False, 0, 0.85
    assert elect({(1, 2): 1.0}, [1, 2], settled) == [0, 0, 2]


@pytest.mark.parametrize("place", [[0, 1, 2], [1, 0, 2], [2, 1, 0]])
def test_what_stays_leads_though_a_copy_of_it_that_went_is_preferred(place: list[int]) -> None:
    """A copy of the same words that came later, and before it in the order, stands for nobody."""
    settled = nothing_settled(3)
    settled.old[:2], settled.keep[0], settled.keeper[0] = True, False, 1
    more = {"home": np.array([0, 0, 2]), "place": np.array(place)}
    assert elect({(0, 2): 0.9}, [0, 2], settled, **more) == [1, 1, 1]


def test_the_check_finds_an_old_one_that_went_for_a_new_one() -> None:
    given: dict[str, Any] = {"candidate": np.ones(2, np.bool_), "place": np.arange(2), "threshold": 0.8, "named": str}
    went = np.array([0, 0]), np.array([1.0, 0.9])
    check_stars(np.arange(2), *went, **given, old=np.array([True, True]))
    check_stars(np.arange(2), *went, **{**given, "place": np.array([1, 0])}, old=np.array([True, False]))
    with pytest.raises(
        DataError, match=r"^1: marked as a duplicate of 0 .* which is new, while it was judged before\."
    ):
        check_stars(np.arange(2), *went, **given, old=np.array([False, True]))
