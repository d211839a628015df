"""`Rules`: which documents pass, by named SQL rules over their columns.

A rule passes a row where it is TRUE; NULL (a failed tagger, a missing key) does not pass, and is counted apart.
Everything that can be known from the columns' types is checked when `Rules` is made; what asks only for the length of
a text or list is rewritten to a column that holds it (`sql.rewrite`).
Cost: to bind 15 rules ~10 ms, ~7 ms once their SQL is known in this process; then one query a call: ~2 ms, and ~10 ns
for each rule and row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.sql.bits import Bits, num_words, pack
from dolma_pipeline.sql.columns import reading_fields
from dolma_pipeline.sql.engine import MAX_MEMORY_BYTES, Engine, engine, first_paragraph
from dolma_pipeline.sql.expressions import Expression, advice, check, compared_texts, foresee, parse, written
from dolma_pipeline.sql.rewrite import Field, Stored, rewritten
from dolma_pipeline.sql.tree import Node

ZERO = "0"
"""A short text that is a number and JSON, to try rules with."""


class Verdict(NamedTuple):
    """What the rules say, bool[num_rules, num_rows] each: `passed` where TRUE, `null` where NULL."""

    passed: NDArray[np.bool_]
    null: NDArray[np.bool_]


def split_where(where: str | Mapping[str, str], *, place: str = "where") -> dict[str, str]:
    """Rules by name: a mapping as it is, a string cut at its top-level ANDs, each part named by its own text.

    Args:
        where: rule -> SQL, or one string.
        place: what messages start with.

    Raises:
        ConfigError: not SQL, or more than an expression.
    """
    if not isinstance(where, str):
        return dict(where)
    terms = [written(place, node) for node in _and_terms(parse(place, where))]
    return {_bare(term): term for term in terms}


class Rules:
    """Named rules, bound to the columns that there are.

    Args:
        where: rule -> SQL, or one string (see `split_where`).
        schema: the columns (`sql.columns.rule_schema`): attributes are structs, with their lists.
        places: rule -> what messages on it start with, such as `my.yaml:16: mix.where.long`; else `where.<rule>`.
        counts: (attribute, field) of a list -> column that holds the number of its items instead, int64.
        scores: (attribute, field) of spans -> column that holds what `score()` gives of them, float32.
        max_memory_bytes: of DuckDB in this process.

    Attributes:
        where: rule -> SQL, as given.
        names: the rules, in order.
        columns: names of the columns that they read, after rewriting (`length(text)` reads `chars`).

    Raises:
        ConfigError: anything but an expression of type BOOLEAN over these columns, or a constant string that cannot
            be what it is compared with or cast to.
    """

    def __init__(
        self,
        where: str | Mapping[str, str],
        schema: pa.Schema,
        *,
        places: Mapping[str, str] | None = None,
        counts: Mapping[Field, str] | None = None,
        scores: Mapping[Field, str] | None = None,
        max_memory_bytes: int = MAX_MEMORY_BYTES,
    ) -> None:
        self.where = split_where(where)
        self.names = tuple(self.where)
        own = {name: f"where.{name}" if name != _bare(text) else "where" for name, text in self.where.items()}
        self._places = own | dict(places or {})
        self._max_memory_bytes = max_memory_bytes
        stored = Stored(counts or {}, scores or {})
        self._schema = pa.schema([*schema, *stored.fields])
        foresee(self.where.values())
        trees = {name: parse(self._places[name], text) for name, text in self.where.items()}
        self._rules = {name: self._rewritten(name, tree, schema, stored) for name, tree in trees.items()}
        self.columns = frozenset(column for column, _ in self.references())
        if not self._fine():
            self._check_types(trees)
            self._check_constants(trees)

    def _rewritten(self, name: str, tree: Node, schema: pa.Schema, stored: Stored) -> Expression:
        place, text = self._places[name], self.where[name]
        plain = check(place, text, tree, schema)
        other = rewritten(tree, schema, stored)
        if other == tree:
            return plain
        try:
            text = written(place, other)
        except ConfigError:  # DuckDB writes it otherwise than it reads it; as it stands it means the same
            return plain
        return check(place, text, other, self._schema, labels=stored.labels)

    def references(self, rule: str | None = None) -> list[tuple[str, str | None]]:
        """What the rules, or this one, read after rewriting: (column, field or None), sorted."""
        used = {reference for bound in self._some(rule) for reference in bound.references}
        return sorted(used, key=lambda reference: (reference[0], reference[1] or ""))

    def reads_text(self, rule: str | None = None) -> bool:
        """Whether the rules, or this one, need a reading of the documents: they name `text` or `extra` themselves."""
        return any(column in reading_fields.names for column, _ in self.references(rule))

    def needs_lists(self, rule: str | None = None) -> frozenset[Field]:
        """Lists (attribute, field) of which the rules, or this one, need the items: no column holds what they ask."""
        return frozenset(field for bound in self._some(rule) for field in bound.lists)

    def _some(self, rule: str | None) -> list[Expression]:
        return list(self._rules.values()) if rule is None else [self._rules[rule]]

    def evaluate(self, table: pa.Table | pa.RecordBatch) -> Verdict:
        """What each rule says of each row.

        Raises:
            DataError: a column that is gone, or a value that a rule cannot take (a CAST that fails).
        """
        if not self.names or table.num_rows == 0:
            shape = (len(self.names), table.num_rows)
            return Verdict(np.zeros(shape, bool), np.zeros(shape, bool))
        answers = self._asked(table)
        return Verdict(np.stack([true for true, _ in answers]), np.stack([null for _, null in answers]))

    def bits(self, table: pa.Table | pa.RecordBatch) -> Bits:
        """The same as bits: `failed` (not TRUE) and `null`, uint64[num_rows, words] each; one query.

        Made for many rows at once (a row group of 131,072): a query costs 2 ms besides.

        Raises:
            DataError: as `evaluate`.
        """
        if not self.names or table.num_rows == 0:
            shape = (table.num_rows, num_words(len(self.names)))
            return Bits(np.zeros(shape, np.uint64), np.zeros(shape, np.uint64))
        answers = self._asked(table)
        return Bits(
            pack([~true for true, _ in answers], table.num_rows), pack([null for _, null in answers], table.num_rows)
        )

    def _asked(self, table: pa.Table | pa.RecordBatch) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        rows, duck = self._rows(table), engine(self._max_memory_bytes)
        try:
            return duck.booleans(_select(self._sql), rows)
        except duck.Error as error:
            raise self._failed(rows, error) from error

    def values(
        self, table: pa.Table | pa.RecordBatch, rows: Sequence[int] | NDArray[np.integer[Any]]
    ) -> list[dict[str, Any]]:
        """What the rules looked at in these rows, a dict each: `{"gopher_v1.word_count": 12, "pii_v1.email": 3}`.

        Lists and texts are given by their length, other strings are cut at 100 characters.
        """
        wanted = {label: value for rule in self._rules.values() for label, value in rule.values.items()}
        if not wanted or len(rows) == 0:
            return [{} for _ in rows]
        chosen = self._rows(table).take(pa.array(np.asarray(rows, np.int64)))
        names = sorted(wanted)
        duck = engine(self._max_memory_bytes)
        columns = duck.select(", ".join(f"{wanted[name]} AS v{i}" for i, name in enumerate(names)), chosen)
        return [dict(zip(names, row.values(), strict=True)) for row in columns.to_pylist()]

    def _rows(self, table: pa.Table | pa.RecordBatch) -> pa.Table:
        if isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        missing = sorted(self.columns - set(table.column_names))
        if missing:
            raise DataError(f"rules read {', '.join(missing)}, which is not among the columns: {table.column_names}")
        if not self.columns:  # rules of constants still have rows
            return _filled(table.select([]), table.num_rows)
        return table.select(sorted(self.columns))

    def _failed(self, rows: pa.Table, error: Exception) -> DataError:
        duck = engine(self._max_memory_bytes)
        for name, text in self._sql.items():
            try:
                duck.select(_select({name: text}), rows)
            except duck.Error as own:
                hint = " (TRY_CAST gives NULL instead)" if "onver" in str(own) else ""
                return DataError(f"{self._places[name]}: `{self.where[name]}`: {first_paragraph(own)}{hint}")
        return DataError(f"where: {first_paragraph(error)}")

    @property
    def _sql(self) -> dict[str, str]:
        return {name: rule.text for name, rule in self._rules.items()}

    def _fine(self) -> bool:
        """Whether all rules together bind, are BOOLEAN, and take the trial rows; else each is asked by itself."""
        if not self.names:
            return True
        duck = engine(self._max_memory_bytes)
        try:
            types = duck.types(_select(self._sql), pa.concat_tables(self._trials()), evaluate=True)
        except duck.Error:
            return False
        return {*types} == {"BOOLEAN"}

    def _trials(self) -> list[pa.Table]:
        """One row of NULLs, and one of zeros and empty lists."""
        fields = [field for field in self._schema if field.name in self.columns]
        nulls = {field.name: pa.nulls(1, field.type) for field in fields}
        zeros = {field.name: pa.array([_zero(field.type)], field.type) for field in fields}
        return [_filled(pa.table(columns), 1) for columns in (nulls, zeros)]

    def _check_types(self, trees: Mapping[str, Node]) -> None:
        """Raises ConfigError at the first rule that does not bind or is not BOOLEAN."""
        rows, duck = self._rows(self._schema.empty_table()), engine(self._max_memory_bytes)
        for name, text in self.where.items():
            place = self._places[name]
            try:
                (type_,) = duck.types(_select({name: self._sql[name]}), rows)
            except duck.Error as error:
                why = advice(trees[name], self._schema) or first_paragraph(error)
                raise ConfigError(f"{place}: `{text}`: {why}") from error
            if type_ != "BOOLEAN":
                hint = ""
                if trees[name].get("function_name") in ("->", "->>"):
                    hint = ". `->>` binds weaker than `=` or `>`: put parentheses around it"
                raise ConfigError(f"{place}: `{text}` is {type_.strip(chr(34))}, not BOOLEAN{hint}")

    def _check_constants(self, trees: Mapping[str, Node]) -> None:
        """Raises ConfigError if a constant string of a rule cannot be what it is compared with or cast to.

        DuckDB converts constants only as rows come. So the trial rows are asked: a failed conversion that names a
        constant fails for every document; all else may be due to these rows and is let go.
        """
        constants = {name: constant for name, tree in trees.items() if (constant := compared_texts(tree) - {ZERO})}
        duck = engine(self._max_memory_bytes)
        for rows in self._trials():
            for name, texts in constants.items():
                self._try_constants(name, texts, trees[name], rows, duck)

    def _try_constants(self, name: str, texts: set[str], tree: Node, rows: pa.Table, duck: Engine) -> None:
        try:
            duck.booleans(_select({name: self._sql[name]}), rows)
        except duck.ConversionError as error:
            why = first_paragraph(error)
            if any(f"{quote}{constant}{quote}" in why for constant in texts for quote in "'\""):
                known = advice(tree, self._schema) or why
                raise ConfigError(f"{self._places[name]}: `{self.where[name]}`: {known}") from error
        except duck.Error:  # of this row's values: `''` is not JSON
            return


def _zero(type_: pa.DataType) -> Any:
    if pa.types.is_struct(type_):
        return {field.name: _zero(field.type) for field in type_}
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return []
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return ZERO
    if pa.types.is_boolean(type_):
        return False
    return 0 if pa.types.is_integer(type_) or pa.types.is_floating(type_) else None


def _select(where: Mapping[str, str]) -> str:
    # A line of its own for the bracket: a rule may end in a comment.
    return ", ".join(f"({text}\n) AS r{i}" for i, text in enumerate(where.values()))


def _and_terms(node: Node) -> list[Node]:
    if node["type"] != "CONJUNCTION_AND":
        return [node]
    return [term for child in node["children"] for term in _and_terms(child)]


def _bare(text: str) -> str:
    """DuckDB writes brackets around everything; without the outermost ones, if they belong together."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0 and at < len(text) - 1:
            return text
    return text[1:-1] if depth == 0 else text


def _filled(table: pa.Table, num_rows: int = 0) -> pa.Table:
    """DuckDB takes no table without columns."""
    if table.num_columns:
        return table
    return pa.table({"_row": np.arange(num_rows)})
