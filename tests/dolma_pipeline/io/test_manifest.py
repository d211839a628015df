"""Done records, and the list and manifest that they become."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dolma_pipeline
from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import (
    SHAPING_LIBRARIES,
    Records,
    add_counts,
    canonical,
    differences,
    digest,
    made_by,
    output_record,
    pretty,
    total_counts,
    work_record,
)

UNIT = {"stage": "tag", "digest": "sha256:1", "config": {"b": 1, "a": [1, 2]}, "needs": {}}
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=4)),
    max_leaves=10,
)


def shuffled(value: Any) -> Any:
    """The same value with its keys in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(one) for one in value] if isinstance(value, list) else value


@settings(max_examples=80, deadline=None)
@given(VALUES)
def test_equal_values_have_equal_bytes_and_digests_whatever_their_order(value: Any) -> None:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert json.loads(canonical(value)) == json.loads(text)
    assert canonical(shuffled(value)) == canonical(value)
    assert digest(shuffled(value)) == digest(value) == "sha256:" + hashlib.sha256(canonical(value)).hexdigest()
    assert pretty(shuffled(value)) == pretty(value)
    assert pretty(value).endswith(b"\n")


def test_other_values_have_other_digests() -> None:
    values: list[Any] = [None, 0, 1, 1.5, "1", [], [1], {}, {"a": 1}, {"a": 2}, {"b": 1}, [1, 2], [2, 1], True]
    assert len({digest(value) for value in values}) == len(values)
    assert canonical({"b": {"y": 1, "x": 2}, "a": 1}) == b'{"a":1,"b":{"x":2,"y":1}}'


SHARDS = ["web/b", "web/2024/a", "code/a@00001"]


def record(kept: int, rules: dict[str, dict[str, int]] | None = None) -> dict[str, Any]:
    counts: dict[str, Any] = {"in": kept + 1, "kept": kept}
    return {"inputs": [], "outputs": [], "counts": counts | ({"rules": rules} if rules else {})}


def filled(folder: Path) -> Records:
    records = Records(folder)
    records.start(UNIT)
    records.write("web/b", record(1, {"r": {"first": 1, "any": 2}}))
    records.write("web/2024/a", record(2, {"r": {"first": 3}, "s": {"first": 1}}))
    records.write("code/a@00001", record(4))
    return records


def test_records_survive_and_tell_what_is_done(tmp_path: Path) -> None:
    records = filled(tmp_path)
    again = Records(tmp_path)
    assert again.started() == UNIT
    assert again.manifest() is None
    assert [r["shard"] for r in again.read()] == ["code/a@00001", "web/2024/a", "web/b"]
    assert (again.has("web/b"), again.has("web/2024/a"), again.has("web/a")) == (True, True, False)
    records.write("web/b", record(9))
    assert again.read()[2]["counts"]["kept"] == 9


def test_finishing_writes_the_list_and_the_manifest_and_deletes_nothing(tmp_path: Path) -> None:
    manifest = filled(tmp_path).finish(UNIT, expected=SHARDS, extra={"plan": {"x": 1}})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".done", "manifest.json", "shards.jsonl"]
    lines = (tmp_path / "shards.jsonl").read_bytes()
    assert [json.loads(line)["shard"] for line in lines.splitlines()] == ["code/a@00001", "web/2024/a", "web/b"]
    assert manifest == json.loads((tmp_path / "manifest.json").read_bytes())
    assert manifest == {
        "format": 1,
        "made_by": made_by(),
        **UNIT,
        "counts": {
            "code": {"in": 5, "kept": 4},
            "web": {"in": 5, "kept": 3, "rules": {"r": {"first": 4, "any": 2}, "s": {"first": 1}}},
        },
        "shards": {"file": "shards.jsonl", "num_shards": 3, "sha256": hashlib.sha256(lines).hexdigest()},
        "plan": {"x": 1},
    }
    assert Records(tmp_path).started() == UNIT


def test_the_manifest_names_the_versions_that_shape_bytes() -> None:
    assert made_by()["dolma_pipeline"] == dolma_pipeline.__version__
    assert {name: importlib.metadata.version(name) for name in SHAPING_LIBRARIES}.items() <= made_by().items()
    assert "pyarrow" in SHAPING_LIBRARIES


