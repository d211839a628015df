"""The groups of columns that a table can have, and how each is made from the run's files, a block of shards at a time.

Lists of spans are not copied: their number and the first one's score stand for them (`sql.rewrite.Stored`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.documents import is_spans
from dolma_pipeline.errors import DataError
from dolma_pipeline.look.folder import Finished, SourceRows
from dolma_pipeline.look.table import Group, read_shards
from dolma_pipeline.run import layout
from dolma_pipeline.run.columns import attribute_types, made_columns, read_block
from dolma_pipeline.run.manifests import read_manifest
from dolma_pipeline.run.shards import Block
from dolma_pipeline.sql.rewrite import Stored
from dolma_pipeline.stages.mixes import VERDICTS
from dolma_pipeline.stages.reads import given_reads
from dolma_pipeline.tokens.keys import document_key


def count_name(label: str, field: str) -> str:
    """The column that holds how many items a list has."""
    return f"#count.{label}.{field}"


def score_name(label: str, field: str) -> str:
    """The column that holds what `score()` gives of spans."""
    return f"#score.{label}.{field}"


def stored_of(types: Mapping[str, pa.StructType]) -> Stored:
    """What a table holds of these attributes' lists."""
    lists = [(label, field) for label, type_ in types.items() for field in type_ if is_list(field.type)]
    return Stored(
        {(label, field.name): count_name(label, field.name) for label, field in lists},
        {(label, field.name): score_name(label, field.name) for label, field in lists if is_spans(field.type)},
    )


def there_name(label: str) -> str:
    """The column that says whether an attribute is there at all (a tagger that failed leaves NULL)."""
    return f"#there.{label}"


@dataclass(frozen=True)
class Groups:
    """The groups of one source.

    Args:
        finished: the run. source: its documents.
    """

    finished: Finished
    source: SourceRows

    def index(self) -> Group:
        """The columns of the index: `chars` and `bytes` of the text as read, id, metadata, …"""
        folder = self.finished.run.folder

        def make(block: Block, columns: Sequence[str]) -> pa.Table:
            return pa.concat_tables(read_shards(folder, [layout.index(s.name) for s in block.shards], columns))

        return Group(self.source, ["index", self._made_from("index")], make)

    def attribute(self, label: str) -> Group:
        """An attribute: `label.field` of its plain fields, `count_name` and `score_name` of its lists, `there_name`."""
        type_ = self._type(label)

        def make(block: Block, columns: Sequence[str]) -> pa.Table:
            fields = {column: field_of(label, column) or type_[0].name for column in columns}
            struct = self._struct(block, label, [type_.field(name) for name in dict.fromkeys(fields.values())])
            found: dict[str, pa.Array] = {}
            for column, name in fields.items():
                if column == there_name(label):
                    found[column] = struct.is_valid()
                    continue
                values = pc.struct_field(struct, name)
                if column == count_name(label, name):
                    found[column] = pc.list_value_length(values).cast(pa.int64())
                elif column == score_name(label, name):
                    found[column] = first_scores(values)
                else:
                    found[column] = values
            return pa.table(found)

        return Group(self.source, ["attribute", label, self._attribute_key(label)], make)

    def verdicts(self) -> Group:
        """`fail_N`, `null_N` of all rules in their order, and `edited_chars` where it is known."""
        folder = self.finished.run.folder

        def make(block: Block, columns: Sequence[str]) -> pa.Table:
            return pa.concat_tables(read_shards(folder, [layout.verdicts(s.name) for s in block.shards], columns))

        key = ["verdicts", self.finished.artifacts[VERDICTS].whole_digest, self._content(VERDICTS)]
        return Group(self.source, key, make)

    def keys(self) -> Group:
        """`key` and `held_key` of each document by its own origin, for the recipe's seed."""
        seed = self.finished.run.recipe.seed

        def make(block: Block, columns: Sequence[str]) -> pa.Table:
            return pa.table({name: keys_of(block, seed, name) for name in columns})

        return Group(self.source, ["keys", seed], make)

    def _type(self, label: str) -> pa.StructType:
        return attribute_types(self.finished.process, self.source.name)[label]

    def _made_from(self, artifact: str) -> list[Any]:
        found = self.finished.artifacts[artifact]
        own = [found.digest, found.source_digests.get(self.source.name)]
        alone = found.grows and not found.remembers  # else what it says of a document depends on others
        return own if alone else [*own, self._content(artifact)]

    def _content(self, artifact: str) -> str:
        """A hash of what an artifact holds."""
        manifest = read_manifest(self.finished.run.folder, self.finished.artifacts[artifact].folder)
        found: str = manifest["shards"]["sha256"] if manifest and "shards" in manifest else ""
        return found

    def _attribute_key(self, label: str) -> Any:
        if f"attributes/{label}" in self.finished.artifacts:
            return self._made_from(f"attributes/{label}")
        _, own = given_reads(self.finished.process, [label])
        return ["given", own.get(self.source.name), str(self._type(label))]

    def _struct(self, block: Block, label: str, fields: Sequence[pa.Field]) -> pa.StructArray:
        """A struct column with these fields; of spans the score alone where that saves reading."""
        process, tag = self.finished.process, self.finished.run.recipe.tag
        if label not in made_columns(process) or (tag and tag.format != "parquet"):
            wanted = {label: frozenset(field.name for field in fields)}
            return _whole(read_block(process, block, index=(), wanted=wanted), label)
        leaves = [f"{f.name}.list.element.score" if is_spans(f.type) else f.name for f in fields]
        names = [layout.attributes(label, shard.name) for shard in block.shards]
        parts = read_shards(process.run.folder, names, [f"{label}.{leaf}" for leaf in leaves])
        for part, shard, name in zip(parts, block.shards, names, strict=True):
            if part.num_rows != shard.rows:
                raise DataError(
                    f"{process.run.folder.url}/{name}: {part.num_rows} rows for shard {shard.name}, which has "
                    f"{shard.rows} documents. Delete the folder of attributes/{label} and run again."
                )
        return _whole(pa.concat_tables(parts), label)


