from __future__ import annotations

from pathlib import Path

import pytest

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.evals.items import read_items

GOOD = '{"id": "a", "context": "Q:", "choices": [" yes", " no"], "gold": 1, "license": "free"}\n'
BETWEEN = (
    '{"id": "b", "context": "unused", "contexts": ["He", "She"], "continuation": " ran.", '
    '"choices": ["He", "She"], "gold": 0}\n'
)


def test_both_kinds_of_items(tmp_path: Path) -> None:
    path = tmp_path / "task.jsonl"
    path.write_text(GOOD + "\n" + BETWEEN)
    first, second = read_items(path)
    assert (first.answers, first.gold) == ((("Q:", " yes"), ("Q:", " no")), 1)
    assert (second.answers, second.gold) == ((("He", " ran."), ("She", " ran.")), 0)
    assert second.place == f"{path}:3"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"id": ', "not JSON: "),
        ("[1]", r"not a JSON object: b'\[1\]'"),
        ('{"id": "x", "question": "?"}', '"choices" must be a list of texts; the line has: id, question'),
        ('{"choices": " yes"}', "\"choices\" must be a list of texts; it is ' yes'"),
        ('{"choices": [" yes", 3], "context": ""}', '"choices" must be a list of texts'),
        ('{"choices": [" yes"], "context": "", "gold": 0}', '"choices" has 1 text; at least 2 are needed'),
        ('{"choices": [" yes", ""], "context": "", "gold": 0}', 'an empty text in "choices" cannot be scored'),
        ('{"choices": [" a", " b"], "gold": 0}', '"context" is None; it must be a text'),
        ('{"choices": [" a", " b"], "context": "", "gold": 2}', '"gold" is 2; it must be a number from 0 to 1'),
        ('{"choices": [" a", " b"], "context": "", "gold": "0"}', "\"gold\" is '0'; it must be a number from 0 to 1"),
        ('{"choices": [" a", " b"], "context": "", "gold": true}', '"gold" is True'),
        ('{"choices": ["a", "b"], "contexts": ["a"], "continuation": "x", "gold": 0}', '1 "contexts" for 2 "choices"'),
        ('{"choices": ["a", "b"], "contexts": ["a", "b"], "gold": 0}', 'needs a text as "continuation"; it is None'),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "task.jsonl"
    path.write_text(GOOD + line + "\n")
    with pytest.raises(DataError, match=rf"task\.jsonl:2: .*{words}"):
        read_items(path)


def test_no_file_and_no_items(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"eval\.tasks: .*none\.jsonl: no such file"):
        read_items(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"empty\.jsonl: no items"):
        read_items(tmp_path / "empty.jsonl")


def test_real_files_are_read_and_others_refused(data: Path) -> None:
    names = ["arc_challenge", "arc_easy", "boolq", "hellaswag", "openbookqa", "piqa", "sciq", "winogrande"]
    assert [len(read_items(data / "eval" / f"{name}.jsonl")) for name in names] == [250] * 8
    with pytest.raises(DataError, match=r'gsm8k\.jsonl:1: "choices" must be a list of texts; the line has: answer'):
        read_items(data / "eval/gsm8k.jsonl")


@pytest.mark.parametrize("key", ["prompt: '{question}'", "answer: ' {choice}'", "neutral: 'Q:'"])
def test_keys_without_effect_on_answers_in_contexts(tmp_path: Path, key: str) -> None:
    (tmp_path / "items.jsonl").write_text(BETWEEN)
    (tmp_path / "task.yaml").write_text(f"items: items.jsonl\n{key}\n")
    with pytest.raises(
        DataError, match=rf'items\.jsonl:1: the item has "contexts", so `{key.partition(":")[0]}` has no'
    ):
        read_items(tmp_path / "task.yaml")
