"""Which language metadata tell."""

from __future__ import annotations

import pytest

from dolma_pipeline.kernels.comments import syntax_table
from taggers.code_languages import LANGUAGES, NAMES, language_of, syntaxes


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("Python", None, "python"),
        ("C++", "a.py", "c++"),
        ("cpp", None, "c++"),
        ("Emacs Lisp", None, "emacs-lisp"),
        ("en", "https://example.org/a/b.RS?raw=1#L2", "rust"),
        (None, "src/Makefile", "makefile"),
        (None, "py", "python"),
        (None, ".py", "python"),
        ("en", "page", ""),
        (3, ["a.py"], ""),
        (None, None, ""),
    ],
)
def test_language(name: object, path: object, expected: str) -> None:
    assert language_of(name, path) == expected


def test_no_name_and_no_extension_is_given_to_two_languages() -> None:
    for at in (0, 1):
        words = [word for name, entry in LANGUAGES.items() for word in entry[at].split() + [name] * (at == 0)]
        assert len(words) == len(set(words))


def test_every_syntax_fits_the_kernel() -> None:
    assert syntax_table(syntaxes()).shape[0] == len(NAMES)
    for syntax in syntaxes():
        assert len(syntax.line) <= 2
        assert len(syntax.block) <= 2
        assert all(len(marker.encode()) <= 4 for marker in [*syntax.line, *sum(syntax.block, ())])
        assert set(syntax.long) <= set(syntax.quotes)
