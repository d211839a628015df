"""The columns that there are beside a document's text, and where they come from.

The index (id, metadata, chars, …), attributes that this run makes (taggers, dedupe steps), and attributes that a
source brings along. A reading gets them batch by batch (`AttributeColumns`); a phase over columns gets them for a
block of shards at once (`read_block`) and reads no text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from dolma_pipeline.config.recipe import MixSourceConfig, Recipe
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DataError, MisalignedError
from dolma_pipeline.io.attribute_cut import Cuts
from dolma_pipeline.io.attribute_types import is_open, settled
from dolma_pipeline.io.attributes import (
    AttributeReader,
    attribute_schema,
    num_attribute_rows,
    read_made_attribute,
)
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.given import check_folder, copied, given_place, told_of
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import Block, ShardAt, listed
from dolma_pipeline.run.stage import columns_of, maker_of

INDEX = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("loc", pa.int64()),
        pa.field("id", pa.string()),
        pa.field("added", pa.string()),
        pa.field("created", pa.string()),
        pa.field("document_source", pa.string()),
        pa.field("metadata", pa.string()),
        pa.field("chars", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("hash_hi", pa.uint64()),
        pa.field("hash_lo", pa.uint64()),
    ]
)
"""The index of a shard's documents, in their order. row: from 0, of those that parse. loc: the 1-based line (Parquet:
row) in the file. chars, bytes: code points and UTF-8 bytes of the text. hash_hi, hash_lo: XXH3-128 of the text."""

DEDUPE_TYPE = pa.struct(
    [
        pa.field("cluster", pa.string()),
        pa.field("group", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("rank", pa.int64()),
        pa.field("keep", pa.bool_()),
        pa.field("jaccard", pa.float64()),
    ]
)
"""A dedupe step's column. cluster: origin of the document that stays, of one that stays itself its own (exact: of what
would come first, if none may stay); group: the same for all that this step or an earlier one connects with it; size: of
the cluster; rank: place in it, 0 first; keep: elected; jaccard: exact likeness to the document that stays."""

Fields = Collection[str] | None
"""Fields of an attribute column that are wanted; None: all."""


def open_shard(run: Run, shard: ShardAt, report: Callable[[Failure], None]) -> ShardReader:
    """The documents of a shard, as every reading reads them.

    Raises:
        DataError: its file is never opened again (`sources.NAME.gone`).
    """
    if shard.gone:
        raise DataError(
            f"{shard.location}: its text is asked for, and sources.{shard.source}.gone says that it is gone. Put the "
            "file back, and take it out of `gone`."
        )
    source = run.recipe.sources[shard.source]
    return ShardReader(shard.shard, shard.location, report=report, fields=source.fields, normalize=run.recipe.normalize)


@contextmanager
def documents_of(
    process: Process, shard: ShardAt, report: Callable[[Failure], None], *, only: Sequence[int] | None = None
) -> Iterator[ShardReader]:
    """The documents of a shard: those of its input, or what a stage has made of it.

    Args:
        only: as `ShardReader.only`.
    """
    run, maker = process.run, maker_of(process, shard.source)
    if maker is None:
        reader = open_shard(run, shard, report)
        reader.only = only
        yield reader
        return
    made = maker.documents(process, shard)
    with run.folder.local(made.name) as path:
        own = replace(shard.shard, format=made.format, start=None, end=None)
        reader = ShardReader(own, str(path), report=report, normalize=run.recipe.normalize)
        reader.only = only
        yield reader
        reader.sha256 = made.sha256  # of what the run was given: its own files are held to their records


def made_columns(process: Process) -> dict[str, pa.StructType]:
    """Columns that this run makes itself: label -> struct type, known before anything has run."""
    return process.kept("made columns", lambda: columns_of(process))


def given_columns(process: Process, source: str) -> dict[str, pa.StructType]:
    """Columns that a source brings along, from its `attributes` folders; the first folder that has a name counts.

    Raises:
        ConfigError: a folder that is not there, or has no file for the source's shards.
    """

    def make() -> dict[str, pa.StructType]:
        columns: dict[str, pa.StructType] = {}
        for folder in process.run.recipe.sources[source].attributes:
            columns = {**folder_columns(process, source, folder), **columns}
        return columns

    return process.kept(("given columns", source), make)


def folder_columns(process: Process, source: str, folder: str) -> dict[str, pa.StructType]:
    """Columns of one folder: of Parquet, those of its first file; of JSONL, all that occur in any of its files.

    A field of which the first Parquet file says no type (it is null in all its rows) has that of the next one.
    """

    def make() -> dict[str, pa.StructType]:
        for name, place, schema in process.run.given:
            if (name, place) == (source, folder):
                return {field.name: field.type for field in pa.ipc.read_schema(pa.py_buffer(schema))}
        check_folder(process, source, folder)
        columns: dict[str, pa.StructType] = {}
        seen: set[str] = set()
        for one in listed(process.run):
            if one.source != source or (place := given_place(process, folder, one)) in seen:
                continue
            seen.add(place)
            with copied(process, place) as path:
                for field in attribute_schema(path):
                    columns[field.name] = _united(columns.get(field.name, field.type), field.type)
            if path.suffix == ".parquet" and not any(is_open(one.type) for type_ in columns.values() for one in type_):
                break
        return {name: _settled(type_) for name, type_ in columns.items()}

    return process.kept(("folder columns", source, folder), make)


def given_schemas(process: Process) -> tuple[tuple[str, str, bytes], ...]:
    """What has been seen of attribute folders in this process, as `Run.given` carries it."""
    found = process.kept_of("folder columns").items()
    return tuple((*key, pa.schema(list(types.items())).serialize().to_pybytes()) for key, types in sorted(found))


def _united(a: pa.StructType, b: pa.StructType) -> pa.StructType:
    fields = {field.name: field for field in a}
    for field in b:
        if field.name not in fields or is_open(fields[field.name].type):
            fields[field.name] = field
    return pa.struct([*fields.values()] if len(fields) == a.num_fields else [fields[name] for name in sorted(fields)])


def _settled(type_: pa.StructType) -> pa.StructType:
    return pa.struct([pa.field(field.name, settled(field.type)) for field in type_])


def cuts_of(process: Process) -> Cuts:
    """Where attribute files that are read in ranges are cut, once a process of a run."""
    return process.kept("cuts", Cuts)


def given_rows(process: Process, shard: ShardAt, path: Path) -> range | None:
    """The rows of an attribute file that are a shard's; None: all, because the file is of this shard alone.

    Args:
        shard: indexed: how many documents the ranges before it hold is known from there.

    Raises:
        MisalignedError: attributes of a whole file that have another number of rows than it has documents.
    """
    if shard.shard.start is None or path.name.startswith(f"{shard.name.rpartition('/')[2]}."):
        return None
    have = num_attribute_rows(path, cuts_of(process))
    if have != shard.rows_in_file:
        raise MisalignedError(
            f"{path}: {have} rows, but {shard.shard.path} of source '{shard.source}' has {shard.rows_in_file} "
            "documents. Attributes have a row a document; lines that are blank or cannot be read have none."
        )
    return range(shard.first_in_file, shard.first_in_file + shard.rows)


def attribute_types(process: Process, source: str) -> dict[str, pa.StructType]:
    """All attribute columns of a source's documents: label -> struct type."""
    return {**made_columns(process), **given_columns(process, source)}


