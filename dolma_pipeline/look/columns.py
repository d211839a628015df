"""What rules and orders read, row group by row group: from the table, and whole lists from the run's own files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from dolma_pipeline.look.groups import Groups, is_list, stored_of, there_name
from dolma_pipeline.look.table import Table, Wanted
from dolma_pipeline.run.columns import attribute_types, read_block
from dolma_pipeline.sql.columns import BYTES, index_fields
from dolma_pipeline.sql.rewrite import Field, Stored

Reference = tuple[str, str | None]
"""A column that is read, and the field of it (None: all)."""


@dataclass(frozen=True)
class Columns:
    """The columns of one source.

    Args:
        table: where they are kept. groups: of the source.
    """

    table: Table
    groups: Groups

    @property
    def types(self) -> dict[str, pa.StructType]:
        """The source's attributes: label -> struct type."""
        return attribute_types(self.groups.finished.process, self.groups.source.name)

    @property
    def stored(self) -> Stored:
        """What stands for lists."""
        return stored_of(self.types)

    def chunks(
        self,
        references: Sequence[Reference],
        lists: Collection[Field] = (),
        given: Mapping[str, pa.Array] | None = None,
    ) -> Iterator[pa.Table]:
        """Tables with all that is read, in the order of the documents; each has one column at least.

        Args:
            references: what is read, lists by the names that stand for them. lists: those of which items are needed.
            given: columns of all documents that are made elsewhere (dedupe steps), by name.
        """
        given = given or {}
        whole = {label for label, _ in lists} - set(given)
        left = [one for one in references if one[0] not in given and one[0] not in whole]
        rest = _Whole(self.groups, sorted(whole))
        at = 0
        for chunk in self.table.chunks(self._wanted(left)):
            columns = {name: chunk.column(name) for name in chunk.column_names if not _is_plain(name)}
            for label in dict.fromkeys(column for column, _ in left if column in self.types):
                columns[label] = _struct(chunk, label)
            if any(column == "source" for column, _ in references):
                columns["source"] = pa.repeat(pa.scalar(self.groups.source.name), chunk.num_rows)
            columns |= {name: array.slice(at, chunk.num_rows) for name, array in given.items()}
            columns |= rest.take(chunk.num_rows)
            at += chunk.num_rows
            yield pa.table(columns)

    def _wanted(self, references: Sequence[Reference]) -> list[Wanted]:
        """The columns of the table that are read, by group; one at least, because rules of constants have rows, too."""
        index: dict[str, None] = {}
        attributes: dict[str, dict[str, None]] = {}
        for column, field in references:
            if column in index_fields.names:
                index |= {} if column == "source" else {column: None}
            elif column in self.types:
                plain = [one.name for one in self.types[column] if not is_list(one.type)]
                names = [f"{column}.{field}"] if field is not None else [f"{column}.{name}" for name in plain]
                if field is None:
                    names.append(there_name(column))
                attributes.setdefault(column, {}).update(dict.fromkeys(names))
            else:
                label = next(label for label, names in self._stand_ins.items() if column in names)
                attributes.setdefault(label, {})[column] = None
        if not index and not attributes:
            index = {BYTES: None}
        found: list[Wanted] = [(self.groups.index(), list(index))] if index else []
        return found + [(self.groups.attribute(label), list(names)) for label, names in attributes.items()]

    @property
    def _stand_ins(self) -> dict[str, set[str]]:
        """Label -> columns that stand for its lists."""
        found: dict[str, set[str]] = {}
        for kept in (self.stored.counts, self.stored.scores):
            for (label, _), name in kept.items():
                found.setdefault(label, set()).add(name)
        return found


def _is_plain(name: str) -> bool:
    """Whether a column of the table is a field of an attribute, `label.field`."""
    return "." in name and not name.startswith("#")


def _struct(chunk: pa.Table, label: str) -> pa.StructArray:
    """An attribute of the fields that were read; NULL where it was not there, as far as that was read."""
    there = there_name(label)
    names = [name for name in chunk.column_names if name.startswith(f"{label}.")]
    arrays = [chunk.column(name).combine_chunks() for name in names]
    arrays = [array.chunk(0) if isinstance(array, pa.ChunkedArray) else array for array in arrays]
    names = [name.removeprefix(f"{label}.") for name in names]
    mask = None
    if there in chunk.column_names:
        mask = pa.array(~chunk.column(there).to_numpy(zero_copy_only=False))
    if not arrays:  # lists alone, and the rule asks whether they are there
        arrays, names = [pa.repeat(pa.scalar(True), chunk.num_rows)], ["_"]
    return pa.StructArray.from_arrays(arrays, names=names, mask=mask)


class _Whole:
    """Whole attributes with their lists, from the run's files, cut to the table's row groups."""

    def __init__(self, groups: Groups, labels: Sequence[str]) -> None:
        self._labels = labels
        process, wanted = groups.finished.process, dict.fromkeys(labels)
        blocks = groups.source.blocks if labels else ()
        self._parts = (read_block(process, block, index=(), wanted=wanted) for block in blocks)
        self._held: pa.Table | None = None

    def take(self, rows: int) -> dict[str, pa.ChunkedArray]:
        """The next rows; a row group never reaches over the end of a block."""
        if not self._labels:
            return {}
        if self._held is None or self._held.num_rows == 0:
            self._held = next(self._parts)
        part, self._held = self._held.slice(0, rows), self._held.slice(rows)
        return {label: part.column(label) for label in self._labels}
