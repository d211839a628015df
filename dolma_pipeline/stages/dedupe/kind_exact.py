"""The dedupe kind `exact`: documents of which something is equal, by 128 bits of hash.

`key` says what: `text` (the index has its hash), `folded` (the sequence of its words, hashed while texts are read), or
SQL over a document's columns. SQL that reads no text is asked of columns, other SQL while texts are read.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup import minhash
from dolma_pipeline.dedup.exact import TextKeys, sorted_keys, text_keys, value_keys, word_keys
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.columns import attribute_types, read_index
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import ShardAt, indexed
from dolma_pipeline.run.stage import columns_of
from dolma_pipeline.sql.columns import RESERVED, rule_schema, rule_table
from dolma_pipeline.sql.key import Key, reads_text
from dolma_pipeline.stages.dedupe.kinds import BandKeys, ColumnSigner, CopyKind, Signer, register_kind
from dolma_pipeline.stages.rules import split_references, used_sources

TEXT, FOLDED = "text", "folded"
LOOKED_AT = 1_000
"""Documents of each source of which an error tells what they have instead of a key."""


class ExactKind(CopyKind):
    """Equal keys. NULL and what is empty is no key: such a document stays."""

    name = "exact"

    def settings(self, config: DedupeStepConfig) -> dict[str, Any]:
        """`key`."""
        return {"key": config.key}

    def format_of(self, config: DedupeStepConfig) -> int:
        """Of folded words that of signatures: they are the same words."""
        return minhash.WORDS_FORMAT if config.key == FOLDED else self.format

    def num_bands(self, config: DedupeStepConfig) -> int:
        """1."""
        return 1

    def of_columns(self, config: DedupeStepConfig) -> bool:
        """SQL that reads no text."""
        return config.key not in (TEXT, FOLDED) and not reads_text(config.key)

    def signer(self, config: DedupeStepConfig) -> Signer | None:
        """Of folded words; that of SQL depends on the source: `signer_in`."""
        return None if config.key == TEXT or self.of_columns(config) else _WordSigner()

    def signer_in(self, process: Process, shard: ShardAt, config: DedupeStepConfig) -> Signer | None:
        """See `CopyKind.signer_in`."""
        found = self.signer(config)
        if found is None or config.key == FOLDED:
            return found
        return _SqlSigner(_bound(process, shard.source, config), shard.source)

    def column_signer(self, process: Process, source: str, config: DedupeStepConfig) -> ColumnSigner:
        """See `CopyKind.column_signer`."""
        return _OfColumns(_bound(process, source, config))

    def bind(self, process: Process, config: DedupeStepConfig) -> Sequence[str]:
        """SQL is held against the columns of each source, and must give values of one type in all of them."""
        if config.key in (TEXT, FOLDED):
            return ()
        keys = {source: _bound(process, source, config) for source in used_sources(process)}
        types = {key.type: source for source, key in keys.items()}
        if len(types) > 1:
            told = ", ".join(f"{type_} in source '{source}'" for type_, source in sorted(types.items()))
            raise ConfigError(
                f"{_place(process.run, config)}: `{config.key}` is {told}, so equal values would not meet. "
                "CAST it to one type."
            )
        columns = sorted({column for key in keys.values() for column in key.columns - {*RESERVED}})
        if columns and any(key.reads_text for key in keys.values()):
            raise ConfigError(
                f"{_place(process.run, config)}: `{config.key}` names both the text and {', '.join(columns)}: a key "
                "that reads texts is made with the index and can name documents' own columns alone. Use two steps, or "
                "let a tagger put what you need of the text into an attribute."
            )
        return columns

    def keys(
        self, run: Run, shard: ShardAt, config: DedupeStepConfig, bands: range, within: tuple[int, int]
    ) -> list[BandKeys]:
        """See `CopyKind.keys`."""
        if config.key == TEXT:
            table = read_index(run, shard, ["hash_hi", "hash_lo", "bytes"])
            hi, lo, size = (table.column(name).to_numpy() for name in ("hash_hi", "hash_lo", "bytes"))
            kept = sorted_keys(TextKeys(hi, lo, size > 0))
        else:
            kept = get_table(run.folder, layout.signatures(config.name, shard.name))
        key, row, more = (kept.column(name).to_numpy() for name in ("key", "row", "more"))
        return [BandKeys(key, row, more, without=shard.rows - len(row))]

    def nothing(self, run: Run, config: DedupeStepConfig) -> str:
        """Of SQL: what there is in the columns that it reads."""
        place = _place(run, config)
        if config.key in (TEXT, FOLDED):
            what = "no document has a text" if config.key == TEXT else "no document has a word"
            return f"{place}: {what}, so none has a key. `fields` of the source may name the wrong column."
        return (
            f"{place}: `{config.key}` is NULL or empty for every document, so nothing can be compared. "
            f"{_what_there_is(run)} Correct the key, or leave the step out."
        )


class _WordSigner(Signer):
    """The hashes of the words of a shard's texts, or, of SQL, of its values."""

    def __init__(self) -> None:
        self._found: list[TextKeys] = []

    def add(self, batch: Batch) -> None:
        self._found.append(self._keys(batch))

    def _keys(self, batch: Batch) -> TextKeys:
        return word_keys(batch)

    def table(self) -> pa.Table:
        nothing = text_keys(Batch.of([]))
        return sorted_keys(TextKeys(*(np.concatenate(parts) for parts in zip(nothing, *self._found, strict=True))))


