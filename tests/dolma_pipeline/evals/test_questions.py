from __future__ import annotations

import numpy as np
import pytest

from dolma_pipeline.evals.questions import Question, score_questions, windows_of
from dolma_pipeline.evals.score import score
from dolma_pipeline.evals.trees import Window
from dolma_pipeline.train.model import IGNORED, Decoder


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_the_targets_are_the_answer() -> None:
    (window,) = windows_of(ids(0, 5, 6), ids(7, 8), length=10)
    assert window.inputs.tolist() == [0, 5, 6, 7]
    assert window.targets.tolist() == [IGNORED, IGNORED, 7, 8]
    (window,) = windows_of(ids(0), ids(7), length=10)  # without a context, EOS is all there is
    assert (window.inputs.tolist(), window.targets.tolist()) == ([0], [7])


def test_a_long_context_is_cut_at_its_left() -> None:
    (window,) = windows_of(ids(0, 1, 2, 3, 4, 5), ids(7, 8), length=4)
    assert window.inputs.tolist() == [3, 4, 5, 7]
    assert window.targets.tolist() == [IGNORED, IGNORED, 7, 8]


def test_a_long_answer_is_scored_in_windows() -> None:
    windows = windows_of(ids(0, 1, 2), ids(3, 4, 5, 6, 7), length=2)
    assert [w.inputs.tolist() for w in windows] == [[2, 3], [4, 5], [6]]
    assert [w.targets.tolist() for w in windows] == [[3, 4], [5, 6], [7]]


def test_nats_of_each_answer_by_itself(model: Decoder) -> None:
    questions = [Question(ids(0, 5), (ids(7), ids(8, 9))), Question(ids(0), (ids(3),))]
    found = score_questions(model, questions)
    one = score(model, [Window(ids(0, 5, 8), ids(IGNORED, 8, 9))])[0]
    assert [len(each) for each in found] == [2, 1]
    assert found[0][1] == pytest.approx(one, rel=1e-5)
