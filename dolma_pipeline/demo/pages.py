"""Documentation pages out of source code: the docstrings of a module, its classes and functions, as Markdown.

The module is parsed, never imported. Parsing costs about 4 MB of code per second, so `is_documented` looks
first whether there is enough between triple quotes to be worth it (about 500 MB per second).
"""

from __future__ import annotations

import ast
import re
import warnings

_QUOTED = re.compile(r'"""(.*?)"""', re.DOTALL)

MIN_DOC_SHARE = 0.25
"""Share of a module's characters that must stand between triple quotes for it to become a page."""


def is_documented(code: str, *, min_share: float = MIN_DOC_SHARE) -> bool:
    """Whether at least `min_share` (0..1) of the characters of `code` stand between triple quotes."""
    return sum(len(match[1]) for match in _QUOTED.finditer(code)) >= min_share * max(1, len(code))


def module_name(path: str) -> str | None:
    """Dotted name of the module at `path` (`json/decoder.py`); None if it is private, a test or not a module."""
    parts = path.removesuffix(".py").split("/")
    if parts[-1] == "__init__":
        parts.pop()
    if not parts or path == parts[-1] or not all(part.isidentifier() for part in parts):
        return None
    if any(part.startswith(("_", "test")) or part in ("conftest", "tests") for part in parts):
        return None
    return ".".join(parts)


def documentation_page(name: str, code: str) -> str | None:
    """The docstrings of module `name`, in the order of its code, under headings; None if there is none.

    Private names (`_x`) and what is defined inside a function are left out. Code that does not parse in the
    running version of Python has no page.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last: nested too deep for the parser
        return None
    sections = _sections(tree, prefix="", level=2)
    opening = ast.get_docstring(tree)
    if opening:
        sections.insert(0, opening)
    return "\n\n".join([f"# {name}", *sections]) + "\n" if sections else None


def _sections(owner: ast.Module | ast.ClassDef, *, prefix: str, level: int) -> list[str]:
    sections: list[str] = []
    for node in owner.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        doc = ast.get_docstring(node)
        inner: list[str] = []
        if isinstance(node, ast.ClassDef):
            title = f"class {prefix}{node.name}"
            inner = _sections(node, prefix=f"{prefix}{node.name}.", level=level + 1)
        else:
            title = f"{prefix}{node.name}({', '.join(_parameters(node))})"
        if doc or inner:
            sections += [f"{'#' * level} {title}", *([doc] if doc else []), *inner]
    return sections


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = node.args
    names = [a.arg for a in [*arguments.posonlyargs, *arguments.args] if a.arg not in ("self", "cls")]
    if arguments.vararg:
        names.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        names.append("*")
    names += [a.arg for a in arguments.kwonlyargs]
    return names + ([f"**{arguments.kwarg.arg}"] if arguments.kwarg else [])
