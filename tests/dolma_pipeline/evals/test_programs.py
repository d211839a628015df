from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.evals.programs import HUMANEVAL_STOP, MBPP_STOP, ProgramItem, read_programs

HUMANEVAL = {
    "task_id": "Own/0",
    "prompt": 'def double(n: int) -> int:\n    """Twice n."""\n',
    "entry_point": "double",
    "canonical_solution": "    return 2 * n\n",
    "test": "def check(candidate):\n    assert candidate(3) == 6\n",
}
MBPP = {
    "task_id": 11,
    "text": "Write a function to double a number.",
    "code": "def double(n):\r\n    return 2 * n",
    "test_list": ["assert double(3) == 6", "assert double(TWO) == 4"],
    "test_setup_code": "TWO = double(1)",
    "challenge_test_list": [],
}
SANITIZED = {
    "source_file": "own",
    "task_id": 12,
    "prompt": "Write a function to take the root.",
    "code": "def root(n):\n    return n ** 0.5",
    "test_imports": ["import math"],
    "test_list": ["assert math.isclose(root(2) ** 2, 2)"],
}


def read(folder: Path, *rows: Any, **options: int) -> list[ProgramItem]:
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_programs(path, **options)


def runs(program: str) -> bool:
    """In this process: what is run here was written here."""
    try:
        exec(program, {})
    except AssertionError:
        return False
    return True


def test_an_item_of_humaneval(tmp_path: Path) -> None:
    (item,) = read(tmp_path, HUMANEVAL)
    assert (item.key, item.place) == ("Own/0", f"{tmp_path}/items.jsonl:1")
    assert (item.prompt, item.stop) == (HUMANEVAL["prompt"], HUMANEVAL_STOP)
    assert item.program("    return n + n") == (
        'def double(n: int) -> int:\n    """Twice n."""\n    return n + n\n'
        "def check(candidate):\n    assert candidate(3) == 6\n\ncheck(double)\n"
    )
    assert runs(item.program(item.solution))
    assert not runs(item.program("    return n"))


def test_an_item_of_mbpp(tmp_path: Path) -> None:
    (item,) = read(tmp_path, MBPP)
    assert (item.key, item.stop) == ("11", MBPP_STOP)
    assert item.prompt == (
        "You are an expert Python programmer, and here is your task: Write a function to double a number. Your code"
        " should pass these tests:\n\nassert double(3) == 6\nassert double(TWO) == 4\n[BEGIN]\n"
    )
    assert item.program("def double(n): return n") == (
        "def double(n): return n\nTWO = double(1)\nassert double(3) == 6\nassert double(TWO) == 4\n"
    )
    assert runs(item.program(item.solution))
    assert not runs(item.program("def double(n): return 6"))


def test_an_item_of_mbpps_edited_half_in_a_list(tmp_path: Path) -> None:
    path = tmp_path / "sanitized-mbpp.json"
    path.write_text(json.dumps([SANITIZED, SANITIZED | {"task_id": 13}], indent=1))
    first, second = read_programs(path)
    assert "task: Write a function to take the root. Your code" in first.prompt
    assert runs(first.program(first.solution))
    assert not runs(first.program("def root(n): return n"))
    assert (second.key, second.place) == ("13", f"{path}: item 2")


def test_solved_tasks_before_the_question(tmp_path: Path) -> None:
    rows = [
        MBPP | {"task_id": number, "text": f"Task {number}.", "code": f"# {number}", "test_list": [f"{number}"]}
        for number in (1, 2, 3, 4, 10, 11, 12)
    ]

    def shown(number: int) -> str:
        return (
            f"You are an expert Python programmer, and here is your task: Task {number}. Your code should pass these"
            f" tests:\n\n{number}\n[BEGIN]\n"
        )

    items = read(tmp_path, *rows, num_examples=3)
    assert [item.key for item in items] == ["11", "12"]
    solved = "".join(f"{shown(number)}# {number}\n[DONE]\n\n" for number in (2, 3, 4))
    assert [item.prompt for item in items] == [solved + shown(11), solved + shown(12)]
    assert [item.before for item in items] == ["", ""]  # they are not run
    (item, _) = read(tmp_path, *rows, num_examples=1)
    assert item.prompt == f"{shown(2)}# 2\n[DONE]\n\n{shown(11)}"
    assert len(read(tmp_path, *rows)) == 7


