"""Elections: against a plain twin, and the promises of `keep`'s head for any clusters, rules and orders."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.dedup.components import components
from dolma_pipeline.dedup.keep import NO_CLUSTER, Election, elect
from dolma_pipeline.errors import MisalignedError

Labels = list[int]


def as_arrays(passes: list[bool], order: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(passes, np.bool_), np.array(order, np.int64)


def by_cluster(cluster: Labels) -> dict[int, list[int]]:
    members = defaultdict(list)
    for row, label in enumerate(cluster):
        if label != NO_CLUSTER:
            members[label].append(row)
    return members


@st.composite
def cases(draw: st.DrawFn, *, nested: bool = False) -> tuple[list[Labels], list[bool], list[int]]:
    """Clusters of 1 to 3 steps, which rows pass, and an order. nested: later steps join earlier clusters."""
    num_rows = draw(st.integers(0, 14))
    labels = st.integers(NO_CLUSTER, 4)
    steps = [draw(st.lists(labels, min_size=num_rows, max_size=num_rows))]
    for _ in range(draw(st.integers(0, 2))):
        if nested:  # whole clusters, and rows alone, move together into a cluster or into none
            of_label, of_row = (
                draw(st.lists(labels, min_size=5, max_size=5)),
                draw(st.lists(labels, min_size=num_rows, max_size=num_rows)),
            )
            steps.append([of_row[row] if old == NO_CLUSTER else of_label[old] for row, old in enumerate(steps[-1])])
            # a cluster that is outside now has nothing to do with later steps
            if any(new == NO_CLUSTER != old for old, new in zip(steps[-2], steps[-1], strict=True)):
                break
        else:
            steps.append(draw(st.lists(labels, min_size=num_rows, max_size=num_rows)))
    passes = draw(st.lists(st.booleans(), min_size=num_rows, max_size=num_rows))
    return steps, passes, draw(st.permutations(range(num_rows)))


def joined(steps: list[Labels], num_rows: int) -> list[list[int]]:
    """The rows that clusters of any steps join, directly or through others."""
    edges = [(row, row) for row in range(num_rows)]
    for cluster in steps:
        edges += [(rows[0], row) for rows in by_cluster(cluster).values() for row in rows]
    groups = defaultdict(list)
    for node, label in zip(*components(np.array(edges, np.int64).reshape(-1, 2)), strict=True):
        groups[int(label)].append(int(node))
    return list(groups.values())


@settings(max_examples=200, deadline=None)
@given(cases())
def test_one_election_equals_its_plain_twin(case: tuple[list[Labels], list[bool], list[int]]) -> None:
    (cluster, *_), passes, order = case
    size, rank, keep = elect(np.array(cluster, np.int64), *as_arrays(passes, order))
    members = by_cluster(cluster)
    for row, label in enumerate(cluster):
        mine = sorted(members[label], key=lambda r: (not passes[r], order[r])) if label != NO_CLUSTER else [row]
        assert size[row] == len(mine)
        assert rank[row] == mine.index(row)
        assert keep[row] == (len(mine) == 1 or (mine[0] == row and passes[row]))


@settings(max_examples=200, deadline=None)
@given(cases())
def test_a_step_keeps_one_candidate_of_each_cluster_that_has_one(
    case: tuple[list[Labels], list[bool], list[int]],
) -> None:
    steps, passes, order = case
    candidates = list(passes)
    for cluster, election in zip(steps, run(steps, passes, order), strict=True):
        for rows in by_cluster(cluster).values():
            kept = [row for row in rows if election.keep[row]]
            if len(rows) > 1:
                assert len(kept) == any(candidates[row] for row in rows)
                assert all(candidates[row] for row in kept)
        candidates = [c and bool(k) for c, k in zip(candidates, election.keep, strict=True)]


@settings(max_examples=300, deadline=None)
@given(cases())
def test_no_group_with_a_good_copy_loses_all(case: tuple[list[Labels], list[bool], list[int]]) -> None:
    steps, passes, order = case
    survives = survivors(steps, passes, order)
    for rows in joined(steps, len(passes)):
        assert any(survives[row] for row in rows) == any(passes[row] for row in rows)


@settings(max_examples=300, deadline=None)
@given(cases(nested=True))
def test_of_nested_clusters_just_one_good_copy_survives(case: tuple[list[Labels], list[bool], list[int]]) -> None:
    steps, passes, order = case
    survives = survivors(steps, passes, order)
    for rows in joined(steps, len(passes)):
        assert sum(survives[row] for row in rows) == any(passes[row] for row in rows)


def run(steps: list[Labels], passes: list[bool], order: list[int]) -> list[Election]:
    """The elections of several steps: candidates are the rows that pass and that all earlier steps kept."""
    elections: list[Election] = []
    candidate, places = as_arrays(passes, order)
    for cluster in steps:
        elections.append(elect(np.array(cluster, np.int64), candidate, places))
        candidate = candidate & elections[-1].keep
    return elections


def survivors(steps: list[Labels], passes: list[bool], order: list[int]) -> list[bool]:
    """What `where` leaves: rows that pass their rules and that every step keeps."""
    survives = np.array(passes, np.bool_)
    for election in run(steps, passes, order):
        survives &= election.keep
    return survives.tolist()


def test_the_exact_keeper_that_fails_the_filter() -> None:
    """A and B are one text, A is preferred but fails a rule of its source; C and D are near copies of both."""
    exact, near = [0, 0, NO_CLUSTER, NO_CLUSTER], [0, 0, 0, 0]
    assert survivors([exact, near], [False, True, True, True], [0, 1, 2, 3]) == [False, True, False, False]
    assert survivors([exact, near], [False, True, True, True], [2, 3, 0, 1]) == [False, False, True, False]
    assert survivors([exact, near], [False, True, False, False], [0, 3, 1, 2]) == [False, True, False, False]


def test_a_cluster_without_candidate_keeps_nobody() -> None:
    size, rank, keep = elect(np.array([3, 3]), *as_arrays([False, False], [1, 0]))
    assert size.tolist() == [2, 2]
    assert rank.tolist() == [1, 0]
    assert keep.tolist() == [False, False]


def test_a_row_without_duplicates_is_kept_whatever_the_rules_say() -> None:
    size, rank, keep = elect(np.array([NO_CLUSTER, 8]), *as_arrays([False, False], [0, 1]))
    assert size.tolist() == [1, 1]
    assert rank.tolist() == [0, 0]
    assert keep.tolist() == [True, True]


def test_no_row() -> None:
    empty = np.zeros(0, np.int64)
    assert [len(column) for column in elect(empty, np.zeros(0, np.bool_), empty)] == [0, 0, 0]


def test_columns_of_other_lengths_are_told() -> None:
    with pytest.raises(MisalignedError, match="clusters of 2 rows, candidates of 1, an order of 2"):
        elect(np.zeros(2, np.int64), np.ones(1, np.bool_), np.arange(2))
