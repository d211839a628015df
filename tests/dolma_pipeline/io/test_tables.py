"""Tables come back as they were, from files that are whole or not there."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.io.tables import ROW_GROUP_ROWS, get_range, put_table, write_table
from dolma_pipeline.storage.local import LocalFolder

TABLE = pa.table(
    {
        "key": np.array([0, 2**64 - 1, 7], np.uint64),
        "low": pa.array([b"\0a", b"bc", b"\xff\xff"], pa.binary(2)),
        "name": ["", "ü", None],
    }
)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_table_comes_back_from_plain_columns(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "new" / "folder" / "x.parquet"
    write_table(path, TABLE, compression=compression)
    assert pq.read_table(path) == TABLE
    column = pq.read_metadata(path).row_group(0).column(0)
    assert column.compression == {"none": "UNCOMPRESSED", "zstd": "ZSTD"}[compression]
    assert not column.has_dictionary_page


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    write_table(tmp_path / "a", TABLE)
    write_table(tmp_path / "b", pa.concat_tables([TABLE[:1], TABLE[1:]]).combine_chunks())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_of_a_sorted_column_a_range_is_read_alone(tmp_path: Path) -> None:
    keys = np.arange(3 * ROW_GROUP_ROWS - 1, dtype=np.uint64)
    write_table(tmp_path / "x", pa.table({"key": keys}))
    metadata = pq.read_metadata(tmp_path / "x")
    found = [metadata.row_group(i).column(0).statistics for i in range(metadata.num_row_groups)]
    cuts = [0, ROW_GROUP_ROWS, 2 * ROW_GROUP_ROWS, len(keys)]
    assert [(one.min, one.max + 1) for one in found] == list(itertools.pairwise(cuts))


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 7), (7, 70_000), (65_536, 65_537), (140_000, 150_000)])
def test_a_range_of_a_sorted_table(tmp_path: Path, first: int, last: int) -> None:
    numbers = np.arange(0, 140_000, 2)
    folder = LocalFolder(tmp_path)
    put_table(folder, "x.parquet", pa.table({"node": numbers, "name": [str(n) for n in numbers.tolist()]}))
    found = get_range(folder, "x.parquet", "node", first, last)
    expected = [n for n in numbers.tolist() if first <= n < last]
    assert found.column("node").to_pylist() == expected
    assert found.column("name").to_pylist() == [str(n) for n in expected]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    write_table(tmp_path / "x", TABLE)
    with pytest.raises(pa.ArrowException, match="no such codec"):
        write_table(tmp_path / "x", TABLE[:1], compression="no such codec")
    assert pq.read_table(tmp_path / "x") == TABLE
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
