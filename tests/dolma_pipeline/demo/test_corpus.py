from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.demo import SOURCES, SourceCount, collect, corpus

MODULE = '"""' + "Explains the module at length. " * 20 + '"""\nx = 1\n'


def documents(folder: Path, source: str) -> list[dict[str, Any]]:
    shards = sorted((folder / source).glob("*"))
    assert [shard.name for shard in shards] == [f"part-{i:04d}.jsonl.gz" for i in range(len(shards))]
    return [json.loads(line) for shard in shards for line in gzip.open(shard)]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def filled(installation: Any) -> Any:
    (installation.stdlib / "text.py").write_text(MODULE)
    (installation.stdlib / "LICENSE.txt").write_text("PSF terms\n")
    installation.add(
        "pkg",
        {
            "pkg/__init__.py": "",
            "pkg/latin.py": b"# caf\xe9\n",
            "pkg/guide.py": MODULE,
            "pkg/data.json": "{}",
            "pkg/licenses.py": "y = 2\n",
            "pkg/vendored/COPYING": "Copying terms\n",
            "pkg-1.0.dist-info/licenses/LICENSE": "MIT terms\n",
        },
        metadata="License-Expression: MIT\nHome-page: https://pkg.example\n",
        description="# pkg\n\nA package.\n",
    )
    return installation


def test_each_source_holds_its_kind_of_text(filled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "topics", {"assert": "\nThe assert statement\n"})
    counts = collect(tmp_path / "out")
    found = {source: [d["metadata"]["path"] for d in documents(tmp_path / "out", source)] for source in SOURCES}
    assert found == {
        "code": ["pkg/guide.py", "pkg/licenses.py", "text.py"],
        "docs": ["pkg/guide.py", "pydoc_data/topics.py", "text.py"],
        "readme": ["METADATA"],
        "licence": ["pkg-1.0.dist-info/licenses/LICENSE", "pkg/vendored/COPYING", "LICENSE.txt"],
    }
    assert counts["code"] == SourceCount(3, 2 * len(MODULE) + 6, skipped=2, left_out=0)
    assert counts["licence"] == SourceCount(3, 34, skipped=0, left_out=0)


def test_a_document_names_its_origin_and_no_path_of_the_machine(filled: Any, tmp_path: Path) -> None:
    collect(tmp_path / "out")
    document = next(d for d in documents(tmp_path / "out", "code") if d["metadata"]["path"] == "pkg/guide.py")
    assert document["id"].startswith("code-")
    assert len(document["id"]) == len("code-") + 32
    assert document["text"] == MODULE
    assert document["source"] == "code"
    assert document["added"] == document["created"] == "2026-01-01T00:00:00.000Z"
    assert document["metadata"] == {
        "license": "MIT",
        "package": "pkg",
        "path": "pkg/guide.py",
        "url": "https://pkg.example",
        "version": "1.0",
    }
    for shard in (tmp_path / "out").rglob("*.gz"):
        assert str(tmp_path).encode() not in gzip.decompress(shard.read_bytes())


def test_documents_of_the_standard_library_point_to_its_pages(filled: Any, tmp_path: Path) -> None:
    collect(tmp_path / "out")
    urls = {
        source: next(
            d["metadata"]["url"] for d in documents(tmp_path / "out", source) if d["metadata"]["path"] == "text.py"
        )
        for source in ("code", "docs")
    }
    version = ".".join(str(part) for part in sys.version_info[:2])
    assert urls["docs"] == f"https://docs.python.org/{version}/library/text.html"
    assert urls["code"].endswith("/Lib/text.py")


def test_a_source_takes_no_more_than_its_bytes_and_the_same_documents_every_time(
    installation: Any, tmp_path: Path
) -> None:
    installation.add("many", {f"many/m{i:03d}.py": f"x = {i:03d}\n" * 10 for i in range(100)})
    counts = collect(tmp_path / "a", max_bytes=2_000)
    assert counts["code"] == SourceCount(documents=25, bytes=2_000, skipped=0, left_out=75)
    drawn = [d["metadata"]["path"] for d in documents(tmp_path / "a", "code")]
    assert drawn == sorted(drawn)
    assert drawn != [f"many/m{i:03d}.py" for i in range(25)]
    collect(tmp_path / "b", max_bytes=4_000)
    assert set(drawn) < {d["metadata"]["path"] for d in documents(tmp_path / "b", "code")}


def test_shards_are_closed_at_their_size_and_those_of_a_larger_corpus_go_away(
    installation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "SHARD_BYTES", 1_000)
    installation.add("many", {f"many/m{i:03d}.py": f"x = {i:03d}\n" * 10 for i in range(100)})
    collect(tmp_path / "out", max_bytes=8_000)
    assert len(documents(tmp_path / "out", "code")) == 100
    assert len(list((tmp_path / "out/code").iterdir())) == 8
    collect(tmp_path / "out", max_bytes=1_500)
    assert len(documents(tmp_path / "out", "code")) == 18
    assert len(list((tmp_path / "out/code").iterdir())) == 2


def test_a_new_file_elsewhere_changes_no_other_document(filled: Any, tmp_path: Path) -> None:
    collect(tmp_path / "a")
    filled.add("another", {"another.py": "z = 3\n"})
    collect(tmp_path / "b")
    before, after = (documents(tmp_path / name, "code") for name in "ab")
    assert [d for d in after if d["metadata"]["package"] != "another"] == before


def test_this_installation_gives_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from dolma_pipeline.demo import collect\n"
    code += "collect(Path(sys.argv[1]), max_bytes=200_000)"
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(corpus.__file__).parents[2])}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / seed)], check=True, env=environment)
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
    for source in ("code", "docs"):
        size = sum(len(d["text"].encode()) for d in documents(tmp_path / "1", source))
        assert 150_000 < size <= 200_000
    assert documents(tmp_path / "1", "readme")
    assert documents(tmp_path / "1", "licence")


def test_the_gzip_header_holds_no_time_and_no_name(filled: Any, tmp_path: Path) -> None:
    collect(tmp_path / "out")
    for shard in (tmp_path / "out").rglob("*.gz"):
        header = shard.read_bytes()[:10]
        assert header[3] == 0, "no flags: no name, no comment"
        assert header[4:8] == b"\0\0\0\0", "no time"
