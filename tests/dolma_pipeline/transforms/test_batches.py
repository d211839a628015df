"""Batches through Beam: what is read, tagged, filtered and written, what fails on the way, and how they travel."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
import zstandard
from apache_beam.coders.typecoders import registry
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.config.recipe import TaggerConfig
from dolma_pipeline.documents import COLUMNS, Batch, Document
from dolma_pipeline.errors import UnknownNameError, UsageError
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.registry import install_modules, load_tagger, read_modules
from dolma_pipeline.transforms import Filter, ReadDocuments, Tag, WriteDocuments
from dolma_pipeline.transforms.batches import BatchCoder

MODULE = """
import dolma_pipeline as dp

@dp.tagger("digits_v1", fields={"count": int, "spans": list[dp.Span]})
def digits(doc: dp.Document, *, most: int = 1000) -> dp.Attributes:
    \"\"\"Digits, and where they are; refuses texts with a question.\"\"\"
    if "?" in doc.text:
        raise ValueError("a question")
    spans = [dp.Span(i, i + 1) for i, c in enumerate(doc.text) if c.isdigit()][:most]
    return {"count": len(spans), "spans": spans}
"""


@pytest.fixture(scope="module", autouse=True)
def my_tagger(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("modules") / "digits.py"
    path.write_text(MODULE)
    install_modules(read_modules([str(path)]))


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    """Two files: 2,500 documents in one, of every fifth row a digit; bad lines and a question in the other."""
    folder = tmp_path / "in"
    folder.mkdir()
    rows = [{"id": f"a{i}", "text": f"document {'x' if i % 5 else i}", "metadata": {"n": i}} for i in range(2_500)]
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(b"".join(orjson.dumps(row) + b"\n" for row in rows)))
    (folder / "b.jsonl").write_bytes(b'{"id": "b0", "text": "7 8"}\nbad\n{"id": "b1", "text": "what?"}\n{"id": "b2"}\n')
    return str(folder / "*")


def run(build: Callable[[Any], None]) -> Any:
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    build(pipeline)
    result = pipeline.run()
    result.wait_until_finish()
    return result


def dump(value: Any, folder: str) -> str:
    raw = b"b" + BatchCoder().encode(value) if isinstance(value, Batch) else b"p" + pickle.dumps(value)
    path = Path(folder) / f"{hash(raw)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return str(path)


def keep(collection: Any, folder: Path) -> None:
    """Leave the elements of a collection in a folder."""
    collection | f"dump {folder.name}" >> beam.Map(dump, folder=str(folder))


def kept(folder: Path) -> list[Any]:
    """The elements that were left: batches by shard and row, other things by their representation."""
    raws = [path.read_bytes() for path in folder.iterdir()] if folder.is_dir() else []
    batches = [BatchCoder().decode(raw[1:]) for raw in raws if raw[:1] == b"b"]
    others = [pickle.loads(raw[1:]) for raw in raws if raw[:1] == b"p"]
    return [*sorted(batches, key=lambda batch: (batch.shard, batch.first_row)), *sorted(others, key=repr)]


def column(batches: list[Batch], name: str) -> list[Any]:
    return [value for batch in batches for value in batch.table.column(name).to_pylist()]


def test_documents_are_read_in_batches_and_bad_lines_can_be_had(corpus: str, tmp_path: Path) -> None:
    def build(pipeline: Any) -> None:
        batches = pipeline | ReadDocuments(corpus, source="web")
        assert isinstance(registry.get_coder(batches.element_type), BatchCoder)
        keep(batches, tmp_path / "batches")
        keep(batches.failures, tmp_path / "failures")

    result = run(build)
    batches = kept(tmp_path / "batches")
    assert [(batch.shard, batch.first_row, len(batch)) for batch in batches] == [
        ("web/a", 0, 1000),
        ("web/a", 1000, 1000),
        ("web/a", 2000, 500),
        ("web/b", 0, 2),
    ]
    assert column(batches, "id") == [*(f"a{i}" for i in range(2_500)), "b0", "b1"]
    assert batches[3].locs.tolist() == [1, 3]
    failures = kept(tmp_path / "failures")
    assert all(isinstance(failure, Failure) for failure in failures)
    assert [(Path(f.path).name, f.line, f.reason[:14]) for f in failures] == [
        ("b.jsonl", 4, "'text' is miss"),
        ("b.jsonl", 2, "invalid JSON: "),
    ]
    assert counter(result, "ReadDocuments") == 2


def counter(result: Any, name: str) -> int:
    found = result.metrics().query(MetricsFilter().with_namespace(name).with_name("failed"))["counters"]
    return sum(one.committed for one in found)


def test_bad_lines_are_counted_and_logged_if_nobody_takes_them(
    corpus: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = run(lambda pipeline: keep(pipeline | ReadDocuments([corpus], source="web"), tmp_path / "batches"))
    assert len(column(kept(tmp_path / "batches"), "id")) == 2_502
    assert counter(result, "ReadDocuments") == 2
    (message,) = [
        record.getMessage() for record in caplog.records if record.name == "dolma_pipeline.transforms.batches"
    ]
    assert message.startswith("ReadDocuments: 2 documents of shard web/b failed; the first: ")
    assert message.endswith("b.jsonl:2: invalid JSON: unexpected character, expected a JSON value")


def test_plain_files_are_read_in_ranges(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"".join(b'{"text": "number %d"}\n' % i for i in range(100)))
    read = ReadDocuments(str(path), source="s", split_bytes=500)
    run(lambda pipeline: keep(pipeline | read, tmp_path / "batches"))
    batches = kept(tmp_path / "batches")
    assert len(batches) > 3
    assert column(batches, "text") == [f"number {i}" for i in range(100)]


def test_a_pattern_that_matches_nothing_is_an_error_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file\. In .* there is: nothing\."):
        beam.Pipeline(runner="FnApiRunner") | ReadDocuments(f"{tmp_path}/*.jsonl", source="web")


def test_tagged_filtered_and_written_every_document_is_somewhere(corpus: str, tmp_path: Path) -> None:
    def build(pipeline: Any) -> None:
        read = pipeline | ReadDocuments(corpus, source="web")
        tagged = read | Tag("digits_v1", TaggerConfig(tagger="digits_v1", name="few", parameters={"most": 1}))
        found = tagged | Filter({"digits": "digits_v1.count >= 1", "early": "(metadata->>'$.n')::INT < 1200"})
        assert isinstance(registry.get_coder(found.dropped.element_type), BatchCoder)
        keep(tagged.failures, tmp_path / "failures")
        keep(found | "write kept" >> WriteDocuments(str(tmp_path / "kept")), tmp_path / "paths")
        found.dropped | "write dropped" >> WriteDocuments(str(tmp_path / "dropped"))
        found | "write lines" >> WriteDocuments(str(tmp_path / "lines"), format="jsonl")

    result = run(build)
    good = pq.ParquetDataset(tmp_path / "kept").read().to_pylist()
    bad = pq.ParquetDataset(tmp_path / "dropped").read().to_pylist()
    wanted = [f"a{i}" for i in range(0, 1_200, 5)]
    assert sorted(row["id"] for row in good) == sorted(wanted)
    assert len(good) + len(bad) == 2_502
    assert {row["id"]: row["origin"] for row in good} == {id_: f"web/a#{id_[1:]}" for id_ in wanted}
    assert list(good[0]) == [*COLUMNS, "digits_v1", "few", "origin"]
    by_id = {row["id"]: row for row in bad}
    assert by_id["a1"]["why"] == ["digits"]
    assert by_id["a2000"]["why"] == ["early"]
    assert by_id["a2001"]["why"] == ["digits", "early"]
    assert by_id["b0"]["why"] == ["early"]  # no n: the rule is NULL, which is not true
    assert (by_id["b0"]["digits_v1"]["count"], by_id["b0"]["few"]["count"]) == (2, 1)
    assert (by_id["b1"]["origin"], by_id["b1"]["digits_v1"]) == ("web/b#1", None)
    failures = kept(tmp_path / "failures")
    assert [(f.path, f.line, f.id, f.reason) for f in failures] == [
        ("web/b", 3, "b1", "digits_v1: ValueError: a question"),
        ("web/b", 3, "b1", "few: ValueError: a question"),
    ]
    assert counter(result, "Tag") == 2
    paths = [tmp_path / "kept" / "web" / f"a-{first:09d}.parquet" for first in (0, 1000)]
    assert [Path(path) for path in kept(tmp_path / "paths")] == paths
    lines = b"".join(
        zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
        for path in sorted((tmp_path / "lines" / "web").iterdir())
    )
    assert [orjson.loads(line)["id"] for line in lines.splitlines()] == wanted


def test_filters_can_follow_each_other(corpus: str, tmp_path: Path) -> None:
    def build(pipeline: Any) -> None:
        found = (
            pipeline
            | ReadDocuments(corpus, source="web")
            | Filter("length(text) >= 10 AND id LIKE 'a%' AND source = 'web'")
        )
        again = found | "again" >> Filter("origin LIKE '%#5'") | "tag" >> Tag("digits_v1")
        keep(again, tmp_path / "batches")
        assert found.kept is found
        keep(found.dropped | "of dropped" >> Filter("len(why) = 2"), tmp_path / "dropped")

    run(build)
    (batch,) = kept(tmp_path / "batches")
    assert batch.table.column("id").to_pylist() == ["a5"]
    assert batch.locs.tolist() == [6]
    assert batch.table.column("digits_v1").to_pylist()[0]["spans"] == [{"start": 9, "end": 10, "score": 1.0}]
    assert column(kept(tmp_path / "dropped"), "id") == ["b0", "b1"]


def test_wrong_names_are_errors_when_composed() -> None:
    with pytest.raises(UnknownNameError, match=r"no tagger named 'digit_v1'\. Did you mean 'digits_v1'"):
        Tag("digit_v1")
    with pytest.raises(UnknownNameError, match="'mots'"):
        Tag(TaggerConfig(tagger="digits_v1", name="d", parameters={"mots": 1}))
    with pytest.raises(UsageError, match=r"^Tag: two columns named 'digits_v1'\. Name one of them: TaggerConfig\("):
        Tag("digits_v1", "digits_v1")
    with pytest.raises(UsageError, match=r"^Tag: two columns named 'text'\."):
        Tag(TaggerConfig(tagger="digits_v1", name="text"))
    words = r"^WriteDocuments: no format named 'csv'; there are parquet and jsonl\.$"
    with pytest.raises(UsageError, match=words):
        WriteDocuments("x", format="csv")  # type: ignore[arg-type]


def test_batches_made_by_hand_do_not_overwrite_each_other(tmp_path: Path) -> None:
    made = [Batch.of(["one"]), Batch.of(["two"])]
    run(lambda pipeline: pipeline | beam.Create(made) | WriteDocuments(str(tmp_path / "out")))
    found = pq.ParquetDataset(tmp_path / "out").read().column("text").to_pylist()
    assert sorted(found) == ["one", "two"]


def big_batch() -> Batch:
    table = Batch.of([Document(f"text {i} " * 60, id=str(i), metadata={"n": i}) for i in range(1_000)]).table
    return Batch(table, shard="web/ü", first_row=7_000, locs=np.arange(7_000, 9_000, 2))


def test_a_slice_travels_without_its_parent() -> None:
    whole = big_batch()
    column, _ = load_tagger("digits_v1").attributes(whole)
    table = whole.table.append_column("digits_v1", column)
    part = Batch(table.slice(500, 5), shard=whole.shard, first_row=7_500, locs=whole.locs[500:505])
    encoded, of_whole = BatchCoder().encode(part), BatchCoder().encode(Batch(table, locs=whole.locs))
    assert len(of_whole) > 500_000
    assert len(encoded) < len(of_whole) / 50
    back = BatchCoder().decode(encoded)
    assert back.table.to_pylist() == table.slice(500, 5).to_pylist()
    assert (back.shard, back.first_row, back.locs.tolist()) == ("web/ü", 7_500, [8000, 8002, 8004, 8006, 8008])
    assert back.origins()[0] == "web/ü#7500"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=8), st.integers(0, 2**40), st.integers(0, 3), TEXTS)
def test_what_is_encoded_comes_back(rows: list[tuple[str, str]], first_row: int, skipped: int, shard: str) -> None:
    table = Batch.of([Document(text, id=id_, metadata={id_: text}) for text, id_ in rows]).table.slice(skipped)
    locs = np.arange(first_row, first_row + table.num_rows, dtype=np.int64) * 3
    batch = Batch(table, shard=shard, first_row=first_row, locs=locs)
    coder = BatchCoder()
    back = coder.decode(coder.encode(batch))
    assert back.table == table
    assert back.table.schema == table.schema
    assert (back.shard, back.first_row, back.locs.tolist()) == (shard, first_row, locs.tolist())
    assert back.locs.dtype == np.int64
    assert not coder.is_deterministic()
    assert coder.to_type_hint() is Batch


def test_batches_cross_a_shuffle_by_this_coder(tmp_path: Path) -> None:
    def build(pipeline: Any) -> None:
        spread = pipeline | beam.Create([big_batch()]) | beam.Map(identity).with_output_types(Batch) | beam.Reshuffle()
        assert isinstance(registry.get_coder(spread.element_type), BatchCoder)
        keep(spread, tmp_path / "batches")

    run(build)
    (batch,) = kept(tmp_path / "batches")
    assert batch.table == big_batch().table
    assert batch.locs.tolist() == big_batch().locs.tolist()


def identity(batch: Batch) -> Batch:
    return batch
