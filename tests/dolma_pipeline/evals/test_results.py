from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.evals.results import FORMAT, add, begun, is_there, read_results, results_path, rows_path, variant

HEAD: dict[str, Any] = {"step": 5, "tokens": 50, "digests": {"weights": "w", "tokenizer": "t"}}


def entry(run: Path, section: str, name: str, data: str = "d", **more: Any) -> dict[str, Any]:
    return add(run, {**HEAD, **more}, section, name, {"data": data, "acc": 0.5}, [{"id": "1"}, {"id": "2"}])


def test_entries_add_up_in_any_order(tmp_path: Path) -> None:
    orders = [("a", "b", "c"), ("c", "a", "b")]
    for number, order in enumerate(orders):
        for name in order:
            entry(tmp_path / str(number), "tasks", name)
        entry(tmp_path / str(number), "held_out", "a")
    first, second = (results_path(tmp_path / str(number), 5).read_bytes() for number in (0, 1))
    assert first == second
    found = json.loads(first)
    assert (found["format"], found["step"], [*found["tasks"]], [*found["held_out"]]) == (
        FORMAT,
        5,
        ["a", "b", "c"],
        ["a"],
    )
    assert rows_path(tmp_path / "0", 5, "held_out", "a") != rows_path(tmp_path / "0", 5, "tasks", "a")
    assert rows_path(tmp_path / "0", 5, "tasks", "a").read_text() == '{"id":"1"}\n{"id":"2"}\n'


def test_an_entry_is_there_with_its_digests_and_rows(tmp_path: Path) -> None:
    results = entry(tmp_path, "tasks", "a")
    rows = rows_path(tmp_path, 5, "tasks", "a")
    assert is_there(results, "tasks", "a", {"data": "d"}, rows)
    assert not is_there(results, "tasks", "a", {"data": "e"}, rows)
    assert not is_there(results, "tasks", "a", {"data": "d", "settings": "s"}, rows)
    assert not is_there(results, "tasks", "b", {}, rows)
    rows.write_text('{"id":"1"}\n')
    assert not is_there(results, "tasks", "a", {"data": "d"}, rows)
    rows.unlink()
    assert not is_there(results, "tasks", "a", {"data": "d"}, rows)


@pytest.mark.parametrize("key", ["weights", "tokenizer"])
def test_entries_of_other_weights_or_tokenizers_go(tmp_path: Path, key: str) -> None:
    entry(tmp_path, "tasks", "a")
    assert [*entry(tmp_path, "tasks", "b")["tasks"]] == ["a", "b"]
    other = {**HEAD["digests"], key: "x"}
    assert [*entry(tmp_path, "tasks", "c", digests=other)["tasks"]] == ["c"]


def test_results_of_a_format_of_before_are_none(tmp_path: Path) -> None:
    path = results_path(tmp_path, 5)
    assert read_results(path) is None
    path.parent.mkdir()
    path.write_text(json.dumps({"format": 1, **HEAD, "held_out": {}, "tasks": {"old": {}}}))
    assert read_results(path) is None
    assert begun(path, HEAD)["tasks"] == {}


def test_names_of_what_is_kept_apart() -> None:
    assert (variant(), variant(limit=3), variant(precision="bf16")) == ("", "limit-3", "bf16")
    assert variant(limit=3, precision="bf16", weights="abc") == "abc-bf16-limit-3"


def test_rows_go_with_their_entries(tmp_path: Path) -> None:
    entry(tmp_path, "tasks", "a")
    entry(tmp_path, "documents", "b")
    entry(tmp_path, "tasks", "c", digests={**HEAD["digests"], "weights": "x"})
    assert [path.name for path in results_path(tmp_path, 5).with_suffix("").rglob("*")] == ["c.jsonl"]
