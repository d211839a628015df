"""Comments against Python's own tokenizer, against a regular expression, and case by case for other languages."""

from __future__ import annotations

import ast
import io
import re
import tokenize

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.comments import BLOCK, DOCSTRING, LINE, Syntax, find_comments, syntax_table

PYTHON = Syntax(line=("#",), triple=True)
C = Syntax(line=("//",), block=(("/*", "*/"),))
SHELL = Syntax(line=("#",), at_word=True, long="\"'")
LUA = Syntax(line=("--",), block=(("--[[", "]]"),))
RUST = Syntax(line=("//",), block=(("/*", "*/"),), quotes='"', char=True, long='"')
HTML = Syntax(block=(("<!--", "-->"),), quotes="")
JULIA = Syntax(line=("#",), block=(("#=", "=#"),), quotes='"')


def comments(text: str, syntax: Syntax) -> list[tuple[int, str]]:
    batch = Batch.of(["x", text])
    found = find_comments(batch.text, np.array([-1, 0]), syntax_table([syntax]))
    data = text.encode()
    offset = int(batch.text.offsets[1])
    assert set(found.rows.tolist()) <= {1}
    return [
        (kind, data[start - offset : end - offset].decode())
        for start, end, kind in zip(found.starts.tolist(), found.ends.tolist(), found.kinds.tolist(), strict=True)
    ]


@pytest.mark.parametrize(
    ("syntax", "text", "expected"),
    [
        (
            C,
            'é = "// no"; // yes é\n/* a\n b */ x /* open',
            [(LINE, "// yes é"), (BLOCK, "/* a\n b */"), (BLOCK, "/* open")],
        ),
        (C, "c = '\"'; // a\nit's // b\n", [(LINE, "// a")]),
        (C, '"a\\"// no" // yes', [(LINE, "// yes")]),
        (C, "/*/ not closed here */ x", [(BLOCK, "/*/ not closed here */")]),
        (SHELL, "#!/bin/sh\necho $# ${a#b} 'x\n# y' # z", [(LINE, "#!/bin/sh"), (LINE, "# z")]),
        (LUA, "x = 1 -- a\n--[[ b\nc ]] y", [(LINE, "-- a"), (BLOCK, "--[[ b\nc ]]")]),
        (RUST, "fn f<'a>(x: &'a str) { '\"' } // c\n'\\'' // d", [(LINE, "// c"), (LINE, "// d")]),
        (HTML, "<p>it's</p><!-- a\n--><!---->", [(BLOCK, "<!-- a\n-->"), (BLOCK, "<!---->")]),
        (JULIA, '# a\n#= b\n=# "#"', [(LINE, "# a"), (BLOCK, "#= b\n=#")]),
        (PYTHON, '"""é"""\nx = """# no"""  # a', [(DOCSTRING, '"""é"""'), (LINE, "# a")]),
        (
            PYTHON,
            "def f():\n    r'''a\n\nb'''\n    'c'\n    'd'.e()\n",
            [(DOCSTRING, "'''a\n\nb'''"), (DOCSTRING, "'c'")],
        ),
        (PYTHON, "f(\n'a',\n  # b\n'c'\n)\nx = \\\n'd'\n'e' ; 1", [(LINE, "# b"), (DOCSTRING, "'e'")]),
        (PYTHON, "'\\\n# a'\n", [(DOCSTRING, "'\\\n# a'")]),
    ],
)
def test_comments_of_languages(syntax: Syntax, text: str, expected: list[tuple[int, str]]) -> None:
    assert comments(text, syntax) == expected


def test_documents_of_no_language_have_none_and_none_goes_on_in_the_next() -> None:
    batch = Batch.of(["/* a", "b */ // c", "// d"])
    found = find_comments(batch.text, np.array([0, 0, -1]), syntax_table([C]))
    assert found.rows.tolist() == [0, 1]


PLAIN_C = re.compile(
    r'//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:\\.|[^"\\\n])*(?:"|\\?\Z|(?=\n))|\'(?:\\.|[^\'\\\n])*(?:\'|\\?\Z|(?=\n))', re.DOTALL
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["/", "*", '"', "'", "\\", "\n", "a", "é", " ", "//", "/*", "*/"]), max_size=30).map(
        "".join
    )
)
def test_equal_to_a_regular_expression(text: str) -> None:
    expected = [m[0] for m in PLAIN_C.finditer(text) if m[0][0] == "/"]
    assert [found for _, found in comments(text, C)] == expected


def test_many_comments() -> None:
    assert comments("# a\n" * 500, PYTHON) == [(LINE, "# a")] * 500


def test_comments_and_docstrings_of_real_python_are_those_of_its_own_parser(data: object, all_texts: list[str]) -> None:
    checked = 0
    for text in all_texts:
        if "import " not in text or not text.isascii() or len(text) > 30_000 or "\r" in text or "\f" in text:
            continue
        try:
            tree = ast.parse(text)
            tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        except (SyntaxError, tokenize.TokenError):
            continue
        found = comments(text, PYTHON)
        assert [c for kind, c in found if kind == LINE] == [t.string for t in tokens if t.type == tokenize.COMMENT]
        statements = [n.value for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
        strings = sorted((n.lineno, ast.get_source_segment(text, n)) for n in statements if isinstance(n.value, str))
        alone = [s.lstrip("rRbBuUfF") for _, s in strings if s is not None and not re.search(r"[\"']\s*\n\s*[\"']", s)]
        docstrings = [c for kind, c in found if kind == DOCSTRING]
        assert [c for c in docstrings if c not in alone] == [] or len(alone) != len(strings)
        assert [c for c in alone if c not in docstrings] == []
        checked += 1
        if checked == 60:
            break
    assert checked == 60
