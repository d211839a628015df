"""The groups of columns that a table can have, and how each is made from the run's files, a block of shards at a time.

Lists of spans are not copied: their number and the first one's score stand for them (`sql.rewrite.Stored`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.documents import is_spans
from dolma_pipeline.errors import DataError
from dolma_pipeline.look.folder import Finished, SourceRows
from dolma_pipeline.look.table import Group, shard_columns
from dolma_pipeline.run import layout
from dolma_pipeline.run.columns import attribute_types, made_columns, read_block
from dolma_pipeline.run.shards import Block
from dolma_pipeline.sql.rewrite import Stored
from dolma_pipeline.stages.mix.decide import VERDICTS
from dolma_pipeline.stages.rules import given_reads
from dolma_pipeline.tokens.keys import document_key

THERE = "_there"
"""Field of an attribute without numbers: it is NULL where the attribute is."""


def count_name(label: str, field: str) -> str:
    """The column that holds how many items a list has."""
    return f"{label}.{field}#count"


def score_name(label: str, field: str) -> str:
    """The column that holds what `score()` gives of spans."""
    return f"{label}.{field}#score"


def stored_of(types: Mapping[str, pa.StructType]) -> Stored:
    """What a table holds of these attributes' lists."""
    lists = [(label, field) for label, type_ in types.items() for field in type_ if is_list(field.type)]
    return Stored(
        {(label, field.name): count_name(label, field.name) for label, field in lists},
        {(label, field.name): score_name(label, field.name) for label, field in lists if is_spans(field.type)},
    )


@dataclass(frozen=True)
class Groups:
    """The groups of one source.

    Args:
        finished: the run. source: its documents.
    """

    finished: Finished
    source: SourceRows

    def sizes(self) -> Group:
        """`chars` and `bytes` of the text as read."""
        return self._index(("chars", "bytes"))

    def document(self, column: str) -> Group:
        """One of the document's own columns: id, metadata, …"""
        return self._index((column,))

    def _index(self, columns: tuple[str, ...]) -> Group:
        folder = self.finished.run.folder

        def make(block: Block) -> pa.Table:
            return pa.concat_tables([shard_columns(folder, layout.index(s.name), columns) for s in block.shards])

        return Group(self.source, ["index", self._made_from("index"), columns], make)

    def scalars(self, label: str) -> Group:
        """An attribute without its lists: one struct column."""
        type_ = self._type(label)
        fields = [field for field in type_ if not is_list(field.type)]

        def make(block: Block) -> pa.Table:
            if fields:
                return self._attribute(block, label, [field.name for field in fields], [f.name for f in fields])
            column = _whole(self._attribute(block, label, [type_[0].name], [type_[0].name]), label)
            there = pa.repeat(pa.scalar(True), len(column))
            return pa.table({label: pa.StructArray.from_arrays([there], names=[THERE], mask=column.is_null())})

        return Group(self.source, ["scalars", label, self._attribute_key(label)], make)

    def spans(self, label: str) -> Group:
        """Number of items of each list of an attribute, and the first score of spans; NULL where the list is."""
        lists = [field for field in self._type(label) if is_list(field.type)]
        names = [field.name for field in lists]
        # Of spans the scores are enough, a third of what there is to read.
        leaves = [f"{f.name}.list.element.score" if is_spans(f.type) else f.name for f in lists]

        def make(block: Block) -> pa.Table:
            column = _whole(self._attribute(block, label, names, leaves), label)
            found: dict[str, pa.Array] = {}
            for field in lists:
                items = pc.struct_field(column, field.name)
                found[count_name(label, field.name)] = pc.list_value_length(items).cast(pa.int64())
                if is_spans(field.type):
                    found[score_name(label, field.name)] = first_scores(items)
            return pa.table(found)

        return Group(self.source, ["spans", label, self._attribute_key(label)], make)

    def verdicts(self) -> Group:
        """`fail_N`, `null_N` of all rules in their order, and `edited_chars` where it is known."""
        folder = self.finished.run.folder

        def make(block: Block) -> pa.Table:
            found = pa.concat_tables([shard_columns(folder, layout.verdicts(shard.name)) for shard in block.shards])
            return found.drop_columns(["passes"])

        key = ["verdicts", self.finished.artifacts[VERDICTS].whole_digest, self.finished.run.shards_digest]
        return Group(self.source, key, make)

    def keys(self) -> Group:
        """`key` and `held_key` of each document by its own origin, for the recipe's seed."""
        seed = self.finished.run.recipe.seed

        def make(block: Block) -> pa.Table:
            key, held_key = keys_of(block, seed)
            return pa.table({"key": key, "held_key": held_key})

        return Group(self.source, ["keys", seed], make)

    def _type(self, label: str) -> pa.StructType:
        return attribute_types(self.finished.process, self.source.name)[label]

    def _made_from(self, artifact: str) -> list[Any]:
        found = self.finished.artifacts[artifact]
        return [found.digest, found.source_digests.get(self.source.name)]

    def _attribute_key(self, label: str) -> Any:
        if f"attributes/{label}" in self.finished.artifacts:
            return self._made_from(f"attributes/{label}")
        _, own = given_reads(self.finished.process, [label])
        return ["given", own.get(self.source.name), str(self._type(label))]

    def _attribute(self, block: Block, label: str, fields: list[str], leaves: list[str]) -> pa.Table:
        """A struct column with these fields; leaves: what of them is read, where the file is our own Parquet."""
        process, tag = self.finished.process, self.finished.run.recipe.tag
        if label not in made_columns(process) or (tag and tag.format != "parquet"):
            return read_block(process, block, index=(), wanted={label: frozenset(fields)})
        folder, names, parts = process.run.folder, [f"{label}.{leaf}" for leaf in leaves], []
        for shard in block.shards:
            part = shard_columns(folder, layout.attributes(label, shard.name), names)
            if part.num_rows != shard.rows:
                raise DataError(
                    f"{folder.url}/{layout.attributes(label, shard.name)}: {part.num_rows} rows for shard {shard.name}, "
                    f"which has {shard.rows} documents. Delete the folder of attributes/{label} and run again."
                )
            parts.append(part)
        return pa.concat_tables(parts)


def first_scores(items: pa.ListArray) -> pa.Array:
    """What `score()` gives of each list of spans, float32: the first one's score, 0.0 of an empty list, NULL of NULL."""
    lengths = pc.list_value_length(items).fill_null(0).to_numpy(zero_copy_only=False)
    starts = items.offsets.to_numpy()[:-1][lengths > 0]
    scores = np.zeros(len(items), np.float32)
    if len(starts):
        values = pc.struct_field(items.values, "score").cast(pa.float32())
        scores[lengths > 0] = values.take(pa.array(starts)).to_numpy(zero_copy_only=False)
    return pa.array(scores, mask=items.is_null().to_numpy(zero_copy_only=False))


def keys_of(block: Block, seed: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Sampling keys, and held-out keys of documents that are alone, of a block: uint64[n] each."""
    keys, held_keys = [], []
    for shard in block.shards:
        origins = [f"{shard.name}#{row}" for row in range(shard.rows)]
        keys.append(document_key(origins, seed=seed))
        held_keys.append(document_key(origins, seed=seed, purpose="held_out"))
    return np.concatenate(keys), np.concatenate(held_keys)


def is_list(type_: pa.DataType) -> bool:
    """Whether values of a type have items."""
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_))


def _whole(table: pa.Table, label: str) -> pa.StructArray:
    column = table.column(label).combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
