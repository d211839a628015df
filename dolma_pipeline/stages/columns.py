"""Which attribute columns a source has, where they are, and documents read in step with them.

Columns come from the recipe's taggers, from its dedupe steps, and from folders that a source names (`attributes:`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from dolma_pipeline.documents import SCHEMA, SPANS_TYPE, Batch
from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.io.attribute_rows import FileRanges
from dolma_pipeline.io.attribute_types import is_open, settled
from dolma_pipeline.io.attributes import AttributeReader, attribute_schema, find_attributes
from dolma_pipeline.io.manifest import Records
from dolma_pipeline.io.shards import Shard
from dolma_pipeline.stages.context import Failures, RunContext
from dolma_pipeline.stages.own_files import present

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
"""A dedupe step's column. cluster: origin of its first document; group: the same for all that this step or an
earlier one connects with it; size: its documents; rank: place in it, 0 first;
keep: elected; jaccard: estimated likeness to the document that is kept (exact: 1.0)."""


def made_columns(context: RunContext) -> dict[str, pa.DataType]:
    """Columns that this run makes itself: label -> struct type, known before anything has run."""
    recipe = context.recipe
    columns: dict[str, pa.DataType] = {}
    if recipe.tag:
        for use in recipe.tag.taggers:
            type_ = context.tagger(use).type
            columns[use.name] = type_ if recipe.tag.format == "parquet" else _dolma_type(use.name, type_)
    if recipe.dedupe:
        columns.update({step.name: DEDUPE_TYPE for step in recipe.dedupe.steps})
    return columns


def _dolma_type(label: str, type_: pa.StructType) -> pa.StructType:
    # A string field's names in Dolma's files depend on its values, so it cannot stand in a rule.
    return pa.struct(
        [pa.field(f"{label}__{field.name}", SPANS_TYPE) for field in type_ if not pa.types.is_string(field.type)]
    )


def given_columns(context: RunContext, source: str) -> dict[str, pa.DataType]:
    """Columns that a source brings along, from its `attributes` folders; the first folder that has a name counts.

    Raises:
        ConfigError: a folder that is not there, or has no file for the source's shards.
    """
    columns: dict[str, pa.DataType] = {}
    for folder in context.recipe.sources[source].attributes:
        columns = {**_folder_columns(context, source, Path(folder)), **columns}
    return columns


_FOLDERS: dict[tuple[object, ...], dict[str, pa.DataType]] = {}


def _folder_columns(context: RunContext, source: str, folder: Path) -> dict[str, pa.DataType]:
    """Columns of one folder: of Parquet, those of its first file; of JSONL, all that occur in any of its files.

    A field of which the first Parquet file says no type (it is null in all its rows) has that of the next one.
    """
    key = (context.fingerprint, source, folder)
    if key not in _FOLDERS:
        if not folder.is_dir():
            raise ConfigError(f"sources.{source}.attributes: {folder}: no such folder")
        columns: dict[str, pa.DataType] = {}
        shards = [shard for shard in context.shards() if shard.source == source]
        for path in dict.fromkeys(_given_path(folder, shard) for shard in shards):
            for field in attribute_schema(path):
                columns[field.name] = _united(columns.get(field.name, field.type), field.type)
            if path.suffix == ".parquet" and not any(is_open(one.type) for type_ in columns.values() for one in type_):
                break
        _FOLDERS[key] = {name: _settled(type_) for name, type_ in columns.items()}
    return _FOLDERS[key]


def _united(a: pa.StructType, b: pa.StructType) -> pa.StructType:
    fields = {field.name: field for field in a}
    for field in b:
        if field.name not in fields or is_open(fields[field.name].type):
            fields[field.name] = field
    return pa.struct([*fields.values()] if len(fields) == a.num_fields else [fields[name] for name in sorted(fields)])


def _settled(type_: pa.StructType) -> pa.StructType:
    return pa.struct([pa.field(field.name, settled(field.type)) for field in type_])


def given_files(context: RunContext, source: str) -> list[Path]:
    """The attribute files that a source brings along: of each folder, one for each of its shards."""
    shards = [shard for shard in context.shards() if shard.source == source]
    folders = [Path(folder) for folder in context.recipe.sources[source].attributes]
    return [path for folder in folders for path in dict.fromkeys(_given_path(folder, shard) for shard in shards)]


def _given_path(folder: Path, shard: Shard) -> Path:
    """The file of a shard, or where it is a range, that of its whole file."""
    name = shard.name if shard.start is None else shard.name.rpartition("@")[0]
    names = [each for full in dict.fromkeys((shard.name, name)) for each in (full.split("/", 1)[1], full)]
    for each in names:
        if path := find_attributes(folder, each):
            return path
    bare = names[0::2]
    raise ConfigError(
        f"sources.{shard.source}.attributes: {folder} has no file for shard {shard.name} "
        f"(looked for {' and '.join(f'{each}.parquet and {each}.jsonl.gz' for each in bare)}). Attribute files are "
        "called like their documents."
    )


_RANGES: dict[tuple[object, ...], dict[str, FileRanges]] = {}


def attribute_rows(context: RunContext, shard: Shard, path: Path) -> range | None:
    """The rows of an attribute file that belong to a shard; None: all.

    Raises:
        MisalignedError: attributes of a file that is read in ranges, which do not fit its documents.
    """
    if shard.start is None or path.name.startswith(f"{shard.name.rpartition('/')[2]}."):
        return None
    return _file_ranges(context, shard).rows(shard, path)


def _file_ranges(context: RunContext, shard: Shard) -> FileRanges:
    key = context.fingerprint
    if key not in _RANGES:
        by_file: dict[str, list[Shard]] = {}
        for one in context.shards():
            if one.start is not None:
                by_file.setdefault(one.path, []).append(one)
        fields = {name: source.fields for name, source in context.recipe.sources.items()}
        _RANGES[key] = {path: FileRanges(ranges, fields=fields[ranges[0].source]) for path, ranges in by_file.items()}
    return _RANGES[key][shard.path]


def row_schema(context: RunContext, source: str) -> pa.Schema:
    """All that a rule about this source's documents can name: document columns, then attributes."""
    columns = {**made_columns(context), **given_columns(context, source)}
    return pa.schema([*SCHEMA, *(pa.field(name, type_) for name, type_ in columns.items())])


