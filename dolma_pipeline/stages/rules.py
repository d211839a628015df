"""What the recipe's rules, orders and edits mean for one source, bound to its columns once a process.

A source's rules: `mix.where` without its `skip_rules`, its own `where`, and `min_chars` (of the edited text). They are
of two kinds: early ones are asked before the election of duplicates and decide who may stay; late ones name a column
that is made later, such as a dedupe step's. Either may read the text, which is then asked in a reading; all others are
asked of columns.

All of this is of one mix, which is known by its name: its section of the recipe. The one that is called `mix` is the
default. `dedupe.prefer`, and what counts as made later, are the same for all mixes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.config.recipe import MixConfig, MixSourceConfig, Recipe
from dolma_pipeline.documents import is_spans
from dolma_pipeline.errors import ConfigError, unknown_name
from dolma_pipeline.run.columns import Fields, attribute_types
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import listed
from dolma_pipeline.run.stage import columns_of
from dolma_pipeline.sql import Order, Rules, split_where
from dolma_pipeline.sql.columns import RESERVED, rule_schema
from dolma_pipeline.sql.rewrite import Stored
from dolma_pipeline.stages.edits import Edit, edited_lengths
from dolma_pipeline.stages.pseudonyms import blank_pseudonym, key_of

MIN_CHARS = "min_chars"


def mix_config(recipe: Recipe, mix: str = "mix") -> MixConfig:
    """The recipe's section of a mix; without one, a mix that takes everything."""
    return recipe.mixes().get(mix) or MixConfig()


def where_of(mix: MixConfig, source: str, *, section: str = "mix") -> dict[str, str]:
    """Rule -> SQL for one source, in the order in which they are asked; section: what errors call the mix."""
    own = mix.sources.get(source, MixSourceConfig())
    rules = {name: sql for name, sql in split_rules(mix.where).items() if name not in own.skip_rules}
    for name, sql in split_rules(own.where).items():
        if name in rules:
            raise ConfigError(
                f"{section}.sources.{source}.where.{name}: there is a rule '{name}' in {section}.where already. "
                f"Give it another name, or name '{name}' in skip_rules too."
            )
        rules[name] = sql
    return rules


def rule_names(mix: MixConfig, source: str) -> list[str]:
    """The rules of a source in the order in which they are asked: `first` counts depend on it."""
    own = mix.sources.get(source, MixSourceConfig())
    return [*where_of(mix, source), *([MIN_CHARS] if own.min_chars else [])]


def rule_keys(mix: MixConfig, source: str, *, section: str = "mix") -> dict[str, str]:
    """Rule -> key of the recipe that sets it for one source, such as `mix.sources.web.where.long`.

    Args:
        section: of the mix, with which keys begin.
    """
    own = mix.sources.get(source, MixSourceConfig())
    keys: dict[str, str] = {}
    for key, where in ((f"{section}.where", mix.where), (f"{section}.sources.{source}.where", own.where)):
        for rule in split_rules(where):
            if key != f"{section}.where" or rule not in own.skip_rules:
                keys[rule] = key if set(where) == {"where"} else f"{key}.{rule}"
    return keys


def split_rules(where: Mapping[str, str], *, place: str = "where") -> dict[str, str]:
    """A recipe's one string arrives under the key `where`; its terms are rules that are called like their text."""
    return split_where(where["where"] if set(where) == {"where"} else where, place=place)