@pytest.mark.parametrize("number", [-1, 4])
def test_more_solved_tasks_than_there_are(tmp_path: Path, number: int) -> None:
    with pytest.raises(UsageError, match=f"num_examples is {number}; MBPP has 0 to 3 examples"):
        read(tmp_path, MBPP, num_examples=number)


def test_solved_tasks_that_do_not_fit_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="HumanEval is asked without examples; num_examples is 1"):
        read(tmp_path, HUMANEVAL, num_examples=1)
    with pytest.raises(DataError, match=r"no task_id 3, which 3 examples need \(they are 2, 3, 4\)"):
        read(tmp_path, MBPP | {"task_id": 2}, MBPP, num_examples=3)
    with pytest.raises(DataError, match="every item is one of task ids 1 to 10"):
        read(tmp_path, MBPP | {"task_id": 2}, num_examples=1)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (HUMANEVAL | {"prompt": 3}, '"prompt" must be a text; it is 3'),
        ({"task_id": 1, "entry_point": "f", "prompt": ""}, '"test" must be a text; the line has: entry_point, prompt'),
        (HUMANEVAL | {"canonical_solution": None}, '"canonical_solution" must be a text; it is None'),
        (HUMANEVAL | {"entry_point": "f(); evil"}, '"entry_point" is .*must be the name of a function'),
        (HUMANEVAL | {"task_id": None}, '"task_id" is None; it must be a text or a whole number'),
        (HUMANEVAL | {"task_id": True}, '"task_id" is True'),
        (HUMANEVAL | {"task_id": ""}, "\"task_id\" is ''"),
        (MBPP | {"test_list": "assert"}, "\"test_list\" must be a list of texts; it is 'assert'"),
        (MBPP | {"test_list": [1]}, r'"test_list" must be a list of texts; it is \[1\]'),
        (MBPP | {"test_list": []}, '"test_list" is empty; without tests every program would pass'),
        (MBPP | {"code": 1}, '"code" must be a text; it is 1'),
        (MBPP | {"test_setup_code": 1}, '"test_setup_code" must be a text; it is 1'),
        (SANITIZED | {"test_imports": "import math"}, "\"test_imports\" must be a list of texts; it is 'import math'"),
        ({}, '"prompt" must be a text; the line has: nothing'),
        (3, "not a JSON object: 3"),
        ("a", 'not a JSON object: "a"'),
    ],
)
def test_a_line_that_is_no_item(tmp_path: Path, row: Any, words: str) -> None:
    with pytest.raises(DataError, match=rf"items.jsonl:1: {words}"):
        read(tmp_path, row)
    if isinstance(row, dict):
        good = HUMANEVAL if "entry_point" in row else MBPP
        with pytest.raises(DataError, match=rf"items.jsonl:2: {words}"):
            read(tmp_path, good, row)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent.jsonl: no such file"):
        read_programs(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match=r"items.jsonl: no items"):
        read(tmp_path)
    (tmp_path / "broken.jsonl").write_text(json.dumps(MBPP) + "\n\n{")
    with pytest.raises(DataError, match=r"broken.jsonl:3: not JSON"):
        read_programs(tmp_path / "broken.jsonl")
    (tmp_path / "list.json").write_text('[{"entry_point": ]')
    with pytest.raises(DataError, match=r"list.json: not JSON"):
        read_programs(tmp_path / "list.json")


def test_two_kinds_or_one_item_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r":2: of MBPP .*the first item is of HumanEval"):
        read(tmp_path, HUMANEVAL, MBPP)
    with pytest.raises(DataError, match=r":2: of HumanEval .*the first item is of MBPP"):
        read(tmp_path, MBPP, HUMANEVAL)
    with pytest.raises(DataError, match=r"items.jsonl:3: task_id '11' is also that of .*items.jsonl:1"):
        read(tmp_path, MBPP, SANITIZED, MBPP | {"task_id": "11"})


def test_humaneval_as_published(data: Path) -> None:
    items = read_programs(data / "eval/humaneval.jsonl")
    assert len(items) == 82
    for item in items:
        assert item.before == item.prompt
        compile(item.program(item.solution), item.key, "exec")


def test_a_compressed_file_as_humaneval_is_published(tmp_path: Path) -> None:
    path = tmp_path / "HumanEval.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(HUMANEVAL).encode()))
    (item,) = read_programs(path)
    assert (item.key, item.place) == ("Own/0", f"{path}:1")
