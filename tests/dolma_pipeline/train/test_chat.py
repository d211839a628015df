from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.config.recipe import TemplateConfig
from dolma_pipeline.errors import DataError
from dolma_pipeline.train.chat import Message, Template, dialogue_of, pair_of, rows_of
from tests.dolma_pipeline.train.letters import EOS, Letters, text_of

USER, ANSWER = Message("user", "Hi?"), Message("assistant", "Yes!")


def marked(template: Template, messages: list[Message], **more: bool) -> str:
    """A dialogue as text, with brackets around what is scored; `$` is EOS."""
    (found,) = template.encode([messages], **more)
    shown, inside = "", False
    for id_, scored in zip(found.ids.tolist(), found.scored.tolist(), strict=True):
        if scored != inside:
            shown, inside = shown + ("[" if scored else "]"), scored
        shown += "$" if id_ == EOS else text_of([id_])
    return shown + "]" * inside


@pytest.fixture
def template() -> Template:
    return Template(TemplateConfig(), Letters(), EOS)


def test_answers_and_their_eos_are_scored_and_nothing_else(template: Template) -> None:
    messages = [Message("system", "Be kind."), USER, ANSWER, USER, Message("assistant", "No.")]
    assert marked(template, messages) == (
        "$<|system|>\nBe kind.\n<|user|>\nHi?\n<|assistant|>\n[Yes!$]\n<|user|>\nHi?\n<|assistant|>\n[No.$]\n"
    )


def test_only_the_last_answer_of_a_pair_is_scored(template: Template) -> None:
    messages = [USER, ANSWER, USER, ANSWER]
    shown = marked(template, messages, last_only=True)
    assert shown == "$<|user|>\nHi?\n<|assistant|>\nYes!$\n<|user|>\nHi?\n<|assistant|>\n[Yes!$]\n"


def test_a_special_token_in_a_message_is_text_and_in_a_template_is_itself() -> None:
    """`Letters` has <eos> and <turn> as special tokens."""
    config = TemplateConfig(user="<turn>{content}<turn>", assistant="<turn>{content}")
    template = Template(config, Letters(), EOS)
    (found,) = template.encode([[Message("user", "a<turn>b"), Message("assistant", "c<eos>")]])
    special = [id_ for id_ in found.ids.tolist() if id_ < 2]
    assert special == [EOS, 1, 1, 1, EOS]
    assert text_of(found.ids.tolist()) == "a<turn>bc<eos>"


def test_text_that_is_met_again_keeps_its_own_mark(template: Template) -> None:
    assert marked(template, [Message("user", "x"), Message("assistant", "x")]) == (
        "$<|user|>\nx\n<|assistant|>\n[x$]\n"
    )


def test_an_answer_without_text_is_its_eos(template: Template) -> None:
    assert marked(template, [Message("assistant", "")]) == "$<|assistant|>\n[$]\n"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes!"}]}, [USER, ANSWER]),
        ({"prompt": "Hi?", "response": "Yes!", "id": 7}, [USER, ANSWER]),
    ],
)
def test_dialogues(row: dict[str, Any], expected: list[Message]) -> None:
    assert dialogue_of(row, place="a:1") == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x"}, r"a:1: has the keys text; expected messages, or prompt and response"),
        ({"prompt": "x"}, r"has the keys prompt; expected"),
        ({"messages": []}, r'messages is not a list of \{"role", "content"\}'),
        ({"messages": "x"}, r"messages is not a list"),
        (
            {"messages": [{"role": "human", "content": "x"}]},
            r'\[0\] is \{"role": "human".*; expected a role of',
        ),
        ({"messages": [{"role": "user", "content": ["x"]}]}, r"messages\[0\] is .* and content, a text"),
        ({"messages": ["x"]}, r'messages\[0\] is "x"; expected'),
        ({"prompt": 1, "response": "x"}, r"a:1: prompt is not a text"),
    ],
)
def test_what_is_no_dialogue(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dialogue_of(row, place="a:1")


WHOLE = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes!"}]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi?", "chosen": "Yes!", "rejected": "No."},
        {"prompt": WHOLE[:1], "chosen": WHOLE[1:], "rejected": "No."},
        {"prompt": "Hi?", "chosen": WHOLE, "rejected": [*WHOLE[:1], {"role": "assistant", "content": "No."}]},
        {"chosen": WHOLE, "rejected": [*WHOLE[:1], {"role": "assistant", "content": "No."}]},
    ],
)
def test_the_forms_of_a_pair(row: dict[str, Any]) -> None:
    found = pair_of(row, place="a:1")
    assert found.chosen == [USER, ANSWER]
    assert found.rejected == [USER, Message("assistant", "No.")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "x", "chosen": "a"}, r"has the keys prompt, chosen; expected chosen and rejected"),
        ({"chosen": "a", "rejected": "b"}, r"chosen is an answer, but there is no prompt"),
        (
            {"chosen": WHOLE[:1] * 2, "rejected": WHOLE},
            r"chosen ends with a message of user, expected",
        ),
        ({"chosen": WHOLE, "rejected": [{"role": "user", "content": "?"}, WHOLE[1]]}, r"must share the prompt"),
    ],
)
def test_what_is_no_pair(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        pair_of(row, place="a:1")


def test_rows_of_plain_and_compressed_files(tmp_path: Path) -> None:
    lines = b'{"a": 1}\n\n{"a": "\\n"}'
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines))
    names = [f"{tmp_path}/a.jsonl", f"{tmp_path}/b.jsonl.gz"]
    assert list(rows_of(names)) == [
        (f"{name}:{line}", row) for name in names for line, row in ((1, {"a": 1}), (3, {"a": "\n"}))
    ]


@pytest.mark.parametrize(("line", "message"), [("{", "a.jsonl:2: not JSON"), ("[1]", "a.jsonl:2: found list")])
def test_a_line_that_is_no_row(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(f"{json.dumps({})}\n{line}\n")
    with pytest.raises(DataError, match=message):
        list(rows_of([f"{tmp_path}/a.jsonl"]))