class SourceRules:
    """The rules and edits of one source in one mix, bound to its columns.

    Args:
        mix: the name of the mix.
        stored: columns that stand in the place of lists, where rules are asked of a table that has them.

    Attributes:
        names: all rules in the order in which they are asked. early, late: those without and with columns made later.
        min_chars: shortest edited text; 0: any. edits: in order.

    Raises:
        ConfigError: a rule or an edit that names what does not exist; starts with its place in the recipe.
    """

    def __init__(self, process: Process, source: str, mix: str = "mix", *, stored: Stored | None = None) -> None:
        recipe = process.run.recipe
        config = mix_config(recipe, mix)
        self._stored = stored or Stored()
        own = config.sources.get(source, MixSourceConfig())
        for key, one in ((f"{mix}.where", config.where), (f"{mix}.sources.{source}.where", own.where)):
            split_rules(one, place=recipe.place(key))  # the first to split it: an error names its line
        where = where_of(config, source, section=mix)
        self.source = source
        self.schema = rule_schema(attribute_types(process, source))
        self._places = {rule: recipe.place(key) for rule, key in rule_keys(config, source, section=mix).items()}
        self._max_memory = process.run.sql_bytes
        everything = self._bound(where)
        later = {*columns_of(process, behind="judge")}
        self._text = {name for name in where if everything.reads_text(name)}
        late = {name for name in where if {column for column, _ in everything.references(name)} & later}
        self._where, self._everything = where, everything
        self.min_chars = own.min_chars
        self.names = tuple(rule_names(config, source))
        self.edits: list[Edit] = []
        for key, replace in ((f"{mix}.replace", config.replace), (f"{mix}.sources.{source}.replace", own.replace)):
            for i, edit in enumerate(replace):
                column, field = _span_field(self.schema, edit.spans, recipe.place(f"{key}.{i}.spans"))
                secret = key_of(process, edit, f"{key}.{i}")
                text = edit.with_.encode() if secret is None else blank_pseudonym(field)
                self.edits.append(Edit(column, field, text, edit.min_score, edit.max_score, secret))
        self.edits += [
            Edit(*_span_field(self.schema, spans, recipe.place(f"{mix}.sources.{source}.remove.{i}")), None)
            for i, spans in enumerate(own.remove)
        ]
        late |= {MIN_CHARS} if {*self.edit_columns} & later else set()
        self.late = tuple(name for name in self.names if name in late)
        self.early = tuple(name for name in self.names if name not in late)

    def _bound(self, where: Mapping[str, str]) -> Rules:
        return Rules(
            where,
            self.schema,
            places=self._places,
            counts=self._stored.counts,
            scores=self._stored.scores,
            max_memory_bytes=self._max_memory,
        )

    def text_rules(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of these rules that read the text."""
        return tuple(name for name in names if name in self._text)

    @cached_property
    def early_columns(self) -> Rules:
        """The early rules that are asked of columns."""
        return self._bound({n: self._where[n] for n in self.early if n != MIN_CHARS and n not in self._text})

    @cached_property
    def late_columns(self) -> Rules:
        """The late rules that are asked of columns."""
        return self._bound({n: self._where[n] for n in self.late if n != MIN_CHARS and n not in self._text})

    @cached_property
    def all_columns(self) -> Rules:
        """All rules that are asked of columns."""
        return self._bound({n: sql for n, sql in self._where.items() if n not in self._text})

    def asked(self, names: Sequence[str]) -> Rules:
        """Some rules that read the text, bound."""
        return self._bound({name: self._where[name] for name in names})

    def wanted(self, rules: Rules) -> tuple[set[str], dict[str, Fields]]:
        """What rules read: index columns, and attribute columns with their fields (None: all)."""
        return split_references(rules.references())

    @property
    def edit_columns(self) -> dict[str, Fields]:
        """Attribute columns that the edits read."""
        found: dict[str, set[str]] = {}
        for edit in self.edits:
            found.setdefault(edit.column, set()).add(edit.field)
        return {column: frozenset(fields) for column, fields in found.items()}

    def columns_of(self, names: Sequence[str]) -> list[str]:
        """Attribute columns that these rules read (of `min_chars`: those of the edits), sorted."""
        found: set[str] = set()
        for name in names:
            if name == MIN_CHARS:
                found |= set(self.edit_columns)
            else:
                found |= {c for c, _ in self._everything.references(name)} - {*RESERVED}
        return sorted(found)

    def edit(self, texts: pa.StringArray, columns: Mapping[str, pa.StructArray]) -> pa.StringArray:
        """The texts with spans replaced and removed; the same array where there is nothing to change."""
        parts = [edit.part(columns[edit.column], texts) for edit in self.edits]
        if not parts:
            return texts
        from dolma_pipeline.kernels.edit import Edits, edit_texts

        edited, _ = edit_texts(texts, Edits.of(len(texts), parts))
        return edited

    def edited_chars(self, table: pa.Table) -> NDArray[np.int64]:
        """Code points of each text after the edits, from its `chars` and its spans, without the text: int64[n]."""
        chars: NDArray[np.int64] = table.column("chars").to_numpy()
        parts = []
        for edit in self.edits:
            column = table.column(edit.column).combine_chunks()
            column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
            parts.append((edit.spans(column), edit.replacement))
        return edited_lengths(chars, parts) if parts else chars


@dataclass(frozen=True)
class BoundOrder:
    """An order bound to the columns of a source."""

    order: Order

    def split(self, process: Process, source: str) -> tuple[set[str], dict[str, Fields]]:
        """What it reads: index columns, and attribute columns (whole)."""
        attributes = attribute_types(process, source)
        names = set(self.order.columns)
        return names - set(attributes), dict.fromkeys(sorted(names & set(attributes)))


def source_rules(process: Process, source: str, mix: str = "mix") -> SourceRules:
    """The rules of a source in a mix, bound once a process: binding costs some milliseconds a rule."""
    return process.kept(("rules", mix, source), lambda: SourceRules(process, source, mix))


def preferred(process: Process, source: str) -> BoundOrder | None:
    """`dedupe.prefer`, bound to a source's columns once a process; None where it is empty."""
    recipe = process.run.recipe
    assert recipe.dedupe is not None
    if not recipe.dedupe.prefer:
        return None
    later = {*columns_of(process, behind="judge")}  # of dedupe steps: they are made by this very order
    prefer = ", ".join(recipe.dedupe.prefer)

    def bind() -> BoundOrder:
        types = {name: t for name, t in attribute_types(process, source).items() if name not in later}
        place = recipe.place("dedupe.prefer")
        return BoundOrder(Order(prefer, rule_schema(types), place=place, max_memory_bytes=process.run.sql_bytes))

    return process.kept(("prefer", source), bind)


def prefer_columns(process: Process) -> list[str]:
    """Attribute columns that `dedupe.prefer` reads in any source, sorted.

    Raises:
        ConfigError: an order that cannot be bound in some source.
    """
    found: set[str] = set()
    for source in used_sources(process):
        order = preferred(process, source)
        if order is not None:
            found |= set(order.split(process, source)[1])
    return sorted(found)


def used_sources(process: Process) -> list[str]:
    """The sources that have shards, sorted."""
    return process.kept("sources", lambda: sorted({shard.source for shard in listed(process.run)}))


def split_references(references: Collection[tuple[str, str | None]]) -> tuple[set[str], dict[str, Fields]]:
    """What is read: index columns, and attribute columns with their fields (None: all)."""
    index = {column for column, _ in references if column in RESERVED}
    fields: dict[str, set[str | None]] = {}
    for column, field in references:
        if column not in RESERVED:
            fields.setdefault(column, set()).add(field)
    wanted: dict[str, Fields] = {
        column: None if None in found else frozenset(f for f in found if f) for column, found in sorted(fields.items())
    }
    return index, wanted


def _span_field(schema: pa.Schema, name: str, place: str) -> tuple[str, str]:
    column, _, field = name.partition(".")
    attributes = [f.name for f in schema if f.name not in RESERVED]
    if column not in attributes:
        raise ConfigError(f"{place}: {unknown_name('attribute', column, attributes)}")
    type_ = schema.field(column).type
    spans = [f.name for f in type_ if is_spans(f.type)]
    if field not in spans:
        raise ConfigError(f"{place}: {unknown_name(f'span field of {column}', field, spans)}")
    return column, field
