"""Dolma's JSONPath filters as SQL: `$.attributes[?(@.exp__tagger__type[0][2] < 0.5)]` and the like.

What a filter of Dolma's matches is one object, `attributes` or `metadata`: then the question in `[?(…)]` is asked of
it. Known are `&&`, `||`, `!`, brackets, comparisons with a number or text, and paths alone, for what must be there.
`!=` is not translated: of what is not there the library that Dolma uses says neither this nor that reliably. Nor are
`<`, `<=`, `>` and `>=` of texts, which it does not order: the first and third would never be true.
"""

from __future__ import annotations

from dolma_pipeline.migrate import sql
from dolma_pipeline.migrate.reader import Reader
from dolma_pipeline.migrate.sql import OPERATORS, Path, Untranslatable


def jsonpath_sql(expression: str) -> str:
    """SQL that is true where the expression matches something.

    Raises:
        Untranslatable: what is not known, and what was found.
    """
    reader = Reader(expression)
    base = _root(reader)
    if not reader.take("[?("):
        reader.end()
        return sql.exists(base)
    if base not in (("attributes",), ("metadata",)):
        raise Untranslatable(f"a question of {sql.shown(base)}: one of `$.attributes` or `$.metadata` is known")
    asked = _either(reader, base)
    reader.expect(")", "]")
    reader.end()
    return asked


def jsonpath_spans(expression: str) -> str:
    """The span field `ATTRIBUTE.FIELD` that an expression such as `$.attributes.name` names.

    Raises:
        Untranslatable: it names something else.
    """
    reader = Reader(expression)
    path = _root(reader)
    reader.end()
    return sql.spans_of(path)


def _root(reader: Reader) -> Path:
    if not (reader.take("$@") or reader.take("$")):
        raise reader.unknown("expected '$'")
    return _path(reader)


def _path(reader: Reader) -> Path:
    path: list[str | int] = []
    while True:
        if reader.take("."):
            if reader.kind() != "name":
                raise reader.unknown("expected a name behind '.'")
            path.append(reader.word())
        elif reader.take("["):
            path.append(reader.in_brackets())
        else:
            return tuple(path)


def _either(reader: Reader, base: Path) -> str:
    terms = [_both(reader, base)]
    while reader.take("||"):
        terms.append(_both(reader, base))
    return sql.any_of(terms)


def _both(reader: Reader, base: Path) -> str:
    terms = [_one(reader, base)]
    while reader.take("&&"):
        terms.append(_one(reader, base))
    # `@.a && @.a[0] && @.a[0][2] > 1` says the first two only so that the third can be asked.
    needed = [term for at, term in enumerate(terms) if not any(_implies(other, term) for other in terms[at + 1 :])]
    return sql.all_of(needed)


def _implies(other: str, term: str) -> bool:
    """Whether a later term can be true only where `term`, that a list is not empty, is."""
    if not term.startswith("len(") or not term.endswith(") > 0"):
        return False
    field = term[len("len(") : -len(") > 0")]
    return other == term or other.startswith((f"{term} AND ", f"score({field}) ", f"len({field}) > "))


def _one(reader: Reader, base: Path) -> str:
    if reader.take("!"):
        return sql.none_of(_one(reader, base))
    if reader.take("("):
        asked = _either(reader, base)
        reader.expect(")")
        return asked
    reader.expect("@")
    path = (*base, *_path(reader))
    sign = reader.sign(OPERATORS)
    if sign is None:
        return sql.exists(path)
    if sign == "!=":
        raise Untranslatable("!= is not translated; write what it must be, or `!(… == …)`")
    return sql.compare(path, sign, reader.literal())
