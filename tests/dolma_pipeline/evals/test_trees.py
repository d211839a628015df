"""Trees of windows: nothing lost, each shared beginning once, each node sees what its window would show it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.evals.trees import Window, num_shared, trees
from dolma_pipeline.train.model import IGNORED


def window(ids: list[int], *, scored: int = 1) -> Window:
    targets = np.array([*ids[1:], 99], np.int64)
    targets[: len(ids) - scored] = IGNORED
    return Window(np.array(ids, np.int64), targets)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), max_size=9))
def test_each_window_reads_its_own_ids_whatever_it_stands_beside(ids: list[list[int]]) -> None:
    windows = [window(each) for each in ids]
    found = list(trees(windows))
    assert sorted(i for tree in found for i in tree.windows) == list(range(len(ids)))
    for tree in found:
        seen = tree.seen()
        for i, nodes in zip(tree.windows, tree.nodes, strict=True):
            assert tree.tokens[nodes].tolist() == ids[i]
            assert tree.depths[nodes].tolist() == list(range(len(ids[i])))
            for depth, node in enumerate(nodes):
                assert np.flatnonzero(seen[node]).tolist() == nodes[: depth + 1].tolist()
        beginnings = {tuple(ids[i][: end + 1]) for i in tree.windows for end in range(len(ids[i]))}
        assert len(tree.tokens) == len(beginnings)  # each once
        assert tree.branches == (len(tree.stems) > 1)


def test_answers_share_their_question_and_questions_their_examples() -> None:
    examples = list(range(100, 160))
    asked = [[*examples, 1, 2], [*examples, 3, 4, 5]]
    windows = [window([*question, 7, answer]) for question in asked for answer in (8, 9)]
    (tree,) = trees(windows)
    assert len(tree.tokens) == 60 + (2 + 1 + 2) + (3 + 1 + 2)
    assert len(tree.scored) == 4


def test_what_shares_little_stands_alone() -> None:
    assert len(list(trees([window([0, 1, 2, 3]), window([0, 4, 5, 6])]))) == 2
    assert len(list(trees([window([0, 1, 2, 3]), window([0, 1, 5, 6])]))) == 1


def test_a_tree_does_not_grow_without_end() -> None:
    """Attention costs the square of a tree's size: 512 nodes, or twice a long window."""
    start = list(range(300))
    found = list(trees([window([*start, 1000 + i, *range(2000, 2050)]) for i in range(40)]))
    assert {len(tree.tokens) <= 2 * 351 for tree in found} == {True}
    assert 5 <= len(found) <= 10


def test_a_beginning_in_common() -> None:
    assert num_shared(np.array([1, 2, 3]), np.array([1, 2, 4, 5])) == 2
    assert num_shared(np.array([1, 2]), np.array([1, 2, 4])) == 2
    assert num_shared(np.array([7]), np.array([1])) == 0
