from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.evals.template import Template


def test_keys_are_filled() -> None:
    template = Template("About {subject|words}: {question} {{not {n}}}", key="task.yaml: prompt")
    assert template.keys == ("subject", "question", "n")
    values = {"subject": "abstract_algebra", "question": "Is {x}_y?", "n": 3, "unused": None}
    assert template.fill(values, place="t:1") == "About abstract algebra: Is {x}_y? {not 3}"


@given(st.text(), st.text())
def test_any_text_can_be_written_and_filled_in(text: str, value: str) -> None:
    written = re.sub(r"[{}]", lambda brace: brace[0] * 2, text) + "{key}"
    assert Template(written, key="k").fill({"key": value}, place="p") == text + value


@pytest.mark.parametrize("text", ["{", "a } b", "{a b}", "{a|upper}", "{}", "{{{", "{0}"])
def test_a_brace_that_belongs_to_nothing_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"^task\.yaml: prompt: .* has a '[{}]' that belongs to nothing, at character"):
        Template(text, key="task.yaml: prompt")


@pytest.mark.parametrize(
    ("values", "shown"), [({"b": 1}, "the item has: b"), ({"a": [1]}, r"it is \[1\]"), ({"a": True}, "True")]
)
def test_what_an_item_lacks_is_named(values: dict[str, object], shown: str) -> None:
    with pytest.raises(DataError, match=rf't:4: the prompt asks for "a", a text; .*{shown}'):
        Template("{a}", key="k").fill(values, place="t:4")
