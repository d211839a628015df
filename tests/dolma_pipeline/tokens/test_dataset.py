"""Instances as OLMo-core cuts them, and the documents in them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import DataError, MisalignedError, UsageError
from dolma_pipeline.tokens import TokenDataset
from dolma_pipeline.tokens.shards import write_part

EOS = 0


def write(folder: Path, parts: list[list[int]], dtype: str = "<u2") -> Path:
    """Parts of documents of these lengths (EOS included); ids count up through all of them."""
    token, row = 1, 0
    for number, lengths in enumerate(parts):
        lists, first = [], row
        for length in lengths:
            lists.append([1 + i % 200 for i in range(token, token + length - 1)])
            token, row = token + length - 1, row + 1
        rows = range(first, row)
        table = pa.table(
            {
                "origin": [f"web/a#{i}" for i in rows],
                "source": [("web", "code")[i % 2] for i in rows],
                "id": [str(i) for i in rows],
                "loc": pa.array([i + 1 for i in rows], pa.int64()),
                "epoch": pa.array([i % 2 for i in rows], pa.int32()),
                "cluster": pa.array([i * 3 for i in rows], pa.int64()),
                "gopher_v1.word_count": pa.array([i * 10 for i in rows], pa.int64()),
                "tokens": pa.array(lists, pa.list_(pa.from_numpy_dtype(np.dtype(dtype)))),
            }
        )
        write_part(folder / f"part-{number:05}", [table], dtype=np.dtype(dtype), eos=EOS)
    return folder


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(2, 12), max_size=6), min_size=1, max_size=4),
    st.integers(1, 12),
    st.sampled_from(["<u1", "<u2", "<u4"]),
)
def test_chunks_of_each_file_and_their_documents(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], length: int, dtype: str
):
    folder = write(tmp_path_factory.mktemp("train"), parts, dtype)
    dataset = TokenDataset(str(folder), sequence_length=length, dtype=dtype)
    expected, owners = [], []
    row = 0
    for number, lengths in enumerate(parts):
        ids = np.fromfile(folder / f"part-{number:05}.npy", dtype)
        owner = [row + i for i, size in enumerate(lengths) for _ in range(size)]
        row += len(lengths)
        for start in range(0, len(ids) - length + 1, length):
            expected.append(ids[start : start + length].tolist())
            owners.append(owner[start : start + length])
    assert len(dataset) == len(expected)
    assert [ids.tolist() for ids in dataset] == expected
    assert dataset.num_tokens == sum(map(sum, parts))
    for instance, owner in enumerate(owners):
        spans = dataset.documents(instance)
        assert [i for span in spans for i in [int(span.origin.split("#")[1])] * (span.end - span.start)] == owner
        assert [span.start for span in spans] == [0, *[span.end for span in spans[:-1]]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A tokens stage: parts of 9 and 9 ids, a held-out part of 5, and its manifest."""
    write(tmp_path / "tokens" / "train", [[5, 4], [3, 6]])
    write(tmp_path / "tokens" / "held_out" / "web", [[5]])
    (tmp_path / "tokens" / "manifest.json").write_text(json.dumps({"stage": "tokens", "dtype": "uint16"}))
    return tmp_path / "tokens"


def test_a_document_span(run: Path):
    spans = TokenDataset(run / "train", sequence_length=4).documents(2)
    assert [(s.origin, s.start, s.end, s.part, s.part_start, s.part_end) for s in spans] == [
        ("web/a#2", 0, 3, "part-00001", 0, 3),
        ("web/a#3", 3, 4, "part-00001", 3, 9),
    ]
    assert (spans[1].source, spans[1].cluster, spans[1].epoch) == ("code", 9, 1)
    assert spans[1].attributes == {"gopher_v1.word_count": 30}


def test_dtype_comes_from_the_manifest(run: Path):
    train = TokenDataset(str(run / "train"), sequence_length=4)
    held_out = TokenDataset(str(run / "held_out" / "web"), sequence_length=4)
    assert (train.dtype, len(train), train.num_tokens) == (np.dtype("<u2"), 4, 18)
    assert (held_out.dtype, len(held_out)) == (np.dtype("<u2"), 1)
    (run / "manifest.json").write_text(json.dumps({"stage": "tokens", "plan": {"dtype": "uint8"}}))
    assert len(TokenDataset(run / "train", sequence_length=4)) == 8


def test_it_is_a_sequence(run: Path):
    dataset = TokenDataset(run / "train", sequence_length=4)
    assert dataset[-1].tolist() == dataset[3].tolist()
    assert [ids.tolist() for ids in dataset[1:3]] == [dataset[1].tolist(), dataset[2].tolist()]
    assert dataset[np.uint32(2)].tolist() == dataset[2].tolist()
    assert dataset.take(np.array([3, 0], np.uint32)).tolist() == [dataset[3].tolist(), dataset[0].tolist()]
    assert dataset.take([]).shape == (0, 4)
    assert dataset[0].dtype == np.uint16
    with pytest.raises(ValueError, match="read-only"):
        dataset[0][0] = 1
    for outside in (4, -5):
        with pytest.raises(IndexError, match=f"instance {outside}: the dataset has 4"):
            dataset[outside]


