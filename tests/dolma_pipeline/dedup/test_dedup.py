"""The whole way on real text with known similarities: signatures, bands, edges, clusters."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import zstandard

from dolma_pipeline.dedup.components import components
from dolma_pipeline.dedup.edges import edges_in_range, key_ranges, sorted_column
from dolma_pipeline.dedup.exact import text_keys
from dolma_pipeline.dedup.minhash import band_keys, estimate_jaccard, low_bytes, signatures
from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.unicode import UNSPACED_LETTER, unspaced_table

BANDS, ROWS = 14, 8


def read_lines(path: Path) -> list[Any]:
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    elif path.suffix == ".zst":
        raw = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    return [orjson.loads(line) for line in raw.splitlines()]


def read_batch(paths: list[Path]) -> tuple[Batch, dict[str, int]]:
    """All documents as one batch, and the row of each id."""
    documents = [document for path in sorted(paths) for document in read_lines(path)]
    return Batch.of([d["text"] for d in documents]), {d["id"]: row for row, d in enumerate(documents)}


def label(edges: list[np.ndarray], num_rows: int) -> np.ndarray:
    labels = np.arange(num_rows)
    nodes, of_nodes = components(np.concatenate(edges))
    labels[nodes] = of_nodes
    return labels


def cluster_near(minima: np.ndarray, signed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Band keys, and the label of each row's cluster; in two shards and three key ranges, as a run would."""
    keys = band_keys(minima, bands=BANDS, rows=ROWS)
    middle, edges = len(keys) // 2, []
    for band in range(BANDS):
        columns = []
        for start, part in ((0, slice(0, middle)), (middle, slice(middle, None))):
            rows = np.flatnonzero(signed[part]).astype(np.uint32)
            columns.append(sorted_column(keys[start + rows.astype(np.int64), band], rows))
        edges += [edges_in_range(columns, [0, middle], lo, hi) for lo, hi in key_ranges(3)]
    return keys, label(edges, len(keys))


@pytest.fixture(scope="module")
def near(data: Path) -> dict[str, Any]:
    """The documents of data/dedup: rows, signatures, keys, labels, and every pair with its true Jaccard."""
    batch, rows = read_batch(list((data / "dedup/documents").iterdir()))
    minima, signed = signatures(batch, num_perm=BANDS * ROWS)
    keys, labels = cluster_near(minima, signed)
    pairs = read_lines(data / "dedup/pairs.jsonl.gz")
    return {
        "rows": rows,
        "minima": minima,
        "keys": keys,
        "labels": labels,
        "a": np.array([rows[p["a"]] for p in pairs]),
        "b": np.array([rows[p["b"]] for p in pairs]),
        "jaccard": np.array([p["jaccard"] for p in pairs]),
        "truth": read_lines(data / "dedup/truth.jsonl"),
    }


def test_all_pairs_from_0_9_are_clustered(near: dict[str, Any]) -> None:
    alike = near["jaccard"] >= 0.9
    assert alike.sum() == 137
    assert (near["labels"][near["a"]] == near["labels"][near["b"]])[alike].all()


def test_shared_boilerplate_never_merges(near: dict[str, Any]) -> None:
    rows = [near["rows"][d["id"]] for d in near["truth"] if d["kind"] == "shared_boilerplate"]
    assert len(rows) == 20
    for row in rows:
        assert (near["labels"] == near["labels"][row]).sum() == 1


def test_recall_follows_the_curve_of_bands(near: dict[str, Any]) -> None:
    """Candidates by true similarity, against 1 - (1 - j^8)^14; datasketch's shares are as near (README of the data)."""
    found = (near["keys"][near["a"]] == near["keys"][near["b"]]).any(axis=1)
    for lo, hi in ((0.05, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.01)):
        part = (near["jaccard"] >= lo) & (near["jaccard"] < hi)
        expected = 1 - (1 - near["jaccard"][part] ** ROWS) ** BANDS
        deviation = np.sqrt((expected * (1 - expected)).sum())
        assert abs(found[part].sum() - expected.sum()) <= 4 * deviation + 1


def test_exact_pairs_are_equal_in_all_bands(near: dict[str, Any]) -> None:
    same = near["jaccard"] == 1
    assert same.sum() == 107
    assert (near["minima"][near["a"]] == near["minima"][near["b"]])[same].all()


def test_estimates_are_near_the_truth(near: dict[str, Any]) -> None:
    low = low_bytes(near["minima"])
    error = estimate_jaccard(low[near["a"]], low[near["b"]]) - near["jaccard"]
    assert abs(error.mean()) < 0.01
    assert np.sqrt((error**2).mean()) < 0.04


@pytest.fixture(scope="module")
def corpus(data: Path) -> tuple[Batch, dict[str, int]]:
    """The 9,981 documents of data/documents."""
    return read_batch([p for p in (data / "documents").glob("*/*") if p.is_file()])


def test_real_near_copies_are_found(data: Path, corpus: tuple[Batch, dict[str, int]]) -> None:
    batch, rows = corpus
    keys, labels = cluster_near(*signatures(batch))
    pairs = [p for p in read_lines(data / "documents_truth/near_pairs.jsonl.gz") if p["jaccard"] >= 0.8]
    assert len(pairs) == 2350
    # Their similarity was counted in words `\w+`, which letters that are words of their own do not follow.
    unspaced = [
        UNSPACED_LETTER in unspaced_table()[[ord(char) for char in text]]
        for text in batch.table.column("text").to_pylist()
    ]
    pairs = [p for p in pairs if not unspaced[rows[p["a"]]] and not unspaced[rows[p["b"]]]]
    assert len(pairs) == 2172
    a, b = (np.array([rows[p[side]] for p in pairs]) for side in "ab")
    high = np.array([p["jaccard"] for p in pairs]) >= 0.85
    assert (labels[a] == labels[b])[high].all()
    assert (labels[a] == labels[b]).mean() >= 0.995
    assert (keys[a] == keys[b]).any(axis=1).mean() >= 0.99


def test_exact_copies_are_just_the_known_groups(data: Path, corpus: tuple[Batch, dict[str, int]]) -> None:
    batch, rows = corpus
    hi, lo, signed = text_keys(batch)
    with_key = np.flatnonzero(signed).astype(np.uint32)
    column = sorted_column(hi[with_key], with_key)
    second = lo[column[1]]
    labels = label([edges_in_range([column], [0], *r, second=[second]) for r in key_ranges(2)], len(batch))
    found = {label: np.flatnonzero(labels == label).tolist() for label in np.unique(labels)}
    groups = [sorted(rows[i] for i in g["ids"]) for g in read_lines(data / "documents_truth/exact_groups.jsonl")]
    assert sorted(g for g in found.values() if len(g) > 1) == sorted(groups)
