"""Items whose answer is a program: the files of HumanEval and MBPP.

HumanEval (Chen et al. 2021, arXiv 2107.03374; github.com/openai/human-eval) gives the head of a function, which the
model completes. MBPP (Austin et al. 2021, arXiv 2108.07732; google-research/mbpp) gives a task in words and tests; its
edited half, "sanitized", has other names for the same things. Which of them a line is shows in its keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.io.streams import Source, decompressed

HUMANEVAL_STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Chen et al. 2021, section 3.2: a completion ends where something other than the function begins."""

MBPP_STOP = ("[DONE]",)
"""Of the prompt's format, google-research/mbpp/README.md."""

MBPP_EXAMPLES = (2, 3, 4)
"""Task ids of the solved tasks before the question, in that order (same place)."""

MBPP_PROMPT_IDS = range(1, 11)
"""Task ids that serve as examples only (same place)."""


@dataclass(frozen=True, slots=True)
class ProgramItem:
    """One exercise.

    Attributes:
        key: its task_id as text. place: file:line.
        prompt: what the model reads. stop: texts before which its answer ends.
        before, after: what stands around the answer in the program that is run; the tests are in `after`.
        solution: the answer that came with the item.
    """

    key: str
    place: str
    prompt: str
    stop: tuple[str, ...]
    before: str
    after: str
    solution: str

    def program(self, answer: str) -> str:
        """What is run for an answer; it comes to its end if the tests pass."""
        return self.before + answer + "\n" + self.after


def read_programs(path: Path, *, num_examples: int = 0) -> list[ProgramItem]:
    """The items of a file of HumanEval or MBPP: JSON lines, or one JSON list as MBPP's sanitized file is published.

    It may be compressed with gzip, as HumanEval's is published, or zstd.

    Args:
        num_examples: of MBPP, solved tasks before each question, 0 to 3: those of task ids 2, 3 and 4. With any,
            task ids 1 to 10 are not asked.

    Raises:
        UsageError: no such file; examples for HumanEval, or more than there are.
        DataError: a line that is neither, both kinds in one file, a task_id twice, or no items; names file and line.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file.")
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path}: no items. HumanEval and MBPP have a JSON object on each line.")
    is_humaneval = "entry_point" in rows[0][1]
    for place, row in rows:
        if ("entry_point" in row) != is_humaneval:
            raise DataError(f"{place}: {_kind(row)}, but the first item is {_kind(rows[0][1])}; a file has one kind.")
    items = [_humaneval_item(place, row) if is_humaneval else _mbpp_item(place, row) for place, row in rows]
    seen: dict[str, str] = {}
    for item in items:
        if item.key in seen:
            raise DataError(f"{item.place}: task_id {item.key!r} is also that of {seen[item.key]}.")
        seen[item.key] = item.place
    if num_examples and is_humaneval:
        raise UsageError(f"{path}: HumanEval is asked without examples; num_examples is {num_examples}.")
    return _with_examples(path, items, num_examples=num_examples) if num_examples else items


def _kind(row: dict[str, Any]) -> str:
    return 'of HumanEval (it has "entry_point")' if "entry_point" in row else 'of MBPP (it has no "entry_point")'


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with open(path, "rb") as file:
        data = b"".join(decompressed(Source(file)))
    if data.lstrip()[:1] == b"[":
        whole = _parsed(data, str(path))
        listed = [(f"{path}: item {number}", row) for number, row in enumerate(whole, 1)]
    else:
        lines = enumerate(data.split(b"\n"), 1)
        listed = [(f"{path}:{number}", _parsed(line, f"{path}:{number}")) for number, line in lines if line.strip()]
    for place, row in listed:
        if not isinstance(row, dict):
            raise DataError(f"{place}: not a JSON object: {json.dumps(row)[:60]}")
        yield place, row


def _parsed(data: bytes, place: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON: {error}") from None


def _humaneval_item(place: str, row: dict[str, Any]) -> ProgramItem:
    prompt, entry_point = _text(row, "prompt", place), _text(row, "entry_point", place)
    if not entry_point.isidentifier():
        raise DataError(f'{place}: "entry_point" is {entry_point!r}; it must be the name of a function.')
    return ProgramItem(
        key=_key(row, place),
        place=place,
        prompt=prompt,
        stop=HUMANEVAL_STOP,
        before=prompt,
        after=f"{_text(row, 'test', place)}\ncheck({entry_point})\n",
        solution=_text(row, "canonical_solution", place),
    )


def _with_examples(path: Path, items: list[ProgramItem], *, num_examples: int) -> list[ProgramItem]:
    if not 0 < num_examples <= len(MBPP_EXAMPLES):
        raise UsageError(f"num_examples is {num_examples}; MBPP has 0 to {len(MBPP_EXAMPLES)} examples.")
    by_key = {item.key: item for item in items}
    wanted = [str(number) for number in MBPP_EXAMPLES[:num_examples]]
    for key in wanted:
        if key not in by_key:
            raise DataError(
                f"{path}: no task_id {key}, which {num_examples} examples need (they are {', '.join(wanted)})."
            )
    shown = "".join(f"{by_key[key].prompt}{by_key[key].solution}\n[DONE]\n\n" for key in wanted)
    kept_back = {str(number) for number in MBPP_PROMPT_IDS}
    asked = [item for item in items if item.key not in kept_back]
    if not asked:
        raise DataError(f"{path}: every item is one of task ids 1 to 10, which serve as examples.")
    return [replace(item, prompt=shown + item.prompt) for item in asked]


def _mbpp_item(place: str, row: dict[str, Any]) -> ProgramItem:
    words = _text(row, "text" if "text" in row else "prompt", place)
    tests = _texts(row, "test_list", place)
    if not tests:
        raise DataError(f'{place}: "test_list" is empty; without tests every program would pass.')
    # It may use what the answer defines (nodes of a tree, say), so it stands after the answer.
    setup = _texts(row, "test_imports", place) if "test_imports" in row else [_text(row, "test_setup_code", place)]
    shown = "\n".join(tests)
    prompt = (
        f"You are an expert Python programmer, and here is your task: {words} Your code should pass these tests:"
        f"\n\n{shown}\n[BEGIN]\n"
    )
    return ProgramItem(
        key=_key(row, place),
        place=place,
        prompt=prompt,
        stop=MBPP_STOP,
        before="",
        after="\n".join((*setup, *tests)) + "\n",
        solution=_text(row, "code", place),
    )


def _key(row: dict[str, Any], place: str) -> str:
    key = row.get("task_id")
    if isinstance(key, bool) or not isinstance(key, int | str) or key == "":
        raise DataError(f'{place}: "task_id" is {key!r}; it must be a text or a whole number.')
    return str(key)


def _text(row: dict[str, Any], key: str, place: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise DataError(f'{place}: "{key}" must be a text; {_found(row, key)}.')
    return value


def _texts(row: dict[str, Any], key: str, place: str) -> list[str]:
    value = row.get(key)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise DataError(f'{place}: "{key}" must be a list of texts; {_found(row, key)}.')
    return value


def _found(row: dict[str, Any], key: str) -> str:
    if key in row:
        return f"it is {row[key]!r}"[:80]
    return f"the line has: {', '.join(sorted(row)) or 'nothing'}"
