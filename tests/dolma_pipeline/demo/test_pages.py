from __future__ import annotations

import pytest

from dolma_pipeline.demo.pages import documentation_page, is_documented, module_name

CODE = '''"""A module.

With a second paragraph.
"""

import this_must_not_be_imported


class Box(dict):
    """Holds things."""

    def put(self, thing, /, *where, times=1, **more):
        """Put it in."""
        def inner():
            """Not shown."""

    def undocumented(self):
        return 1

    class Lid:
        def open(self, *, slowly):
            """Opens."""


async def fetch(a, b=2):
    """
        Indented text
        stays together.
    """


def _private():
    """Not shown."""


def silent(): ...
'''

PAGE = """# pkg.box

A module.

With a second paragraph.

## class Box

Holds things.

### Box.put(thing, *where, times, **more)

Put it in.

### class Box.Lid

#### Box.Lid.open(*, slowly)

Opens.

## fetch(a, b)

Indented text
stays together.
"""


def test_a_page_shows_docstrings_in_the_order_of_the_code() -> None:
    assert documentation_page("pkg.box", CODE) == PAGE


@pytest.mark.parametrize(
    "code", ["", "x = 1\n", "def f(): return 1\n", 'print "python 2"\n', "x = (\n", "a\0b", '"""  """\n']
)
def test_code_without_docstrings_or_that_does_not_parse_has_no_page(code: str) -> None:
    assert documentation_page("m", code) is None


def test_code_nested_too_deep_for_the_parser_has_no_page() -> None:
    assert documentation_page("m", "x = " + "-" * 200_000 + "1\n") is None
    assert documentation_page("m", "x = " + "(" * 10_000 + "\n") is None


def test_invalid_escapes_in_the_code_do_not_warn(recwarn: pytest.WarningsRecorder) -> None:
    assert documentation_page("m", '"""Doc."""\nx = "\\d"\n') == "# m\n\nDoc.\n"
    assert not recwarn.list


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("json/decoder.py", "json.decoder"),
        ("json/__init__.py", "json"),
        ("abc.py", "abc"),
        ("__init__.py", None),
        ("json/_private.py", None),
        ("_pkg/module.py", None),
        ("pkg/tests/helpers.py", None),
        ("pkg/test_this.py", None),
        ("pkg/conftest.py", None),
        ("pkg/not-a-module.py", None),
        ("pkg-1.0.dist-info/x.py", None),
        ("pkg/data.txt", None),
        ("README", None),
    ],
)
def test_module_names(path: str, name: str | None) -> None:
    assert module_name(path) == name


def test_documented_means_enough_between_triple_quotes() -> None:
    code = '"""' + "d" * 30 + '"""' + "x" * 64
    assert len(code) == 100
    assert is_documented(code, min_share=0.30)
    assert not is_documented(code, min_share=0.31)
    assert not is_documented("")
