"""What the recipe's rules and edits mean for one source: which documents pass, and how their text is changed.

A source's rules: `mix.where` without its `skip_rules`, its own `where`, and `min_chars` (of the edited text).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import MixConfig, MixSourceConfig
from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.errors import ConfigError, unknown_name
from dolma_pipeline.sql import Order, Rules, split_where
from dolma_pipeline.sql.columns import RESERVED
from dolma_pipeline.stages.columns import row_schema
from dolma_pipeline.stages.context import RunContext

MIN_CHARS = "min_chars"


@dataclass(frozen=True)
class Verdict:
    """What the rules say of a batch.

    passed: bool[n]. rules: names in order. failed, null: bool[rules, n]: not true, and of these NULL.
    """

    passed: NDArray[np.bool_]
    rules: tuple[str, ...]
    failed: NDArray[np.bool_]
    null: NDArray[np.bool_]


def where_of(mix: MixConfig, source: str) -> dict[str, str]:
    """Rule -> SQL for one source."""
    own = mix.sources.get(source, MixSourceConfig())
    rules = {name: sql for name, sql in _named(mix.where).items() if name not in own.skip_rules}
    for name, sql in _named(own.where).items():
        if name in rules:
            raise ConfigError(
                f"mix.sources.{source}.where.{name}: there is a rule '{name}' in mix.where already. "
                f"Give it another name, or name '{name}' in skip_rules too."
            )
        rules[name] = sql
    return rules


def rule_names(mix: MixConfig, source: str) -> list[str]:
    """The rules of a source in the order in which they are asked: `first` counts depend on it."""
    own = mix.sources.get(source, MixSourceConfig())
    return [*where_of(mix, source), *([MIN_CHARS] if own.min_chars else [])]


def rule_keys(mix: MixConfig, source: str) -> dict[str, str]:
    """Rule -> key of the recipe that sets it for one source, such as `mix.sources.web.where.long`."""
    own = mix.sources.get(source, MixSourceConfig())
    keys: dict[str, str] = {}
    for key, where in (("mix.where", mix.where), (f"mix.sources.{source}.where", own.where)):
        for rule in _named(where):
            if key != "mix.where" or rule not in own.skip_rules:
                keys[rule] = key if set(where) == {"where"} else f"{key}.{rule}"
    return keys


def _named(where: Mapping[str, str], *, place: str = "where") -> dict[str, str]:
    """A recipe's one string arrives under the key `where`; its terms are rules that are called like their text."""
    return split_where(where["where"] if set(where) == {"where"} else where, place=place)