def field_of(label: str, column: str) -> str:
    """The field of an attribute that a column of the table is made from; empty for `there_name`."""
    if column == there_name(label):
        return ""
    plain = column.removeprefix("#count.").removeprefix("#score.") if column.startswith("#") else column
    return plain.removeprefix(f"{label}.")


def first_scores(items: pa.ListArray) -> pa.Array:
    """What `score()` gives of lists of spans, float32: the first score, 0.0 of an empty list, NULL of NULL."""
    lengths = pc.list_value_length(items).fill_null(0).to_numpy(zero_copy_only=False)
    starts = items.offsets.to_numpy()[:-1][lengths > 0]
    scores = np.zeros(len(items), np.float32)
    if len(starts):
        values = pc.struct_field(items.values, "score").cast(pa.float32())
        scores[lengths > 0] = values.take(pa.array(starts)).to_numpy(zero_copy_only=False)
    return pa.array(scores, mask=items.is_null().to_numpy(zero_copy_only=False))


def keys_of(block: Block, seed: int, name: str) -> NDArray[np.uint64]:
    """Sampling keys (`key`), or held-out keys of documents that are alone (`held_key`), of a block: uint64[n]."""
    purpose = "held_out" if name == "held_key" else ""
    named = ((shard.name, shard.rows) for shard in block.shards)
    origins = (f"{shard}#{row}" for shard, rows in named for row in range(rows))
    return document_key(origins, seed=seed, purpose=purpose)


def is_list(type_: pa.DataType) -> bool:
    """Whether values of a type have items."""
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_))


def _whole(table: pa.Table, label: str) -> pa.StructArray:
    column = table.column(label).combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
