"""Parts of ids against a plain-Python oracle: the order of the shuffle, epochs, splits, what stands beside them."""

from __future__ import annotations

import csv
import gzip
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dolma_pipeline.engines import Here
from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.run import columns as columns_module
from dolma_pipeline.run.manifests import read_lines
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.stage import STAGES
from dolma_pipeline.stages import kept
from dolma_pipeline.stages.kept import order_keys
from dolma_pipeline.stages.tokenizer import run_tokenizer
from dolma_pipeline.storage.local import LocalFolder
from dolma_pipeline.tokens.cuts import cut_points, part_of
from dolma_pipeline.tokens.encode import encoder
from tests.dolma_pipeline.stages.small import jsonl, made, make, manifest, promised, rows, small_run

TOKENIZER = {"train": "bpe", "vocab_size": 280}
EOS = "<|endoftext|>"


def corpus() -> dict[str, list[dict[str, Any]]]:
    rng = random.Random(9)
    words = "river stone winter letter garden Straße 東京 naïve".split()  # noqa: SIM905
    shards = {
        name: [{"id": f"{name}-{i}", "text": " ".join(rng.choice(words) for _ in range(rng.randrange(12)))}
               for i in range(30)]
        for name in ("web/a", "web/b", "code/c")
    }  # fmt: skip
    return {**shards, "code/empty": []}