class _SqlSigner(_WordSigner):
    def __init__(self, key: Key, source: str) -> None:
        super().__init__()
        self._key, self._source = key, source

    def _keys(self, batch: Batch) -> TextKeys:
        documents = pa.Table.from_batches([batch.table])
        return value_keys(self._key.values(rule_table(documents, self._source, self._key.columns)))


class _OfColumns(ColumnSigner):
    def __init__(self, key: Key) -> None:
        self._key = key
        self.index, self.wanted = split_references(key.references)

    def table(self, columns: pa.Table) -> pa.Table:
        return sorted_keys(value_keys(self._key.values(columns)))


def _place(run: Run, config: DedupeStepConfig) -> str:
    assert run.recipe.dedupe is not None
    return run.recipe.place(f"dedupe.steps.{run.recipe.dedupe.steps.index(config)}.key")


def _bound(process: Process, source: str, config: DedupeStepConfig) -> Key:
    """A step's key, bound to a source's columns once a process."""

    def bind() -> Key:
        later = {*columns_of(process, behind="judge")}  # of dedupe steps: none is made before this one
        types = {name: type_ for name, type_ in attribute_types(process, source).items() if name not in later}
        place = _place(process.run, config)
        return Key(config.key, rule_schema(types), place=place, max_memory_bytes=process.run.sql_bytes)

    return process.kept(("exact key", config.name, source), bind)


def _what_there_is(run: Run) -> str:
    """Which columns the first documents of each source have, and which keys their metadata."""
    names = ("id", "added", "created", "document_source", "metadata")
    columns: Counter[str] = Counter()
    keys: Counter[str] = Counter()
    for _, shards in itertools.groupby(indexed(run), key=lambda one: one.source):
        left = LOOKED_AT
        for shard in shards:
            table = read_index(run, shard, names).slice(0, left)
            left -= len(table)
            for name in names:
                columns[name] += len(table) - table.column(name).null_count
            for text in pc.drop_null(table.column("metadata")).to_pylist():
                found = _parsed(text)
                keys.update(name for name, value in found.items() if value not in (None, ""))
            if left == 0:
                break
    there = [f"{name} ({count:,})" for name, count in columns.items() if count and name != "metadata"]
    of_metadata = [f"{name} ({count:,})" for name, count in sorted(keys.items())][:20]
    return (
        f"Among the first {LOOKED_AT:,} documents of each source there are: {', '.join(there) or 'none of these'}; "
        f"keys of metadata: {', '.join(of_metadata) or 'none'}."
    )


def _parsed(text: str) -> dict[str, Any]:
    """Metadata as an object; of any other JSON, or none, nothing."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:  # DuckDB says so where it is asked
        return {}
    return found if isinstance(found, dict) else {}


register_kind(ExactKind())
