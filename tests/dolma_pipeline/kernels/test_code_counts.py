"""Tokens against a regular expression, and heads of files case by case."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.code_counts import copyright_headers, count_tokens
from dolma_pipeline.kernels.comments import Syntax, find_comments, syntax_table


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=30), min_size=1, max_size=3))
def test_tokens_equal_a_regular_expression(texts: list[str]) -> None:
    batch = Batch.of(texts)
    assert count_tokens(batch.text).tolist() == [len(re.findall(r"\w+|[^\w\s]+", text)) for text in texts]
    part = Batch(batch.table.slice(1))
    assert count_tokens(part.text).tolist() == count_tokens(batch.text).tolist()[1:]


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("# Copyright é\n# more\n\n# other\nx", "# Copyright é\n# more"),
        ("# a tool\n\n# some LICENSE\nx", "# some LICENSE"),
        ("\ufeff\n/* licence */ /* b */\nx // copyright", "/* licence */ /* b */"),
        ("<?php\n/* copyright */", "/* copyright */"),
        ("x = 1\n# copyright", ""),
        ("# a\nx\n# copyright", ""),
        ("# copyright\n/* a */\nx", "# copyright"),
        ("# copy right, licen\n", ""),
        ("# a\n# b\n\n\n/* c\n copyright\n*/\n# d", "/* c\n copyright\n*/"),
        ("", ""),
    ],
)
def test_the_comment_at_the_head_that_says_copyright(text: str, header: str) -> None:
    batch = Batch.of(["# copyright", "x", text])
    table = syntax_table([Syntax(line=("#", "//"), block=(("/*", "*/"),))])
    found = copyright_headers(batch.text, find_comments(batch.text, np.zeros(3, np.int64), table)).T.tolist()
    assert found[0] == [0, 0, 11]
    data, offset = text.encode(), int(batch.text.offsets[2])
    assert [data[start - offset : end - offset].decode() for _, start, end in found[1:]] == [header] * bool(header)