class SourceRules:
    """The rules and edits of one source, bound to its columns."""

    def __init__(self, context: RunContext, source: str, *, without: Sequence[str] = ()) -> None:
        """Bind the rules.

        Args:
            context: the run. source: whose rules.
            without: columns that must not be used: rules that name one are left out (dedupe, while it elects).

        Raises:
            ConfigError: a rule or an edit that names what does not exist; starts with its place in the recipe.
        """
        recipe, mix = context.recipe, context.recipe.mix or MixConfig()
        own = mix.sources.get(source, MixSourceConfig())
        schema = row_schema(context, source)
        for key, one in (("mix.where", mix.where), (f"mix.sources.{source}.where", own.where)):
            _named(one, place=recipe.place(key))  # the first to split it: an error names its line
        where = where_of(mix, source)
        places = {rule: recipe.place(key) for rule, key in rule_keys(mix, source).items()}
        bound = Rules(where, schema, places=places, max_memory_bytes=context.sql_bytes)
        if without:
            reads = {name: {column for column, _ in bound.references(name)} for name in where}
            kept = {name: sql for name, sql in where.items() if not reads[name] & {*without}}
            bound = Rules(kept, schema, places=places, max_memory_bytes=context.sql_bytes)
        self.source, self.rules = source, bound
        self.min_chars = own.min_chars
        self.edits: list[tuple[str, str, bytes | None]] = [
            (*_span_field(schema, replace.spans, recipe.place(f"mix.replace.{i}.spans")), replace.with_.encode())
            for i, replace in enumerate(mix.replace)
        ]
        self.edits += [
            (*_span_field(schema, spans, recipe.place(f"mix.sources.{source}.remove.{i}")), None)
            for i, spans in enumerate(own.remove)
        ]

    @property
    def rule_columns(self) -> list[str]:
        """Attribute columns that the rules read, sorted."""
        return sorted(set(self.rules.columns) - set(RESERVED))

    @property
    def columns(self) -> list[str]:
        """Attribute columns that the rules or the edits read, sorted."""
        return sorted({*self.rule_columns, *(column for column, _, _ in self.edits)})

    @property
    def fields(self) -> dict[str, set[str]]:
        """Of each attribute column that is not needed whole, the fields that the rules and edits read."""
        read: dict[str, set[str | None]] = {}
        for column, field in [*self.rules.references(), *((column, field) for column, field, _ in self.edits)]:
            read.setdefault(column, set()).add(field)
        return {column: {f for f in found if f} for column, found in read.items() if None not in found}

    @property
    def judge_columns(self) -> list[str]:
        """Attribute columns that must be there to judge: those of edits only where the edited length counts."""
        return self.columns if self.min_chars else self.rule_columns

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all rules, in the order in which they are asked."""
        return (*self.rules.names, *([MIN_CHARS] if self.min_chars else []))

    def edit(self, table: pa.Table) -> tuple[pa.Array, NDArray[np.bool_]]:
        """The texts with spans replaced and removed, and which of them changed."""
        texts = table.column("text").combine_chunks()
        parts = []
        for column, field, replacement in self.edits:
            parts.append((pc.struct_field(table.column(column).combine_chunks(), field), replacement))
        if not parts:
            return texts, np.zeros(len(texts), np.bool_)
        from dolma_pipeline.kernels.edit import Edits, edit_texts

        return edit_texts(texts, Edits.of(len(texts), parts))

    def judge(self, table: pa.Table, edited: pa.Array) -> Verdict:
        """Ask all rules of a batch; `edited`: its texts after the edits."""
        verdict = self.rules.evaluate(table)
        failed, null = ~verdict.passed, verdict.null
        if self.min_chars:
            short = pc.less(pc.utf8_length(edited), self.min_chars).to_numpy(zero_copy_only=False)
            failed = np.concatenate([failed, short[None, :]])
            null = np.concatenate([null, np.zeros((1, len(short)), np.bool_)])
        passed: NDArray[np.bool_] = ~np.any(failed, axis=0)
        return Verdict(passed, self.names, failed, null)

    def values(self, table: pa.Table, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        """The values that the rules saw in these rows."""
        return self.rules.values(table, rows)


_BOUND: dict[tuple[object, ...], SourceRules] = {}
_ORDERS: dict[tuple[object, ...], Order] = {}


def source_rules(context: RunContext, source: str, *, without: tuple[str, ...] = ()) -> SourceRules:
    """The rules of a source, bound once a process: binding costs some milliseconds a rule."""
    key = (context.fingerprint, source, without)
    if key not in _BOUND:
        _BOUND[key] = SourceRules(context, source, without=without)
    return _BOUND[key]


def preferred(context: RunContext, source: str) -> Order:
    """`dedupe.prefer`, bound to a source's columns once a process."""
    assert context.recipe.dedupe is not None
    key = (context.fingerprint, source)
    if key not in _ORDERS:
        steps = [step.name for step in context.recipe.dedupe.steps]  # they are made by this very order
        schema = row_schema(context, source)
        _ORDERS[key] = Order(
            context.recipe.dedupe.prefer,
            pa.schema([field for field in schema if field.name not in steps]),
            place=context.recipe.place("dedupe.prefer"),
            places=[context.recipe.place(f"dedupe.prefer.{i}") for i in range(len(context.recipe.dedupe.prefer))],
            max_memory_bytes=context.sql_bytes,
        )
    return _ORDERS[key]


def _span_field(schema: pa.Schema, name: str, place: str) -> tuple[str, str]:
    column, _, field = name.partition(".")
    attributes = [f.name for f in schema if f.name not in RESERVED]
    if column not in attributes:
        raise ConfigError(f"{place}: {unknown_name('attribute', column, attributes)}")
    type_ = schema.field(column).type
    spans = [f.name for f in type_ if f.type == SPANS_TYPE]
    if field not in spans:
        raise ConfigError(f"{place}: {unknown_name(f'span field of {column}', field, spans)}")
    return column, field


def count_rules(verdict: Verdict) -> dict[str, dict[str, int]]:
    """Per rule: documents of which it is the first, any, or the only reason, and where it was NULL."""
    failed = verdict.failed
    first = np.argmax(failed, axis=0) if len(verdict.rules) else np.zeros(0, np.int64)
    dropped = failed.any(axis=0) if len(verdict.rules) else np.zeros(0, np.bool_)
    alone = failed.sum(axis=0) == 1 if len(verdict.rules) else np.zeros(0, np.bool_)
    return {
        name: {
            "first": int((dropped & (first == i)).sum()),
            "any": int(failed[i].sum()),
            "alone": int((failed[i] & alone).sum()),
            "null": int(verdict.null[i].sum()),
        }
        for i, name in enumerate(verdict.rules)
    }


def no_counts(rules: Sequence[str]) -> Mapping[str, dict[str, int]]:
    """The counts of rules that saw no document."""
    return {name: {"first": 0, "any": 0, "alone": 0, "null": 0} for name in rules}