def test_it_travels_to_other_processes(run: Path):
    dataset = TokenDataset(run / "train", sequence_length=4)
    before = dataset[2].tolist(), dataset.documents(2)
    packed = pickle.dumps(dataset)
    assert len(packed) < 2_000
    again = pickle.loads(packed)
    assert (again[2].tolist(), again.documents(2)) == before


def test_parts_that_are_empty_or_shorter_than_an_instance(tmp_path: Path):
    folder = write(tmp_path, [[3], [], [9], [2]])
    dataset = TokenDataset(folder, sequence_length=4, dtype="uint16")
    assert len(dataset) == 2
    assert dataset.documents(0)[0].part == "part-00002"
    assert len(TokenDataset(folder, sequence_length=100, dtype="uint16")) == 0


def test_rows_in_many_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dolma_pipeline.tokens.shards._ROW_GROUP", 3)
    dataset = TokenDataset(write(tmp_path, [[2] * 20]), sequence_length=8, dtype="uint16")
    spans = [span.origin for instance in (4, 0, 2, 1, 3) for span in dataset.documents(instance)]
    assert spans == [f"web/a#{row}" for instance in (4, 0, 2, 1, 3) for row in range(instance * 4, instance * 4 + 4)]


def test_no_parts(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"train: no part-\*\.npy \(there is no such folder\); the tokens stage writes them"
    ):
        TokenDataset(tmp_path / "train", sequence_length=4)
    with pytest.raises(DataError, match=r"no part-\*\.npy \(the folder has none\)"):
        TokenDataset(tmp_path, sequence_length=4)


def test_no_manifest(run: Path):
    (run / "manifest.json").unlink()
    with pytest.raises(
        DataError, match=r"train: no manifest\.json \(.*tokens/manifest\.json or .*\), so the ids' dtype is not known"
    ):
        TokenDataset(run / "train", sequence_length=4)
    (run / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match=r"manifest\.json: has no `dtype`; it is not the manifest of a tokens stage"):
        TokenDataset(run / "train", sequence_length=4)


def test_a_file_that_was_cut_off(run: Path):
    path = run / "train" / "part-00001.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        DataError, match=r"part-00001\.npy: 17 bytes are not a whole number of uint16 ids; it was cut off"
    ):
        TokenDataset(run / "train", sequence_length=4)


def test_a_parquet_of_another_run(run: Path):
    (run / "train" / "part-00000.parquet").write_bytes((run / "held_out" / "web" / "part-00000.parquet").read_bytes())
    dataset = TokenDataset(run / "train", sequence_length=4)
    with pytest.raises(MisalignedError, match=r"part-00000\.parquet: its documents end at token 5, but the part has 9"):
        dataset.documents(0)
    (run / "train" / "part-00001.parquet").unlink()
    with pytest.raises(
        DataError, match=r"part-00001\.parquet: missing; without it the documents of this part are not known"
    ):
        dataset.documents(2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sequence_length": 0}, "instances of 0 tokens: at least 1 is needed"),
        ({"sequence_length": 4, "dtype": "int32"}, "ids of dtype 'int32'; shards have one of uint8, uint16, uint32"),
    ],
)
def test_wrong_use(run: Path, settings: dict[str, object], words: str):
    with pytest.raises(UsageError, match=words):
        TokenDataset(run / "train", **settings)  # type: ignore[arg-type]


def test_a_part_that_is_lost_is_not_left_out(run: Path):
    """The list of the run decides which parts there are, not what lies in the folder."""
    names = [path.relative_to(run).as_posix() for path in sorted(run.rglob("part-*.npy"))]
    assert len(names) == 3
    lines = [json.dumps({"shard": name[:-4], "outputs": [{"path": name}]}) for name in names]
    (run / "shards.jsonl").write_text("\n".join(lines))
    assert len(TokenDataset(run / "train", sequence_length=4)) == 4
    lost = run / "train" / "part-00001.npy"
    lost.rename(run / "train" / "part-00002.npy")
    with pytest.raises(
        DataError, match=r"shards\.jsonl: .*/train/part-00001\.npy is listed there, but is gone\. Delete "
    ):
        TokenDataset(run / "train", sequence_length=4)
    (run / "train" / "part-00002.npy").rename(lost)
    (run / "train" / "part-00003.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"/train/part-00003\.npy is there, but is not listed\. Delete .* and run the"):
        TokenDataset(run / "train", sequence_length=4)
    assert len(TokenDataset(run / "train", sequence_length=4, dtype="uint16")) == 4
