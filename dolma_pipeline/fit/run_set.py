"""Documents of a run, chosen by a rule over what the run knows of them: columns first, then the texts of a sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.dedup.exact import value_keys
from dolma_pipeline.errors import ConfigError, DataError, UnknownNameError, UsageError
from dolma_pipeline.fit.sample import Chunk
from dolma_pipeline.fit.sets import TEXT, Choose
from dolma_pipeline.look.folder import Finished, SourceRows, check_made
from dolma_pipeline.run.columns import INDEX, Fields, attribute_types, made_columns, read_block
from dolma_pipeline.run.fetch import text_batches
from dolma_pipeline.run.shards import Block
from dolma_pipeline.sql import Rules, rule_schema
from dolma_pipeline.stages.dedupe.steps import electing_steps
from dolma_pipeline.stages.mix.decide import read_verdict_bits
from dolma_pipeline.stages.mixes import VERDICTS
from dolma_pipeline.stages.rules import source_rules

PASSES = "passes"
"""A column that rules have here alone: whether the document passes the rules of the run's mix."""
_RULE = "rule"


class RunSet:
    """The documents of one source of a run for which a rule is TRUE.

    Args:
        found: the run's folder. source: name in its recipe. where: SQL over the columns that rules have (but the
            text), and `passes`; empty: all documents. option: what errors call the rule.

    Raises:
        UnknownNameError: no such source. ConfigError: a rule that cannot be. UsageError: a rule that reads the text,
            or columns that the run has not made.
    """

    def __init__(self, found: Finished, source: str, where: str = "", *, option: str = "where") -> None:
        recipe = found.run.recipe
        if source not in recipe.sources:
            raise UnknownNameError("source", source, recipe.sources, hint=f"It is asked for by {option}.")
        self._found, self._source, self._where = found, source, where
        types = attribute_types(found.process, source)
        if PASSES in types:
            raise ConfigError(f"{option}: an attribute of the run is called '{PASSES}', as a column of rules here is.")
        schema = pa.schema([*rule_schema(types), pa.field(PASSES, pa.bool_())])
        rules = {_RULE: where} if where else {}
        self._rules = Rules(rules, schema, places={_RULE: option}, max_memory_bytes=found.run.sql_bytes)
        if self._rules.reads_text():
            raise UsageError(
                f"{option}: `{where}` reads the text, and documents are chosen by columns alone. `length(text)` would "
                "be `chars`; a tagger can make a column of the rest."
            )
        self._step = next((step.name for step in reversed(electing_steps(recipe))), "")
        if self._step and not found.is_done(f"attributes/{self._step}"):
            self._step = ""
        check_made(found, self._needs())

    @property
    def name(self) -> str:
        """`SOURCE: SQL`."""
        return f"{self._source}: {self._where}" if self._where else self._source

    @property
    def unit(self) -> str:
        """The dedupe step whose groups are in one part as a whole, or text."""
        return f"group of {self._step}" if self._step else TEXT

    def look(self) -> Iterator[Chunk]:
        """All documents, a block of shards at a time."""
        for _, _, chunk in self._blocks():
            yield chunk

    def texts(self, choose: Choose) -> Iterator[tuple[Chunk, pa.Array]]:
        """Those that are chosen."""
        for block, rows, chunk in self._blocks():
            chosen = choose(chunk)
            places, first = rows[chosen], 0
            for shard in block.shards:
                lo, hi = np.searchsorted(places, [first, first + shard.rows])
                for some, texts in text_batches(self._found.process, shard, places[lo:hi] - first):
                    at = np.searchsorted(places, some + first)
                    part = chunk.take(chosen[at])
                    if not ((value_keys(texts).hi == part.hashes) | (part.sizes == 0)).all():
                        raise DataError(
                            f"{shard.location}: the texts are not those that the run has read. Put the old file back, "
                            "or run the recipe again with --redo."
                        )
                    yield part, texts
                first += shard.rows

    def record(self) -> dict[str, Any]:
        """Source and rule, and digests of the documents and of what the rule reads."""
        rows = self._rows
        digests = {name: self._found.artifacts[name].whole_digest for name in sorted(self._needs())}
        return {
            "source": self._source,
            "where": self._where,
            "digest": rows.digest if rows else "",
            "artifacts": digests,
            "unit": self.unit,
        }

    @property
    def _rows(self) -> SourceRows | None:
        return self._found.sources.get(self._source)

    def _needs(self) -> set[str]:
        """The artifacts that are read."""
        labels = {column for column, _ in self._rules.references()} | {self._step}
        made = {f"attributes/{label}" for label in labels if label in made_columns(self._found.process)}
        return {"index"} | made | ({VERDICTS} if PASSES in labels else set())

    def _blocks(self) -> Iterator[tuple[Block, NDArray[np.int64], Chunk]]:
        """Each block of shards, which of its documents the rule takes, ascending, and what is known of them."""
        for block in self._rows.blocks if self._rows else ():
            table = self._table(block)
            rows = np.arange(block.rows)
            if self._where:
                rows = np.flatnonzero(self._rules.evaluate(table).passed[0])
            hashes = table.column("hash_hi").to_numpy()[rows]
            if self._step:
                groups = table.column(self._step).combine_chunks()
                units = pc.struct_field(groups, "group").take(pa.array(rows)).to_pylist()
            else:
                units = [f"{value:016x}" for value in hashes.tolist()]
            yield block, rows, Chunk(hashes, table.column("bytes").to_numpy()[rows], [self._source] * len(rows), units)

    def _table(self, block: Block) -> pa.Table:
        process = self._found.process
        types = attribute_types(process, self._source)
        index, wanted = {"hash_hi", "bytes"}, dict[str, Fields]()
        for column, field in [*self._rules.references(), *([(self._step, "group")] if self._step else [])]:
            if column in types:
                before = wanted.get(column, ())
                wanted[column] = None if field is None or before is None else {*before, field}
            elif column in (*INDEX.names, "source"):
                index.add(column)
        table = read_block(process, block, index=index, wanted=wanted)
        if PASSES in self._rules.columns:
            names = source_rules(process, self._source).names
            failed = [read_verdict_bits(process.run, shard, names)[0].any(axis=0) for shard in block.shards]
            table = table.append_column(PASSES, pa.array(~np.concatenate(failed)))
        return table
