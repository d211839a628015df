"""The election of near-duplicates against the whole of it in plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.dedup import stars
from dolma_pipeline.dedup.stars import check_stars, elect_stars, firsts_of, ranks, stars_of
from dolma_pipeline.errors import DataError, MisalignedError


def plain(home: list[int], buckets: list[list[int]], candidate: list[bool], place: list[int], like: Any, least: float,
          most_rounds: int = 8, old: Mapping[int, tuple[int, float]] | None = None,
          ) -> tuple[list[int], list[float], int, bool]:  # fmt: skip
    """The rounds, document by document; old: of documents that were judged before, whom each went for, and how like."""
    n, old = len(home), old or {}
    gone = {i for i, (own, _) in old.items() if own != i}
    order = sorted(range(n), key=lambda i: (not candidate[i], i not in old, i in gone, place[i]))
    first = {h: next(i for i in order if home[i] == h) for h in home}
    living, anchors, asked = {i for i in range(n) if i not in old or old[i][0] == i}, {*old}, set[tuple[int, int]]()
    edges: dict[tuple[int, int], float] = {}
    keeper = [old[i][0] if i in old else i for i in range(n)]
    credit = [old[i][1] if i in old else 1.0 for i in range(n)]
    rounds, stopped = 0, False
    for number in range(1, most_rounds + 1):
        pairs = []
        for bucket in buckets:
            here = [i for i in order if i in living and i in {first[h] for h in bucket}]
            if here and candidate[here[0]]:
                pairs += [(here[0], i) for i in here[1:] if i not in anchors]
        new = [pair for pair in dict.fromkeys(pairs) if pair not in asked]
        asked.update(new)
        for a, b in new:
            edges[a, b] = like(home[a], home[b])
        went = 0
        for member in order:
            found = [(-edges[a, b], order.index(a), a) for a, b in edges
                     if b == member and a in living and edges[a, b] >= least]  # fmt: skip
            if found and member in living and member not in anchors:
                living.remove(member)
                anchors.add(min(found)[2])
                keeper[member], credit[member] = min(found)[2], -min(found)[0]
                went += 1
        if not went:
            break
        rounds, stopped = number, number == most_rounds
    for i in range(n):
        one = first[home[i]]
        if i not in old and i != one and (keeper[one] != one or candidate[one]):
            keeper[i], credit[i] = keeper[one], credit[one]
    return keeper, credit, rounds, stopped


@st.composite
def cases(draw: st.DrawFn) -> Any:
    n = draw(st.integers(1, 12))
    homes = [draw(st.integers(0, i)) for i in range(n)]
    home: list[int] = []
    for i in range(n):
        home.append(i if draw(st.booleans()) else home[homes[i]] if homes[i] < i else i)
    own = sorted(set(home))
    buckets = (
        draw(st.lists(st.lists(st.sampled_from(own), min_size=2, unique=True), max_size=6)) if len(own) > 1 else []
    )
    candidate = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    place = draw(st.permutations(range(n)))
    values = draw(st.lists(st.sampled_from([0.5, 0.8, 0.85, 0.9, 1.0]), min_size=n * n, max_size=n * n))
    return home, buckets, candidate, place, values


@settings(max_examples=400, deadline=None)
@given(cases())
def test_equals_the_plain_election(case: Any) -> None:
    home, buckets, candidate, place, values = case
    n = len(home)

    def like(a: int, b: int) -> float:
        return float(values[min(a, b) * n + max(a, b)])

    asked = []

    def compare(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        asked.extend(zip(a.tolist(), b.tolist(), strict=True))
        return np.array([like(x, y) if like(x, y) > 0.5 else np.nan for x, y in zip(a, b, strict=True)])

    entries = [(i, h) for i, bucket in enumerate(buckets) for h in bucket]
    found = elect_stars(
        np.array(home), np.array([b for b, _ in entries], np.int64), np.array([h for _, h in entries], np.int64),
        candidate=np.array(candidate), place=np.array(place), compare=compare, threshold=0.8,
    )  # fmt: skip
    keeper, credit, rounds, stopped = plain(home, buckets, candidate, place, like, 0.8)
    assert found.keeper.tolist() == keeper
    assert found.jaccard.tolist() == credit
    assert (found.rounds, found.stopped) == (rounds, stopped)
    assert len(asked) == len(set(asked)), "each pair once"
    joined = set(zip(found.left.tolist(), found.right.tolist(), strict=True))
    for i in range(n):  # what went hangs together with what it went for
        if keeper[i] != i:
            assert any({i, home[i]} & {a, b} for a, b in joined)
    check_stars(
        np.arange(n), found.keeper, found.jaccard, candidate=np.array(candidate), place=np.array(place), threshold=0.8,
        named=str,
    )  # fmt: skip
    size, within = stars_of(found.keeper, ranks(np.array(candidate), np.array(place)))
    order = sorted(range(n), key=lambda i: (not candidate[i], place[i]))
    for i in range(n):
        star = [j for j in order if keeper[j] == keeper[i]]
        star.sort(key=lambda j: keeper[j] != j)
        assert (size[i], within[i]) == (len(star), star.index(i))


def run(likeness: dict[tuple[int, int], float], buckets: list[list[int]], n: int, **more: Any) -> stars.Stars:
    entries = [(i, h) for i, bucket in enumerate(buckets) for h in bucket]
    given: dict[str, Any] = {
        "candidate": np.ones(n, np.bool_), "place": np.arange(n), "threshold": 0.8,
        "compare": lambda a, b: np.array([likeness.get((int(x), int(y)), 0.0) for x, y in zip(a, b, strict=True)]),
    }  # fmt: skip
    return elect_stars(
        np.arange(n), np.array([b for b, _ in entries]), np.array([h for _, h in entries]), **{**given, **more}
    )


def test_a_chain_is_not_eaten() -> None:
    """1 is like 0, 2 is like 1 and not like 0: 1 goes, 2 has nobody left to go for."""
    found = run({(0, 1): 0.85, (1, 2): 0.85, (0, 2): 0.7}, [[0, 1, 2]], 3)
    assert found.keeper.tolist() == [0, 0, 2]


def test_when_the_leader_goes_the_next_one_leads() -> None:
    found = run({(0, 1): 0.9, (1, 2): 0.2, (2, 3): 0.9}, [[0, 1], [1, 2, 3]], 4)
    assert found.keeper.tolist() == [0, 0, 2, 2]
    assert found.rounds == 2


def test_the_limit_of_rounds_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    likeness, buckets = {(0, 1): 0.9, (2, 3): 0.9}, [[0, 1], [1, 2, 3]]
    assert not run(likeness, buckets, 4).stopped
    monkeypatch.setattr(stars, "MOST_ROUNDS", 1)
    found = run(likeness, buckets, 4)
    assert (found.keeper.tolist(), found.stopped) == ([0, 0, 2, 3], True)


def test_an_anchor_stays_though_an_earlier_one_is_like_it() -> None:
    """3 goes for 2 in the first round; 1, which leads in the second, is like 2."""
    likeness = {(0, 1): 0.1, (2, 3): 0.9, (0, 4): 0.9, (1, 2): 0.95}
    found = run(likeness, [[4, 1, 2], [0, 4], [2, 3]], 5, place=np.array([0, 2, 3, 4, 1]))
    assert found.keeper.tolist() == [0, 1, 2, 2, 0]


def test_of_the_same_words_the_first_candidate_stands_for_all() -> None:
    home, rank = np.array([0, 0, 0, 3]), ranks(np.array([False, True, True, False]), np.array([0, 2, 1, 3]))
    assert firsts_of(home, rank).tolist() == [2, 2, 2, 3]
    with pytest.raises(MisalignedError, match=r"^2 documents, 1 candidates"):
        elect_stars(np.arange(2), home, home, candidate=np.ones(1, np.bool_), place=np.arange(2),
                    compare=lambda a, b: a * 1.0, threshold=0.8)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"keeper": [10, 10, 11]}, r"^o12: marked as a duplicate of o11 .*which does not stay itself\."),
        ({"keeper": [10, 10, 99]}, r"which is not among the candidates\."),
        ({"candidate": [False, True, True]}, r"^o11: .* of o10 .*which does not pass the rules, or"),
        ({"place": [5, 1, 2]}, r"^o11: .*which does not come earlier in the order of `prefer`"),
        ({"jaccard": [1, 0.9, 0.79]}, r"^o12: .*\(likeness 0\.7900, threshold 0\.8\), which is less like it"),
        ({"jaccard": [1, float("nan"), 1]}, r"^o11: .*which is less like it"),
    ],
)
def test_what_went_without_a_keeper_is_an_error(change: dict[str, Any], what: str) -> None:
    given: dict[str, Any] = {
        "keeper": [10, 10, 10],
        "candidate": [True] * 3,
        "place": [0, 1, 2],
        "jaccard": [1, 0.9, 0.8],
    }

    def check(**columns: Any) -> None:
        check_stars(np.array([10, 11, 12]), np.array(columns["keeper"]), np.array(columns["jaccard"], np.float64),
                    candidate=np.array(columns["candidate"]), place=np.array(columns["place"]), threshold=0.8,
                    named=lambda number: f"o{number}")  # fmt: skip

    check(**given)
    with pytest.raises(DataError, match=what):
        check(**{**given, **change})
