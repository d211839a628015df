"""Disk that a run will need: arithmetic, what is free, and the sentence that compares them."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.io.disk import disk_sentence, free_bytes, needed, text_bytes

MB = 1_000_000
ALL: dict[str, Any] = {
    "index": True,
    "taggers": 5,
    "minhash_steps": 1,
    "columns": 3,
    "documents": True,
    "kept_id_bytes": 2,
    "part_id_bytes": 2,
}


def test_text_in_files_by_their_endings() -> None:
    assert text_bytes([("a.jsonl.gz", 1_000)]) == 2_700
    assert text_bytes([("A.JSONL.GZ", 1_000), ("b.zst", 1_000), ("c.parquet", 100), ("d.jsonl", 10)]) == 6_359
    assert text_bytes([("no ending", 1_000)]) == 900
    assert text_bytes([]) == 0


def test_steps_that_mark_repeats_take_most_of_the_text_again() -> None:
    assert needed(100 * MB, repeat_steps=1) == {"repeats": 92_000_000}


def test_what_a_megabyte_of_text_takes() -> None:
    assert needed(100 * MB, **ALL) == {
        "kept ids": 62_500_000,
        "parts": 64_100_000,
        "documents": 45_000_000,
        "attributes": 23_000_000,
        "signatures": 11_500_000,
        "columns": 6_900_000,
        "index": 1_650_000,
    }
    assert list(needed(100 * MB, **ALL)) == sorted(needed(100 * MB, **ALL), key=lambda k: -needed(100 * MB, **ALL)[k])
    assert needed(100 * MB, kept_id_bytes=4) == {"kept ids": 125_000_000}
    assert needed(100 * MB) == {} == needed(0, **ALL)


def test_a_budget_bounds_the_parts_alone() -> None:
    small = needed(100 * MB, kept_id_bytes=2, part_id_bytes=2, target_tokens=1_000_000)
    assert small == {"kept ids": 62_500_000, "parts": 2_051_200}
    repeated = needed(100 * MB, part_id_bytes=2, target_tokens=4 * 31_250_000)
    assert repeated == {"parts": 4 * 64_100_000}


@given(st.integers(0, 10**15), st.integers(0, 20), st.sampled_from([0, 2, 4]), st.booleans())
def test_more_text_needs_more(text: int, taggers: int, id_bytes: int, documents: bool) -> None:
    options: dict[str, Any] = {"taggers": taggers, "part_id_bytes": id_bytes, "documents": documents, "index": True}
    less, more = needed(text, **options), needed(2 * text + 1_000, **options)
    assert all(0 < num_bytes < more[kind] for kind, num_bytes in less.items())


def test_free_bytes_of_a_folder_that_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    usage = shutil.disk_usage(tmp_path)._replace(free=7)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: asked.append(place) or usage)
    assert free_bytes(tmp_path / "runs" / "web") == 7
    monkeypatch.chdir(tmp_path)
    assert free_bytes(Path("runs/web")) == 7
    assert asked == [tmp_path, tmp_path]


def test_the_sentence_says_numbers_and_warns_where_they_do_not_fit() -> None:
    estimate = {"parts": 2_500_000_000, "index": 16_500}
    assert disk_sentence(estimate, Path("runs/web"), 3_000_000_000) == (
        "about 2.5 GB will be needed in runs/web (parts 2.5 GB, index 16.5 kB); 3.0 GB are free there.",
        False,
    )
    assert disk_sentence(estimate, Path("runs/web"), 900) == (
        "about 2.5 GB will be needed in runs/web (parts 2.5 GB, index 16.5 kB), but only 900 bytes are free there: "
        "2.5 GB too little. Take another output, or make room; what is done stays done if the disk becomes full.",
        True,
    )
    assert disk_sentence({"parts": 10}, Path("r"), 10)[1] is False
    assert disk_sentence({}, Path("r"), 0) == ("about 0 bytes will be needed in r; 0 bytes are free there.", False)


def test_the_rates_are_those_of_the_data(data: Path) -> None:
    sizes: dict[str, list[int]] = {".gz": [], ".zst": [], "plain": []}
    text = {".gz": 0, ".zst": 0}
    for path in sorted((data / "documents").glob("*/*")):
        raw = path.read_bytes()
        zst = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        plain = gzip.decompress(raw) if path.suffix == ".gz" else zst.read()
        num_text = sum(len(orjson.loads(line)["text"].encode()) for line in plain.splitlines())
        sizes[path.suffix].append(len(raw))
        sizes["plain"].append(len(plain))
        text[path.suffix] += num_text
    for ending in (".gz", ".zst"):
        assert text_bytes([(f"x{ending}", sum(sizes[ending]))]) == pytest.approx(text[ending], rel=0.02)
    assert text_bytes([("x.jsonl", sum(sizes["plain"]))]) == pytest.approx(sum(text.values()), rel=0.02)
