from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.complete import Prompt
from dolma_pipeline.evals.exact_match import exact_match, last_number, marked_number, matched_items
from tests.dolma_pipeline.evals.scorers import task_of

KEYS = "kind: exact_match\nprompt: \"Question: {question}\\nAnswer:\"\nstop: 'Question:'\nmax_tokens: 9\n"
ROWS = [
    {"id": "a", "question": "2 + 2?", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"},
    {"id": "b", "question": "Price?", "answer": "Much.\n#### 1,250"},
    {"id": "c", "question": "Below?", "answer": "#### -3"},
    {"id": "d", "question": "None?", "answer": "#### 7"},
]
WRITTEN = {
    "2 + 2?": " 4\n#### 4\n\nAnd #### 5",
    "Price?": " It is $1,250.",
    "Below?": " #### 3",
    "None?": " I do not know",
}


class Writer:
    """Gives what it is told to; keeps what it was asked."""

    def __init__(self, written: dict[str, str]) -> None:
        self.written = written
        self.asked: list[Prompt] = []

    def __call__(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str], samples: int, temperature: float
    ) -> list[list[str]]:
        assert (max_tokens, [*stop], samples, temperature) == (9, ["Question:"], 1, 0.0)
        self.asked += prompts
        return [[next(text for key, text in self.written.items() if key in prompt.text)] for prompt in prompts]


def lines(rows: list[dict[str, str]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_both_rules_of_gsm8k(tmp_path: Path) -> None:
    task = task_of(tmp_path, lines(ROWS), KEYS)
    writer = Writer(WRITTEN)
    scored = exact_match(writer, task, matched_items(task))
    assert writer.asked[0] == Prompt("a", "Question: 2 + 2?\nAnswer:")
    assert [item.measures["exact_match"] for item in scored.items] == [1, 0, 0, 0]
    assert [item.measures["exact_match_last_number"] for item in scored.items] == [0, 1, 0, 0]
    assert (scored.numbers["num_items"], scored.numbers["exact_match"]) == (4, 0.25)
    assert scored.numbers["exact_match_stderr"] == pytest.approx(0.25)  # root(1/4 * 3/4 / 3)
    assert scored.items[1].row() == {
        "id": "b", "scores": {"exact_match": 0.0, "exact_match_last_number": 1.0}, "text": WRITTEN["Price?"],
    }  # fmt: skip


def test_examples_have_their_answers(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(lines(ROWS[1:3]))
    task = task_of(tmp_path, lines(ROWS[:1]), f"{KEYS}shots: 2\nexamples: train.jsonl\n")
    (item,) = matched_items(task)
    assert item.prompt.text == (
        "Question: Price?\nAnswer: Much.\n#### 1,250\n\nQuestion: Below?\nAnswer: #### -3\n\nQuestion: 2 + 2?\nAnswer:"
    )


def test_texts_are_compared_whole(tmp_path: Path) -> None:
    rows = [{"id": "a", "question": "2 + 2?", "answer": "four"}, {"id": "b", "question": "Price?", "answer": "4"}]
    task = task_of(tmp_path, lines(rows), f"{KEYS}match: text\n")
    scored = exact_match(Writer({"2 + 2?": " four\n", "Price?": "44"}), task, matched_items(task))
    assert [item.measures for item in scored.items] == [{"exact_match": 1.0}, {"exact_match": 0.0}]
    with pytest.raises(DataError, match=r"task\.yaml: metric: exact_match_last_number is for `match: number`"):
        matched_items(task_of(tmp_path, lines(rows), f"{KEYS}match: text\nmetric: exact_match_last_number\n"))


@pytest.mark.parametrize(
    ("text", "marked", "last"),
    [
        ("#### 1,000", "1000", "1000"),
        ("#### -5", "-5", "-5"),
        ("####5 and 6.", None, "6"),
        ("costs $3.50.", None, "3.50"),
        ("#### 18\n#### 19", "18", "19"),
        ("no number", None, None),
        ("#### x 7", None, "7"),
    ],
)
def test_numbers_of_a_text(text: str, marked: str | None, last: str | None) -> None:
    assert (marked_number(text), last_number(text)) == (marked, last)


def test_answers_that_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'task-items\.jsonl:2: "answer" has no number behind "#### "'):
        matched_items(task_of(tmp_path, lines([ROWS[0], {**ROWS[1], "answer": "4"}]), KEYS))
    with pytest.raises(DataError, match=r'task-items\.jsonl:1: "answer" has no number behind "#### "'):
        matched_items(task_of(tmp_path, lines([{**ROWS[1], "answer": "#### ."}]), KEYS))
    with pytest.raises(
        DataError, match=r"task-items\.jsonl:1: \"answer\" is ' '; a model that writes nothing would be"
    ):
        matched_items(task_of(tmp_path, lines([{**ROWS[1], "answer": " "}]), f"{KEYS}match: text\n"))
    with pytest.raises(DataError, match=r'task-items\.jsonl:1: "answer" is None'):
        matched_items(task_of(tmp_path, lines([{"id": "a", "question": "x"}]), KEYS))
    with pytest.raises(DataError, match=r'task-items\.jsonl:2: has the id "a", as .*task-items\.jsonl:1 has'):
        matched_items(task_of(tmp_path, lines([ROWS[0], ROWS[0]]), KEYS))


def test_every_answer_of_gsm8k_can_be_compared(data: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (data / "eval/gsm8k.jsonl").read_text().splitlines()]
    items = matched_items(task_of(tmp_path, lines(rows), KEYS))
    assert len(items) == 200
    assert [marked_number(item.answer) for item in items] == [row["final"].replace(",", "") for row in rows]