DOCUMENTS = corpus()
RECIPE: dict[str, Any] = {
    "tag": {"taggers": ["length_v1", "c4_v1"]},
    "dedupe": {"steps": [{"name": "exact", "kind": "exact"}]},
    "tokenizer": TOKENIZER,
    "mix": {"where": {"some": "length_v1.words <> 1", "unique": "exact.keep"}, "held_out": {"share": 0.15},
            "target_documents": 100, "max_epochs": 3, "documents": True},
    "tokens": {"max_shard_tokens": 300, "keep_attributes": ["length_v1.words", "c4_v1.lines"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Parts, made; documents are repeated and some are held out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "BLOCK_BYTES", 300)
        return made(tmp_path_factory.mktemp("tokens"), DOCUMENTS, **recipe())


def recipe(**tokens: Any) -> dict[str, Any]:
    from dolma_pipeline.registry import load_tagger

    fields = [field.name for field in load_tagger("c4_v1").type]
    keep = ["length_v1.words", f"c4_v1.{fields[0]}"]
    return {**RECIPE, "tokens": {"max_shard_tokens": 300, "keep_attributes": keep, **tokens}}


def copies(run: Run) -> dict[str, list[tuple[Any, ...]]]:
    """Split -> (key, shard, row, epoch, ids, chosen row) of each copy, in the order of the shuffle."""
    encode = encoder(run_tokenizer(Process.of(run)))
    import pyarrow as pa

    found: dict[str, list[tuple[Any, ...]]] = {}
    for shard, documents in DOCUMENTS.items():
        for one in rows(run, f"mix/selected/{shard}.parquet"):
            split = f"held_out/{shard.split('/')[0]}" if one["held"] else "train"
            (ids,) = encode.encode(pa.array([documents[one["row"]]["text"]])).to_pylist()
            for epoch in range(1 if one["held"] else one["copies"]):
                key = int(order_keys(shard, np.array([one["row"]]), 3, epoch)[0])
                found.setdefault(split, []).append((key, shard, one["row"], epoch, ids, one))
    return {split: sorted(some, key=lambda one: one[:4]) for split, some in found.items()}


def parts(run: Run, split: str) -> list[str]:
    return [e.name.removesuffix(".npy") for e in run.folder.list(f"tokens/{split}") if e.name.endswith(".npy")]


def test_the_parts_hold_the_documents_in_order_each_with_an_eos(run: Run) -> None:
    eos = run_tokenizer(Process.of(run)).special_id(EOS)
    expected = copies(run)
    assert {"train", "held_out/web", "held_out/code"} <= expected.keys()
    assert len({epoch for _, _, _, epoch, _, _ in expected["train"]}) == 2, "documents are repeated"
    for split, some in expected.items():
        ids = [id_ for one in some if one[4] for id_ in [*one[4], eos]]
        found = np.concatenate([np.frombuffer(run.folder.read(f"{p}.npy"), np.uint16) for p in parts(run, split)])
        assert found.tolist() == ids
    assert len(parts(run, "train")) > 2


def test_where_parts_are_cut(run: Run) -> None:
    some = copies(run)["train"]
    keys = np.array([one[0] for one in some], np.uint64)
    tokens = np.array([len(one[4]) + 1 if one[4] else 0 for one in some])
    cuts = cut_points(keys, tokens, max_tokens=300)
    expected = np.bincount(part_of(keys, cuts), tokens).astype(int).tolist()
    sizes = [len(run.folder.read(f"{p}.npy")) // 2 for p in parts(run, "train")]
    assert sizes == expected
    assert max(sizes) <= 300


def test_what_stands_beside_the_ids(run: Run) -> None:
    words = {(shard, i): row["length_v1"]["words"] for shard in DOCUMENTS
             for i, row in enumerate(rows(run, f"attributes/length_v1/{shard}.parquet"))}  # fmt: skip
    for split, some in copies(run).items():
        some = [one for one in some if one[4]]
        at = 0
        for part in parts(run, split):
            found = rows(run, f"{part}.parquet")
            lines = list(csv.reader(io.StringIO(gzip.decompress(run.folder.read(f"{part}.csv.gz")).decode())))
            position = 0
            for one, line in zip(found, lines, strict=True):
                _, shard, row, epoch, ids, chosen = some[at]
                at += 1
                start, position = position, position + len(ids) + 1
                assert (one["start"], one["end"]) == (start, position)
                assert (one["origin"], one["source"], one["epoch"]) == (f"{shard}#{row}", shard.split("/")[0], epoch)
                assert one["cluster"] == chosen["cluster"]
                assert one["length_v1.words"] == words[shard, row]
                assert line == [str(start), str(position), DOCUMENTS[shard][row]["id"], shard, str(row + 1)]
        assert at == len(some)


def test_counts_and_manifest(run: Run) -> None:
    found = manifest(run, "tokens")
    lines = {line["shard"]: line for line in read_lines(run.folder, "tokens")}
    expected = copies(run)
    for split, some in expected.items():
        counts = [line["counts"] for name, line in lines.items() if name.startswith(f"{split}/part")]
        assert sum(one["tokens"] for one in counts) == sum(len(one[4]) + 1 for one in some if one[4])
        assert sum(one["documents"] for one in counts) == sum(bool(one[4]) for one in some)
        assert sum(one["empty"] for one in counts) == sum(not one[4] for one in some)
        by_source = {source: sum(len(one[4]) + 1 for one in some if one[4] and one[1].startswith(source))
                     for source in ("web", "code")}  # fmt: skip
        total: dict[str, int] = {}
        for one in counts:
            for source, number in one["tokens_by_source"].items():
                total[source] = total.get(source, 0) + number
        assert total == {source: number for source, number in by_source.items() if number}
    info = run_tokenizer(Process.of(run))
    assert (found["dtype"], found["eos"]) == ("uint16", info.special_id(EOS))
    assert found["tokenizer"] == f"sha256:{info.sha256}"
    assert found["dataset"].startswith("sha256:")


def test_tokens_are_those_of_the_written_documents(run: Run) -> None:
    written = {one["origin"]: one for shard in DOCUMENTS for one in jsonl(run, f"mix/documents/{shard}.jsonl.zst")}
    origins = {row["origin"] for part in parts(run, "train") for row in rows(run, f"{part}.parquet")}
    assert origins == {origin for origin, one in written.items() if one["text"]}


@pytest.mark.parametrize("most", [40, 100_000])
def test_another_size_of_parts_is_the_same_order(tmp_path: Path, run: Run, most: int) -> None:
    other = made(tmp_path, DOCUMENTS, **recipe(max_shard_tokens=most))
    one, two = (b"".join(r.folder.read(f"{p}.npy") for p in parts(r, "train")) for r in (run, other))
    assert one == two
    assert (len(parts(other, "train")) == 1) == (most == 100_000)


def test_the_same_bytes_however_tasks_are_repeated_and_blocks_are_cut(tmp_path: Path, run: Run) -> None:
    other = small_run(tmp_path, DOCUMENTS, **recipe())
    make(other, engine=Here(seed=2, repeated=0.5, again=True))
    assert promised(other) == promised(run)


def test_tokens_read_no_text_once_ids_are_kept_and_encode_again_once_they_are_gone(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    original = columns_module.open_shard

    def note(run: Run, shard: Any, report: Any) -> Any:
        opened.append(shard.name)
        return original(run, shard, report)

    monkeypatch.setattr(columns_module, "open_shard", note)
    other = small_run(tmp_path, DOCUMENTS, **recipe())
    make(other, until="mix/close")
    del opened[:]
    make(other, until="tokens/cut")
    assert opened == []
    other.folder.delete_tree("tokens")
    other.folder.delete_tree("cache/ids")
    other.folder.delete_tree(".done")
    make(other)
    assert sorted(opened) == ["code/c", "web/a", "web/b"]
    assert promised(other) == promised(run)


def test_on_a_disk_and_in_memory(tmp_path: Path, run: Run) -> None:
    other = small_run(tmp_path, DOCUMENTS, where=LocalFolder(tmp_path / "run"), **recipe())
    make(other)
    assert promised(other) == promised(run)


def test_a_part_over_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    import resource

    shards = {f"web/{i:03d}": [f"text number {i}"] for i in range(260)}
    made_of: dict[str, Any] = {"tokenizer": TOKENIZER, "mix": {}, "tokens": {}}
    run = small_run(tmp_path, shards, where=LocalFolder(tmp_path / "run", durable=False), **made_of)
    make(run, until="tokens/cut")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        make(run)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert manifest(run, "tokens")["counts"]["train"]["documents"] == 260


def test_nothing_for_training(tmp_path: Path) -> None:
    settings = {**recipe(), "mix": {"target_tokens": 1}}
    run = small_run(tmp_path, DOCUMENTS, **settings)
    with pytest.raises(DataError, match=r"tokens: the mix chose no document for training\. Look at mix/plan\.json\."):
        make(run)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lenth_v1.words", r"tokens\.keep_attributes\.0: no attribute named 'lenth_v1'\. Did you mean 'length_v1'"),
        ("length_v1.wrds", r"tokens\.keep_attributes\.0: no field of length_v1 named 'wrds'\. Did you mean 'words'"),
    ],
)
def test_attributes_that_do_not_exist(tmp_path: Path, name: str, words: str) -> None:
    run = small_run(tmp_path, DOCUMENTS, **recipe(keep_attributes=[name]))
    with pytest.raises(ConfigError, match=words):
        STAGES["tokens"].check(Process.of(run))
