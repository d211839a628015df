"""The three files of a part, byte for byte."""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError
from dolma_pipeline.tokens.shards import PartFile, PartInfo, dataset_digest, write_part

EOS = 999
U2 = np.dtype("<u2")


def strings(values: Iterable[str]) -> pa.StringArray:
    return pa.array(list(values), pa.string())


def batch(tokens: list[list[int]], /, *, first: int = 0, **columns: Any) -> pa.Table:
    rows = range(first, first + len(tokens))
    found: dict[str, Any] = {
        "key": pa.array(rows, pa.uint64()),
        "origin": strings(f"web/2024/part-0#{row}" if row % 2 else f"books/b#1#{row}" for row in rows),
        "source": strings("web" if row % 2 else "books" for row in rows),
        "id": strings(f'id,"{row}"\n\r\0é' if row == 1 else f"id-{row}" for row in rows),
        "loc": pa.array([row + 10 for row in rows], pa.int64()),
        "epoch": pa.array([row % 3 for row in rows], pa.int32()),
        "gopher_v1.word_count": pa.array([row * 2 for row in rows], pa.int64()),
        "cluster": pa.array([row // 2 for row in rows], pa.int64()),
        "tokens": pa.array(tokens, pa.list_(pa.uint16())),
    }
    return pa.table({**found, **columns})


def part(folder: Path, batches: list[pa.Table], **settings: Any) -> PartInfo:
    return write_part(
        folder / "train" / "part-00000", batches, **{"dtype": U2, "eos": EOS, "special_ids": [998], **settings}
    )


def test_the_three_files(tmp_path: Path):
    info = part(tmp_path, [batch([[5, 6], []]), batch([[7], [258, 9, 10]], first=2)])
    stem = tmp_path / "train" / "part-00000"
    assert stem.with_suffix(".npy").read_bytes() == np.array([5, 6, EOS, 7, EOS, 258, 9, 10, EOS], "<u2").tobytes()
    with gzip.open(f"{stem}.csv.gz", "rt", newline="") as file:
        assert list(csv.reader(file)) == [
            ["0", "3", "id-0", "books/b#1", "10"],
            ["3", "5", "id-2", "books/b#1", "12"],
            ["5", "9", "id-3", "web/2024/part-0", "13"],
        ]
    table = pq.read_table(stem.with_suffix(".parquet"))
    assert table.column_names == ["start", "end", "origin", "source", "cluster", "epoch", "gopher_v1.word_count"]
    assert table.schema.field("start").type == table.schema.field("end").type == pa.uint64()
    assert table.slice(1, 1).to_pylist() == [
        {
            "start": 3,
            "end": 5,
            "origin": "books/b#1#2",
            "source": "books",
            "cluster": 1,
            "epoch": 2,
            "gopher_v1.word_count": 4,
        }
    ]
    assert (info.name, info.num_tokens, info.num_documents, info.num_empty) == ("part-00000", 9, 3, 1)
    assert info.tokens_by_source == {"books": 5, "web": 4}
    assert info.documents_by_source == {"books": 2, "web": 1}
    assert [file.name for file in info.files] == ["part-00000.csv.gz", "part-00000.npy", "part-00000.parquet"]
    for file in info.files:
        content = (stem.parent / file.name).read_bytes()
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert sorted(path.name for path in stem.parent.iterdir()) == [file.name for file in info.files]


def test_ids_of_users_with_commas_quotes_line_ends_and_nul(tmp_path: Path):
    """A line a document: OLMo-core reads lines and splits them at commas."""
    part(tmp_path, [batch([[1], [2]])])
    with gzip.open(tmp_path / "train" / "part-00000.csv.gz", "rt", encoding="utf-8") as file:
        lines = file.readlines()
    assert [line.split(",")[:2] for line in lines] == [["0", "2"], ["2", "4"]]
    assert list(csv.reader(lines))[1] == ["2", "4", 'id,"1"\\n\\r\0é', "web/2024/part-0", "11"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.lists(st.integers(0, 900), max_size=6), max_size=5), min_size=1, max_size=4),
    st.sampled_from(["<u1", "<u2", "<u4"]),
)
def test_eos_ends_each_document_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, lists: list[list[list[int]]], dtype: str
):
    eos = 255 if dtype == "<u1" else EOS
    lists = [[[i % 200 if dtype == "<u1" else i for i in ids] for ids in rows] for rows in lists]
    firsts = np.cumsum([0, *map(len, lists)]).tolist()
    kind = pa.list_(pa.from_numpy_dtype(np.dtype(dtype)))
    batches = [
        batch(rows, first=first, tokens=pa.array(rows, kind)) for rows, first in zip(lists, firsts, strict=False)
    ]
    folder = tmp_path_factory.mktemp("part")
    info = part(folder, batches, dtype=np.dtype(dtype), eos=eos, special_ids=[])
    kept = [ids for rows in lists for ids in rows if ids]
    expected = [token for ids in kept for token in [*ids, eos]]
    assert np.fromfile(folder / "train" / "part-00000.npy", dtype).tolist() == expected
    table = pq.read_table(folder / "train" / "part-00000.parquet")
    starts, ends = table.column("start").to_pylist(), table.column("end").to_pylist()
    assert [expected[start : end - 1] for start, end in zip(starts, ends, strict=True)] == kept
    with gzip.open(folder / "train" / "part-00000.csv.gz", "rt", newline="") as file:
        assert [(int(row[0]), int(row[1])) for row in csv.reader(file)] == list(zip(starts, ends, strict=True))
    assert (info.num_tokens, info.num_documents, info.num_empty) == (
        len(expected),
        len(kept),
        sum(map(len, lists)) - len(kept),
    )


