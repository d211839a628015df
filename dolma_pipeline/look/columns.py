"""What rules and orders read, row group by row group: from the table, and whole lists from the run's own files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from dolma_pipeline.look.groups import THERE, Groups, count_name, is_list, score_name, stored_of
from dolma_pipeline.look.table import Table, Wanted
from dolma_pipeline.run.columns import attribute_types, read_block
from dolma_pipeline.sql.columns import BYTES, CHARS, index_fields
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
        whole = {label for label, _ in lists}
        wanted: dict[str, Wanted] = {}
        for column, field in references:
            if column not in given and column not in whole:
                for name, found in self._group(column, field):
                    before = wanted.get(name)
                    names = [*(before[1] or ()), *(found[1] or ())] if before else found[1]
                    wanted[name] = (found[0], list(dict.fromkeys(names or ())))
        wanted = wanted or {"sizes": (self.groups.sizes(), [BYTES])}  # rules of constants have rows, too
        rest = self._whole(sorted(whole - set(given)))
        source = self.groups.source.name
        at = 0
        for chunk in self.table.chunks(list(wanted.values())):
            columns = dict(zip(chunk.column_names, chunk.columns, strict=True))
            if any(column == "source" for column, _ in references):
                columns["source"] = pa.repeat(pa.scalar(source), chunk.num_rows)
            columns |= {name: array.slice(at, chunk.num_rows) for name, array in given.items()}
            columns |= rest.take(chunk.num_rows)
            at += chunk.num_rows
            yield pa.table(columns)

    def _group(self, column: str, field: str | None) -> Iterator[tuple[str, Wanted]]:
        """The group that holds a column, under a name of its own."""
        groups = self.groups
        if column in (CHARS, BYTES):
            yield "sizes", (groups.sizes(), [column])
        elif column in index_fields.names and column != "source":
            yield column, (groups.document(column), [column])
        elif column in self.types:
            type_ = self.types[column]
            scalars = [f.name for f in type_ if not is_list(f.type)]
            names = [field] if field is not None else scalars or [THERE]
            yield f"scalars {column}", (groups.scalars(column), [f"{column}.{name}" for name in names])
        elif column != "source":
            label = next(one for one in self.types if self._stands_for(column, one))
            yield f"spans {label}", (groups.spans(label), [column])

    def _stands_for(self, column: str, label: str) -> bool:
        names = [f.name for f in self.types[label] if is_list(f.type)]
        return column in {*(count_name(label, n) for n in names), *(score_name(label, n) for n in names)}

    def _whole(self, labels: Sequence[str]) -> _Whole:
        return _Whole(self.groups, labels)


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