def test_the_order_of_completion_changes_nothing(tmp_path: Path) -> None:
    shards = ["web/b", "web/a/x", "web/a", "code/c"]
    for name, order in (("one", shards), ("two", shards[::-1])):
        records = Records(tmp_path / name)
        for shard in order:
            records.write(shard, record(len(shard)))
        records.finish(UNIT, expected=shards)
    for file in ("manifest.json", "shards.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_finishing_again_at_any_time_gives_the_same_bytes(tmp_path: Path) -> None:
    records = filled(tmp_path)
    records.finish(UNIT, expected=SHARDS)
    wanted = outputs(tmp_path)
    records.finish(UNIT, expected=SHARDS)
    assert outputs(tmp_path) == wanted
    shutil.rmtree(records.done_folder)  # the launcher, when all is over
    assert records.finish(UNIT, expected=SHARDS) == json.loads(wanted["manifest.json"])
    assert outputs(tmp_path) == wanted
    half = filled(tmp_path / "half")  # killed after the list, before the manifest
    (tmp_path / "half" / "shards.jsonl").write_bytes(b'{"shard": "of an earlier, longer list"}\n')
    half.finish(UNIT, expected=SHARDS)
    assert outputs(tmp_path / "half") == wanted


def test_finishing_twice_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One begins, and before it writes the manifest another does all of it."""
    records, create = filled(tmp_path), paths.create

    def after_another(path: Path, content: bytes) -> bool:
        monkeypatch.setattr(paths, "create", create)
        filled(tmp_path).finish(UNIT, expected=SHARDS)
        assert path.is_file()
        return create(path, content)

    monkeypatch.setattr(paths, "create", after_another)
    manifest = records.finish(UNIT, expected=SHARDS)
    assert manifest == json.loads((tmp_path / "manifest.json").read_bytes())
    assert manifest["shards"]["num_shards"] == 3


def test_a_manifest_is_never_replaced_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, create = filled(tmp_path), paths.create

    def after_another(path: Path, content: bytes) -> bool:
        monkeypatch.setattr(paths, "create", create)
        filled(tmp_path).finish(UNIT, expected=SHARDS, extra={"plan": {"x": 2}})
        return create(path, content)

    monkeypatch.setattr(paths, "create", after_another)
    with pytest.raises(RunError) as caught:
        records.finish(UNIT, expected=SHARDS, extra={"plan": {"x": 1}})
    assert str(caught.value) == (
        f"{tmp_path}/manifest.json: another manifest is there already (plan.x: 2 -> 1). Two runs have worked in this "
        "folder at once. Wait until the other one has ended, then give the same command again."
    )
    assert json.loads((tmp_path / "manifest.json").read_bytes())["plan"] == {"x": 2}
    with pytest.raises(RunError, match=r"another manifest is there already \(digest: 'sha256:1' -> 'sha256:2'\)"):
        records.finish({**UNIT, "digest": "sha256:2"}, expected=SHARDS)
    with pytest.raises(RunError, match=r"there already \(needs\.shards\.jsonl: \(nothing\) -> 'sha256:3'\)"):
        records.closed({**UNIT, "needs": {"shards.jsonl": "sha256:3"}})
    assert records.closed(UNIT)
    assert not Records(tmp_path / "other").closed(UNIT)


def test_records_that_are_missing_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    records = filled(tmp_path)
    message = r": 2 of 5 done records are missing: web/c, web/d\. The same command goes on from there\.$"
    with pytest.raises(RunError, match=message):
        records.finish(UNIT, expected=[*SHARDS, "web/d", "web/c"])
    assert outputs(tmp_path) == {}
    shutil.rmtree(records.done_folder)  # cleared away while another still finishes: never an empty manifest
    with pytest.raises(RunError, match="3 of 3 done records are missing: code/a@00001, web/2024/a, web/b"):
        records.finish(UNIT, expected=SHARDS)
    assert outputs(tmp_path) == {}
    with pytest.raises(DataError, match=r"^.*/\.done/shards/web/b\.json: this done record of the run is gone"):
        records.one("web/b")


def test_only_the_expected_records_count(tmp_path: Path) -> None:
    """A record of a shard that is no longer in the run may lie there."""
    records = filled(tmp_path)
    assert records.finish(UNIT, expected=["web/b"])["shards"]["num_shards"] == 1
    assert [found["shard"] for found in records.all(["web/b"])] == ["web/b"]
    with pytest.raises(RunError, match="1 of 2 done records are missing: web/2024/a"):
        records.all(["web/2024/a", "web/b"])


def test_a_record_lists_the_files_that_others_need(tmp_path: Path) -> None:
    records = Records(tmp_path / ".work" / "edges", files=tmp_path)
    (tmp_path / "edges").mkdir()
    (tmp_path / "edges" / "1.parquet").write_bytes(b"abc")
    records.write("1", {"outputs": [work_record(tmp_path, tmp_path / "edges" / "1.parquet")]})
    assert records.one("1") == {"shard": "1", "outputs": [{"path": "edges/1.parquet", "bytes": 3}]}
    assert records.outputs("1") == [tmp_path / "edges" / "1.parquet"]


def test_finished_work_is_opened_again_for_new_shards(tmp_path: Path) -> None:
    records = filled(tmp_path)
    records.finish(UNIT, expected=SHARDS)
    shutil.rmtree(records.done_folder)
    assert not records.has("web/b")
    records.reopen()
    assert records.manifest() is None
    assert all(records.has(shard) for shard in SHARDS)
    records.write("web/c", record(7))
    manifest = records.finish(UNIT, expected=[*SHARDS, "web/c"])
    assert manifest["counts"]["web"]["kept"] == 10
    assert manifest["shards"]["num_shards"] == 4


def test_work_that_is_not_done_by_shards_has_no_list(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.start(UNIT)
    manifest = records.finish(UNIT, extra={"tokenizer": {"vocab_size": 300}})
    assert manifest == {"format": 1, "made_by": made_by(), **UNIT, "counts": {}, "tokenizer": {"vocab_size": 300}}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["manifest.json"]
    assert records.read() == []


def test_an_output_is_named_within_its_unit(tmp_path: Path) -> None:
    path = tmp_path / "mix" / "documents" / "web" / "a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    assert output_record(tmp_path / "mix", path, rows=5) == {
        "path": "documents/web/a.jsonl",
        "rows": 5,
        "bytes": 3,
        "sha256": hashlib.sha256(b"abc").hexdigest(),
    }
    with pytest.raises(ValueError, match="not in the subpath"):
        output_record(tmp_path / "tokens", path, rows=5)


COUNTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["x", "y"]), COUNTS, COUNTS), max_size=6))
def test_counts_are_summed_by_source(rows: list[tuple[str, dict[str, int], dict[str, int]]]) -> None:
    records = [{"shard": f"{s}/{i}", "counts": {**c, "rules": {"r": r}}} for i, (s, c, r) in enumerate(rows)]
    totals = total_counts([*records, {"shard": "z/none"}])
    assert set(totals) == {source for source, _, _ in rows}
    for source, total in totals.items():
        mine = [(c, r) for s, c, r in rows if s == source]
        for key in "abc":
            assert total.get(key, 0) == sum(c.get(key, 0) for c, _ in mine)
            assert total["rules"]["r"].get(key, 0) == sum(r.get(key, 0) for _, r in mine)


def test_adding_changes_neither_side() -> None:
    a, b = {"n": 1, "rules": {"r": {"first": 1}}}, {"rules": {"r": {"first": 2}, "s": {"first": 3}}}
    assert add_counts(a, b) == {"n": 1, "rules": {"r": {"first": 3}, "s": {"first": 3}}}
    assert (a, b) == ({"n": 1, "rules": {"r": {"first": 1}}}, {"rules": {"r": {"first": 2}, "s": {"first": 3}}})


def test_differences() -> None:
    old = {"a": 1, "b": {"c": [1], "gone": None}, "same": {}}
    new = {"a": 1.5, "b": {"c": [1, 2], "new": "x"}, "same": {}}
    assert differences(old, new) == [
        "a: 1 -> 1.5",
        "b.c: [1] -> [1, 2]",
        "b.gone: None -> (nothing)",
        "b.new: (nothing) -> 'x'",
    ]