class AttributeColumns:
    """Attribute columns of one shard from their files, batch by batch, in step with its documents.

    Args:
        process: the run. shard: whose. wanted: label -> fields.

    Raises:
        DataError: attributes that are not there. MisalignedError (from `take`, `finish`): other rows or ids.
    """

    def __init__(self, process: Process, shard: ShardAt, wanted: Mapping[str, Fields]) -> None:
        self._stack = ExitStack()
        types = attribute_types(process, shard.source)
        edits = edit_fields(process.run.recipe, shard.source)
        self._readers: dict[str, AttributeReader] = {}
        self._places: dict[str, str] = {}
        for label, fields in wanted.items():
            field = pa.field(label, _narrow(types[label], fields))
            path, rows, self._places[label] = self._stack.enter_context(_file(process, shard, label))
            self._readers[label] = AttributeReader(
                path, pa.schema([field]), rows=rows, fits_text=edits, cuts=cuts_of(process)
            )

    def take(self, batch: Batch) -> dict[str, pa.StructArray]:
        """The columns of a batch."""
        columns = {}
        for label, reader in self._readers.items():
            with told_of(self._places[label], reader.path):
                columns[label] = _whole(reader.take(batch).column(label))
        return columns

    def finish(self, num_documents: int) -> None:
        """Check that no rows are left over after all documents."""
        for label, reader in self._readers.items():
            with told_of(self._places[label], reader.path):
                reader.finish(num_documents)
        self.close()

    def close(self) -> None:
        """Let go of the files; the rest of the rows is not wanted."""
        self._stack.close()


