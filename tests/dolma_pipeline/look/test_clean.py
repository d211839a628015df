"""`clean`: what can go and what stays; finished work is still finished afterwards."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.errors import UnknownNameError, UsageError
from dolma_pipeline.look.clean import opened, removable, remove
from dolma_pipeline.look.plan import plan
from dolma_pipeline.tokens.stored_order import StoredShuffles
from tests.dolma_pipeline.look.conftest import loaded, made
from tests.pipeline import tiny


def sizes(folder: Path) -> dict[str, int]:
    return {one.kind.name: one.num_files for one in removable(opened(str(folder)))}


def test_what_there_is_and_what_is_left(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promised = tiny.files(copied)
    plan(loaded(copied))
    (copied / ".tmp").mkdir(exist_ok=True)
    (copied / ".tmp" / "attempt").write_bytes(b"x" * 1000)
    before = sizes(copied)
    assert before["ids"] > 0 < before["table"]
    assert (before["attempts"], before["old"], before["unfinished"]) == (1, 0, 0)
    there = {path for path in copied.rglob("*") if path.is_file()}
    assert main(["clean", str(copied), "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert not record["removed"]
    ids = sum(path.stat().st_size for path in (copied / "cache/ids").rglob("*") if path.is_file())
    assert {one["kind"]: one["bytes"] for one in record["kinds"]} == {
        **{one["kind"]: one["bytes"] for one in record["kinds"]},
        "ids": ids,
        "attempts": 1000,
    }
    assert {path for path in copied.rglob("*") if path.is_file()} == there
    assert main(["clean", str(copied), "--yes"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"removed from {copied}\n")
    assert "kept ids: tokens of documents that pass; to have it again: the next change of rules, budget" in said
    assert sizes(copied) == dict.fromkeys(before, 0)
    assert not (copied / "cache/ids").exists()
    assert {name for name in tiny.files(copied) if not name.startswith(".tmp")} == set(promised)
    assert made(loaded(copied)).nothing_to_do


def test_kept_ids_of_files_that_are_gone_go_only_by_name(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = (copied / "recipe.yaml").read_text()
    assert "gone: []" in recipe
    (copied / "recipe.yaml").write_text(recipe.replace("gone: []", "gone: [in/a.jsonl]", 1))
    before = sizes(copied)
    assert before["ids"] > 0
    assert main(["clean", str(copied), "--yes"]) == 0
    assert sizes(copied)["ids"] == before["ids"]
    capsys.readouterr()
    assert main(["clean", str(copied), "ids"]) == 0
    assert "those of files that are gone (`gone` of a source) cannot be had again" in capsys.readouterr().out
    assert main(["clean", str(copied), "ids", "--yes"]) == 0
    assert sizes(copied)["ids"] == 0


def test_kinds_by_name(copied: Path) -> None:
    plan(loaded(copied))
    before = sizes(copied)
    folder = opened(str(copied))
    remove(folder, removable(folder, ["table"]))
    assert sizes(copied) == {**before, "table": 0}
    with pytest.raises(UnknownNameError, match=r"no kind of removable files named 'tables'\. Did you mean 'table'"):
        removable(folder, ["tables"])


def test_caches_of_other_settings_and_unfinished_work(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    (judged,) = (copied / "cache/judged").iterdir()
    other = shutil.copytree(judged, judged.with_name("0123456789ab"))
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "digest": "sha256:other"}))
    (copied / "cache/edges/x").mkdir(parents=True)
    (copied / "cache/edges/x/a.parquet").write_bytes(b"x")
    (copied / ".done/dedupe.edges-1").mkdir(parents=True)
    (copied / ".done/dedupe.edges-1/a.json").write_bytes(b"{}")
    found = sizes(copied)
    assert (found["old"], found["unfinished"]) == (sum(path.is_file() for path in other.rglob("*")), 2)
    main(["clean", str(copied), "--yes"])
    assert not other.exists()
    assert judged.exists()
    assert sizes(copied)["unfinished"] == 2  # not unless it is named
    main(["clean", str(copied), "unfinished", "--yes"])
    assert sizes(copied)["unfinished"] == 0


def test_orders_that_an_interrupted_training_left(copied: Path) -> None:
    """Not unless they are named: training that was started by hand may be reading them."""
    folder = copied / "cache/order"
    before = sizes(copied)
    StoredShuffles(folder, min_instances=1)(5, 7)
    size = sum(path.stat().st_size for path in folder.iterdir())
    (found,) = removable(opened(str(copied)), ["order"])
    assert (found.num_files, found.bytes, size) == (2, size, 20)  # the shuffle and its lock
    assert sizes(copied) == {**before, "order": 2}
    main(["clean", str(copied), "--yes"])
    assert (folder / "5-7").exists()
    main(["clean", str(copied), "order", "--yes"])
    assert not folder.exists()


def test_not_while_a_run_is_at_work(copied: Path) -> None:
    me = {"host": socket.gethostname(), "process": os.getpid(), "start": "now", "token": "t"}
    (copied / "lock.json").write_text(json.dumps(me))
    before = sizes(copied)
    assert main(["clean", str(copied), "--yes"]) == 2
    assert sizes(copied) == before


def test_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        UsageError, match=r"no run's folder \(shards\.jsonl is not there\)\. Give the `output` of a rec"
    ):
        opened(str(tmp_path))
    assert main(["clean"]) == 2
    assert "'clean' needs the folder of a run: dolma-pipeline clean runs/quickstart" in capsys.readouterr().err