def edit_fields(context: RunContext, source: str) -> list[str]:
    """The span fields, as `column.field`, by which the texts of a source are edited."""
    mix = context.recipe.mix
    if mix is None:
        return []
    removed = mix.sources[source].remove if source in mix.sources else ()
    return [*(replace.spans for replace in mix.replace), *removed]


class RowReader:
    """A shard's batches, each with a table of its document columns and some attribute columns; iterate once.

    Args:
        context: the run. shard: whose rows. columns: attributes to read. failures: gets unreadable lines.
        fields: of these attributes only these fields are read; of the others, all.

    Attributes:
        inputs: what was read, as a record has it; known at the end.

    Raises:
        MisalignedError: attributes that do not fit the documents.
        DataError: attributes that are not there yet, or were made when the input was another.
    """

    def __init__(
        self,
        context: RunContext,
        shard: Shard,
        columns: Sequence[str],
        failures: Failures,
        *,
        fields: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.context, self.shard = context, shard
        self.columns = [label for label in columns if label not in SCHEMA.names]
        self._documents = context.read(shard, failures)
        schema = row_schema(context, shard.source)
        self._attributes = [self._open(schema.field(label), (fields or {}).get(label)) for label in self.columns]

    def _open(self, field: pa.Field, wanted: Collection[str] | None) -> AttributeReader:
        path = attribute_file(self.context, self.shard, field.name)
        if path is None:
            raise DataError(
                f"attributes/{field.name}: no file for shard {self.shard.name}. Run the stage that makes it first."
            )
        type_ = field.type if wanted is None else pa.struct([one for one in field.type if one.name in wanted])
        return AttributeReader(
            path,
            pa.schema([pa.field(field.name, type_)]),
            rows=attribute_rows(self.context, self.shard, path),
            fits_text=edit_fields(self.context, self.shard.source),
        )

    def __iter__(self) -> Iterator[tuple[Batch, pa.Table]]:
        num_documents = 0
        for batch in self._documents:
            table = pa.Table.from_batches([batch.table])
            for reader in self._attributes:
                taken = reader.take(batch)
                for name in taken.schema.names:
                    table = table.append_column(taken.schema.field(name), taken.column(name))
            num_documents += len(batch)
            yield batch, table
        for reader in self._attributes:
            reader.finish(num_documents)
        for label in self.columns:
            check_unchanged(self.shard, made_from(self.context, label, self.shard), self.inputs, f"attributes/{label}")

    @property
    def aligned_by(self) -> dict[str, str]:
        """Of each attribute column, whether the ids of all rows were compared ("ids") or rows only counted."""
        return {label: reader.aligned_by for label, reader in zip(self.columns, self._attributes, strict=True)}

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The file that was read: path, bytes, sha256 (None for a range of a Parquet file)."""
        return [{"path": self.shard.path, "bytes": self.shard.bytes, "sha256": self._documents.sha256}]


def check_unchanged(
    shard: Shard, before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]], what: str
) -> None:
    """Raises DataError if `what` was made from another content of the shard's file."""
    for old, new in zip(before, now, strict=False):
        if old["sha256"] and new["sha256"] and old["sha256"] != new["sha256"]:
            raise DataError(
                f"{shard.path}: the file was changed (its sha256 is another) since {what} was made from it. "
                "Put the old file back, or give it another name, or start in another output folder."
            )


def made_from(context: RunContext, label: str, shard: Shard) -> list[dict[str, Any]]:
    """The inputs from which this run made an attribute of a shard; none if it was brought along."""
    if label not in made_columns(context):
        return []
    folder = context.path / ("dedupe" if label in _dedupe_steps(context) else "attributes") / label
    manifest = present(context, folder / "manifest.json")
    made = _inputs(folder, context.version(manifest))
    if shard.name not in made:
        raise DataError(f"{manifest}: it lists no shard {shard.name}. Delete {folder} and give the same command again.")
    return made[shard.name]


@lru_cache(maxsize=64)
def _inputs(folder: Path, version: str) -> dict[str, list[dict[str, Any]]]:
    return {record["shard"]: record["inputs"] for record in Records(folder).read()}


def _dedupe_steps(context: RunContext) -> list[str]:
    return [step.name for step in context.recipe.dedupe.steps] if context.recipe.dedupe else []


def attribute_file(context: RunContext, shard: Shard, label: str) -> Path | None:
    """The file that holds an attribute of a shard, made by this run or brought along; None if there is none (yet).

    Raises:
        DataError: this run has made it, and it is gone.
    """
    if label not in made_columns(context):
        return _given_holder(context, shard, label)
    if context.records(f"attributes/{label}").manifest() is None:
        return None
    made_as = context.recipe.tag.format if context.recipe.tag and label not in _dedupe_steps(context) else "parquet"
    return present(context, context.attribute_path(label, shard.name, format=made_as))


def _given_holder(context: RunContext, shard: Shard, label: str) -> Path | None:
    for folder in context.recipe.sources[shard.source].attributes:
        if label in _folder_columns(context, shard.source, Path(folder)):
            return _given_path(Path(folder), shard)
    return None
