"""Dolma's jq filters as SQL: `.attributes.exp__tagger__type[0][2] >= 0.5 and .metadata.votes > 3` and the like.

Known are `and`, `or`, `… | not`, brackets, comparisons with a number, text or null, `(… | length)`, and attributes
alone, which are true where there is a span. jq orders values of unlike types, null before all others, and takes keys of
metadata that are not there for null; so does what stands here. Of an attribute that is not there Dolma makes an error
of the whole shard, or with `?` nothing at all; here it is false. `or` behind a `?`, and `not`, would then say something
else, and are refused.
"""

from __future__ import annotations

from dolma_pipeline.migrate import sql
from dolma_pipeline.migrate.reader import Reader
from dolma_pipeline.migrate.sql import OPERATORS, Path, Untranslatable


def jq_sql(expression: str) -> str:
    """SQL that is true where the expression is.

    Raises:
        Untranslatable: what is not known, and what was found.
    """
    reader = Reader(expression)
    asked = _Jq(reader).piped()
    reader.end()
    return asked


def jq_spans(expression: str) -> str:
    """The span field `ATTRIBUTE.FIELD` that an expression such as `.attributes.name` names.

    Raises:
        Untranslatable: it names something else.
    """
    reader = Reader(expression)
    path = _Jq(reader).path()
    reader.end()
    return sql.spans_of(path)


class _Jq:
    """Reads one expression; `optional` says whether a `?` was met so far."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.optional = False

    def piped(self) -> str:
        asked = self.either()
        while self.reader.take("|", "not"):
            if self.optional:
                raise Untranslatable("`not` of a path with `?`: where nothing is there jq gives nothing, not true")
            asked = sql.none_of(asked)
        return asked

    def either(self) -> str:
        terms = [self.both()]
        while self.reader.take("or"):
            if self.optional:
                raise Untranslatable("`or` behind a path with `?`: where nothing is there jq does not look further")
            terms.append(self.both())
        return sql.any_of(terms)

    def both(self) -> str:
        terms = [self.one()]
        while self.reader.take("and"):
            terms.append(self.one())
        return sql.all_of(terms)

    def one(self) -> str:
        reader = self.reader
        if reader.next_is("("):
            counted = self.counted()
            if counted is not None:
                return counted
            reader.expect("(")
            asked = self.piped()
            reader.expect(")")
            return asked
        path = self.path()
        sign = reader.sign(OPERATORS)
        if sign is not None:
            return self.compared(path, sign)
        if len(path) == 2 and path[0] == "attributes":
            return sql.exists(path)
        raise Untranslatable(f"{sql.shown(path)} alone: compare it with something")

    def compared(self, path: Path, sign: str) -> str:
        value = self.reader.literal()
        if value is None and path[:1] == ("attributes",) and len(path) == 2 and sign in ("==", "!="):
            asked = sql.exists(path)
            return asked if sign == "!=" else sql.none_of(asked)
        return sql.compare(path, sign, value, ordered=True)

    def counted(self) -> str | None:
        """`(PATH | length) SIGN NUMBER`; None, with nothing read, if it is something else."""
        reader, before, optional = self.reader, self.reader.at, self.optional
        reader.expect("(")
        if reader.next_is("."):
            path = self.path()
            if reader.take("|", "length", ")"):
                sign = reader.sign(OPERATORS)
                if sign is None:
                    raise reader.unknown("expected a comparison behind a length")
                return sql.count(path, sign, reader.literal())
        reader.at, self.optional = before, optional
        return None

    def path(self) -> Path:
        reader = self.reader
        path: list[str | int] = []
        if not reader.next_is("."):
            raise reader.unknown("expected a path")
        while True:
            if reader.take("?"):
                self.optional = True
            elif reader.take("."):
                if reader.kind() != "name" and not reader.next_is("["):
                    raise reader.unknown("expected a name behind '.'")
                if reader.kind() == "name":
                    path.append(reader.word())
            elif reader.take("["):
                path.append(reader.in_brackets())
            else:
                return tuple(path)