def edit_fields(recipe: Recipe, source: str) -> list[str]:
    """The span fields, as `column.field`, by which the texts of a source are edited in any mix of the recipe: those of
    attributes made elsewhere are held against the texts."""
    found: dict[str, None] = {}
    for mix in recipe.mixes().values():
        own = mix.sources.get(source, MixSourceConfig())
        found |= dict.fromkeys([*(one.spans for one in (*mix.replace, *own.replace)), *own.remove])
    return [*found]


@contextmanager
def _file(process: Process, shard: ShardAt, label: str) -> Iterator[tuple[Path, range | None, str]]:
    """The local path of an attribute's file, which of its rows are the shard's (None: all), and what errors call it."""
    run, tag = process.run, process.run.recipe.tag
    if label in made_columns(process):
        format_ = tag.format if tag and label in {use.name for use in tag.taggers} else "parquet"
        with run.folder.local(layout.attributes(label, shard.name, format_)) as path:
            yield path, None, str(path)
        return
    for folder in run.recipe.sources[shard.source].attributes:
        if label in folder_columns(process, shard.source, folder):
            place = given_place(process, folder, shard)
            with copied(process, place) as path:
                yield path, given_rows(process, shard, path), place
            return
    raise DataError(f"attributes/{label}: nothing makes it, and source '{shard.source}' brings none of that name.")


def _narrow(type_: pa.StructType, fields: Fields) -> pa.StructType:
    return type_ if fields is None else pa.struct([field for field in type_ if field.name in fields])


def _whole(column: pa.ChunkedArray) -> pa.StructArray:
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def read_index(run: Run, shard: ShardAt, columns: Sequence[str]) -> pa.Table:
    """Columns of a shard's index, in this order."""
    return get_table(run.folder, layout.index(shard.name), columns)


def read_block(
    process: Process,
    block: Block,
    *,
    index: Collection[str],
    wanted: Mapping[str, Fields],
    aligned: MutableMapping[tuple[str, str], str] | None = None,
) -> pa.Table:
    """Columns of all documents of a block, in order, without their text.

    Args:
        block: consecutive shards of one source. index: columns of `INDEX`, or `source`.
        wanted: attribute label -> fields.
        aligned: is told how attributes made elsewhere were found to fit: shard and label -> `ids` or `counts`.

    Returns:
        The index columns asked for (`source`: the recipe's), then the attribute columns; `block.rows` rows.

    Raises:
        DataError, MisalignedError: attributes that are not there, or of other documents.
    """
    source = block.shards[0].source
    types = attribute_types(process, source)
    names = [name for name in INDEX.names if name in index]
    made = made_columns(process)
    fields = [pa.field(label, _narrow(types[label], f)) for label, f in wanted.items()]
    parts: list[pa.Table] = []
    for shard in block.shards:
        columns: dict[str, pa.ChunkedArray | pa.Array] = {}
        if names:
            table = read_index(process.run, shard, names)
            columns = dict(zip(table.column_names, table.columns, strict=True))
        for field in fields:
            given = field.name not in made
            columns[field.name], by = _given(process, shard, field) if given else (_made(process, shard, field), "")
            if given and aligned is not None:
                aligned[shard.name, field.name] = by
        parts.append(pa.table(columns) if columns else pa.table({"row": pa.array(range(shard.rows), pa.int64())}))
    table = pa.concat_tables(parts)
    if "source" in index:
        table = table.append_column("source", pa.repeat(pa.scalar(source), table.num_rows))
    return table


def _made(process: Process, shard: ShardAt, field: pa.Field) -> pa.Array:
    """A whole attribute column that this run has made."""
    with _file(process, shard, field.name) as (path, _, _):
        column = read_made_attribute(path, field)
        if len(column) != shard.rows:
            raise DataError(
                f"{path}: {len(column)} rows for shard {shard.name}, which has {shard.rows} documents. "
                f"Delete the folder of attributes/{field.name} and run again: it is made anew."
            )
        return column


def _given(process: Process, shard: ShardAt, field: pa.Field) -> tuple[pa.Array, str]:
    """A whole attribute column that was made elsewhere, held against the ids of the index; and what it was held by."""
    with _file(process, shard, field.name) as (path, rows, _):
        edits = edit_fields(process.run.recipe, shard.source)
        reader = AttributeReader(path, pa.schema([field]), rows=rows, fits_text=edits, cuts=cuts_of(process))
        index = read_index(process.run, shard, ["id", "chars"])
        ids = index.column("id").combine_chunks()
        ids = ids.chunk(0) if isinstance(ids, pa.ChunkedArray) else ids
        table = reader.take_rows(shard.rows, ids=ids, chars=index.column("chars").to_numpy(), shard=shard.name)
        reader.finish(shard.rows)
        return _whole(table.column(field.name)), reader.aligned_by