def test_batches_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dolma_pipeline.tokens.shards._ROW_GROUP", 6)
    rows = [[i, i + 1] for i in range(20)]
    one = part(tmp_path / "a", [batch(rows)])
    many = part(tmp_path / "b", [batch([row], first=i) for i, row in enumerate(rows)])
    assert one == many
    metadata = pq.read_metadata(tmp_path / "b" / "train" / "part-00000.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [6, 6, 6, 2]


def test_same_bytes_again_under_another_name(tmp_path: Path):
    """No clock and no file name in the gzip header."""
    stem, other = tmp_path / "part-00000", tmp_path / "elsewhere" / "part-00007"
    infos = [write_part(path, [batch([[1], [2, 3]])], dtype=U2, eos=EOS) for path in (stem, other)]
    assert [file.sha256 for file in infos[0].files] == [file.sha256 for file in infos[1].files]
    assert (tmp_path / "part-00000.csv.gz").read_bytes()[3:8] == bytes(5)


def test_slices_of_tables(tmp_path: Path):
    part(tmp_path, [batch([[1], [2, 3], [4], [5]]).slice(1, 2)])
    assert np.fromfile(tmp_path / "train" / "part-00000.npy", "<u2").tolist() == [2, 3, EOS, 4, EOS]


@pytest.mark.parametrize(("token", "special"), [(EOS, "999"), (998, "998")])
def test_a_special_id_in_a_text_names_its_origin(tmp_path: Path, token: int, special: str):
    words = rf"web/2024/part-0#3: token 1 of its text is the special id {special}; special tokens must not come out"
    with pytest.raises(DataError, match=words):
        part(tmp_path, [batch([[1], [2]]), batch([[3], [4, token], [token]], first=2)])
    assert not list((tmp_path / "train").glob("*.npy"))


def test_unknown_text_is_counted_by_source_and_no_error(tmp_path: Path):
    """An id that the model writes for unknown text may stand in a text though it is a special one."""
    batches = [batch([[7, 5, 7], []]), batch([[7], [6], [7, 7, 7, 7]], first=2)]
    info = part(tmp_path, batches, special_ids=[998, 7], unk_id=7)
    assert info.unk_by_source == {"books": 7, "web": 0}
    assert np.fromfile(tmp_path / "train" / "part-00000.npy", "<u2").tolist().count(7) == 7
    assert part(tmp_path / "none", batches, special_ids=[998], unk_id=None).unk_by_source == {}
    assert part(tmp_path / "other", batches, special_ids=[998], unk_id=3).unk_by_source == {"books": 0, "web": 0}


def test_unknown_text_does_not_excuse_other_special_ids(tmp_path: Path):
    with pytest.raises(DataError, match="token 1 of its text is the special id 998"):
        part(tmp_path, [batch([[7, 998]])], special_ids=[7, 998], unk_id=7)
    with pytest.raises(DataError, match="token 0 of its text is the special id 999"):
        part(tmp_path / "eos", [batch([[EOS]])], special_ids=[], unk_id=EOS)


def test_ids_of_another_type(tmp_path: Path):
    with pytest.raises(DataError, match="tokens of type uint16, but the part is to hold uint32"):
        part(tmp_path, [batch([[1]])], dtype=np.dtype("<u4"))


def test_a_part_without_documents(tmp_path: Path):
    info = part(tmp_path, [batch([[], []])])
    assert (info.num_tokens, info.num_documents, info.num_empty) == (0, 0, 2)
    assert (tmp_path / "train" / "part-00000.npy").read_bytes() == b""
    assert "gopher_v1.word_count" in pq.read_table(tmp_path / "train" / "part-00000.parquet").column_names
    assert part(tmp_path / "none", []).num_tokens == 0
    assert pq.read_table(tmp_path / "none" / "train" / "part-00000.parquet").num_rows == 0


def test_dataset_digest_is_of_the_ids(tmp_path: Path):
    infos = [write_part(tmp_path / f"part-{i:05}", [batch([[i]])], dtype=U2, eos=EOS) for i in range(2)]
    files = [file for info in infos for file in info.files]
    digest = dataset_digest(files)
    assert digest.startswith("sha256:")
    assert dataset_digest(reversed(files)) == digest
    assert dataset_digest(map(PartFile.of, tmp_path.glob("*.npy"))) == digest
    assert dataset_digest(infos[0].files) != digest
    renamed = [
        write_part(tmp_path / "b" / f"part-{i:05}", [batch([[i]], id=["other"])], dtype=U2, eos=EOS) for i in range(2)
    ]
    assert dataset_digest(file for info in renamed for file in info.files) == digest
    changed = write_part(tmp_path / "c" / "part-00001", [batch([[2]])], dtype=U2, eos=EOS)
    assert dataset_digest([*infos[0].files, *changed.files]) != digest


def test_two_copies_of_a_part_do_not_write_into_each_other(tmp_path: Path):
    """A copy begins and ends while another is in the middle, which then dies."""
    whole = part(tmp_path / "one", [batch([[1, 2, 3], [4]]), batch([[5]], first=2)])

    def slow() -> Iterator[pa.Table]:
        yield batch([[7, 7, 7, 7, 7, 7]])
        part(tmp_path / "two", [batch([[1, 2, 3], [4]]), batch([[5]], first=2)])
        yield batch([[8]])
        raise ValueError("died")

    with pytest.raises(ValueError, match="died"):
        write_part(tmp_path / "two" / "train" / "part-00000", slow(), dtype=U2, eos=EOS)
    written = sorted((tmp_path / "two" / "train").iterdir())
    assert [path.name for path in written] == ["part-00000.csv.gz", "part-00000.npy", "part-00000.parquet"]
    assert tuple(map(PartFile.of, written)) == whole.files
