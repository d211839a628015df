"""What the launcher deletes and opens, and what is left of it when it is killed at any point of that."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.engines import Here
from dolma_pipeline.errors import SettingsChangedError
from dolma_pipeline.run import columns as columns_module
from dolma_pipeline.run import layout
from dolma_pipeline.runner import launcher, run
from dolma_pipeline.storage.folder import RunFolder, run_folder
from dolma_pipeline.storage.memory import MemoryFolder
from tests.dolma_pipeline.stages.small import small_recipe, write_shards
from tests.pipeline.tiny import engine

SHARDS = {
    "web/a": ["one two three", "one two three", "four"],
    "web/b": ["five six", "four"],
    "code/c": ["one two three"],
}
RECIPE: dict[str, Any] = {
    "tag": {"taggers": ["length_v1", {"tagger": "length_v1", "name": "other"}]},
    "dedupe": {"steps": [{"name": "exact", "kind": "exact"}, {"name": "near", "kind": "minhash"}]},
    "mix": {"where": {"words": "length_v1.words > 0", "unique": "exact.keep"}, "documents": False},
}  # fmt: skip


class Killed(BaseException):
    """The launcher's death."""


def recipe(folder: Path, output: str, **changes: Any) -> Recipe:
    found = small_recipe(folder, ["web", "code"], **{**RECIPE, **changes})
    return replace(found, output=output)


def launch(recipe: Recipe, **options: Any) -> RunFolder:
    with engine(Here()):
        run(recipe, quiet=True, **options)
    return run_folder(recipe.output)


def promised(folder: RunFolder) -> dict[str, bytes]:
    names = [e.name for e in folder.list() if e.name.split("/")[0] not in layout.UNPROMISED]
    return {name: folder.read(name) for name in names}


def new_output() -> str:
    return f"memory://{secrets.token_hex(8)}"


def copy_of(output: str) -> str:
    before, after = run_folder(output), new_output()
    for entry in before.list():
        run_folder(after).write(entry.name, before.read(entry.name))
    return after


@contextlib.contextmanager
def killed_after(num_changes: int, where: str) -> Iterator[list[str]]:
    """Kills what the launcher does in `where` before it changes one more name; gives the names that were changed."""
    changed: list[str] = []
    delete, put = MemoryFolder.delete, MemoryFolder._put
    active: list[bool] = []

    def change(name: str) -> None:
        if active:
            if len(changed) >= num_changes:
                raise Killed
            changed.append(name)

    def delete_each(self: MemoryFolder, names: Iterable[str]) -> None:
        for name in names:
            if self.stat(name) is not None:
                change(name)
                delete(self, [name])

    def note_put(self: MemoryFolder, name: str, content: bytes) -> str:
        change(name)
        return put(self, name, content)

    original: Callable[..., None] = getattr(launcher, where)

    def watched(*args: Any, **options: Any) -> None:
        active.append(True)
        try:
            original(*args, **options)
        finally:
            active.clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryFolder, "delete", delete_each)
        patch.setattr(MemoryFolder, "_put", note_put)
        patch.setattr(launcher, where, watched)
        yield changed


CHANGES: dict[str, dict[str, Any]] = {
    "rule": {"mix": {**RECIPE["mix"], "where": {"words": "length_v1.words > 1", "unique": "exact.keep"}}},
    "tagger": {"tag": {"taggers": [{"tagger": "c4_v1", "name": "length_v1"}, {"tagger": "length_v1", "name": "other"}]},
               "mix": {**RECIPE["mix"], "where": {"unique": "exact.keep"}}},
    "dedupe": {"dedupe": {"steps": [{"name": "exact", "kind": "exact"},
                                    {"name": "near", "kind": "minhash", "shingle": 2}]}},
    "nothing": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ready")
    write_shards(folder, SHARDS)
    return folder


@pytest.fixture(scope="module")
def finished(corpus: Path) -> str:
    """The output of a finished run."""
    output = new_output()
    launch(recipe(corpus, output))
    return output


def prefixes(total: int) -> list[int]:
    """Numbers of changes after which the launcher is killed: all, or a dozen of many."""
    return sorted({*range(min(total, 4)), *range(0, total, max(1, total // 10)), max(0, total - 1)})


@pytest.mark.parametrize("change", ["rule", "tagger", "dedupe"])
def test_killed_while_it_clears_for_other_settings(corpus: Path, finished: str, change: str) -> None:
    expected = promised(launch(recipe(corpus, new_output(), **CHANGES[change])))
    with killed_after(10**9, "make_ready") as changed:
        output = copy_of(finished)
        assert promised(launch(recipe(corpus, output, **CHANGES[change]), redo=True)) == expected
    assert len(changed) > 5
    for num_changes in prefixes(len(changed)):
        output = copy_of(finished)
        with killed_after(num_changes, "make_ready"), pytest.raises(Killed):
            launch(recipe(corpus, output, **CHANGES[change]), redo=True)
        try:
            launch(recipe(corpus, output, **CHANGES[change]))
        except SettingsChangedError:
            launch(recipe(corpus, output, **CHANGES[change]), redo=True)
        assert promised(run_folder(output)) == expected, num_changes


@pytest.mark.parametrize("change", ["rule", "tagger", "dedupe"])
def test_killed_and_the_settings_are_put_back(corpus: Path, finished: str, change: str) -> None:
    expected = promised(run_folder(finished))
    with killed_after(10**9, "make_ready") as changed:
        launch(recipe(corpus, copy_of(finished), **CHANGES[change]), redo=True)
    for num_changes in prefixes(len(changed)):
        output = copy_of(finished)
        with killed_after(num_changes, "make_ready"), pytest.raises(Killed):
            launch(recipe(corpus, output, **CHANGES[change]), redo=True)
        launch(recipe(corpus, output), redo=True)
        assert promised(run_folder(output)) == expected, num_changes


def grown(corpus: Path, tmp_path: Path) -> Path:
    write_shards(tmp_path, {**SHARDS, "web/new": ["five six", "seven", "one two three"]})
    return tmp_path


def test_killed_while_it_opens_for_new_shards(
    corpus: Path, finished: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished work is not lost: text of old shards is not read again. Nor is it trusted with other settings."""
    folder = grown(corpus, tmp_path)
    expected = promised(launch(recipe(folder, new_output())))
    with killed_after(10**9, "make_ready") as changed:
        launch(recipe(folder, copy_of(finished)))
    assert len(changed) > 5
    opened: list[str] = []
    original = columns_module.open_shard

    def note(run: Any, shard: Any, report: Any) -> Any:
        opened.append(shard.name)
        return original(run, shard, report)

    monkeypatch.setattr(columns_module, "open_shard", note)
    for num_changes in prefixes(len(changed)):
        output = copy_of(finished)
        with killed_after(num_changes, "make_ready"), pytest.raises(Killed):
            launch(recipe(folder, output))
        with pytest.raises(SettingsChangedError, match=r"tag\.taggers\.length_v1\.tagger: 'length_v1' -> 'c4_v1'"):
            launch(recipe(folder, output, **CHANGES["tagger"]))
        del opened[:]
        launch(recipe(folder, output))
        assert opened == ["web/new"], num_changes
        assert promised(run_folder(output)) == expected, num_changes


@pytest.mark.parametrize(
    "lost",
    ["index/web/a.parquet", "attributes/other/web/b.parquet", "dedupe/near/signatures/code/c.parquet",
     "dedupe/near/clusters/members.parquet", "attributes/exact/web/a.parquet", "mix/verdicts/web/b.parquet",
     "mix/dropped/code/c.parquet", "mix/selected/web/a.parquet", "mix/plan.json", "attributes/near/shards.jsonl",
     "mix/shards.jsonl", "index/shards.jsonl"],
)  # fmt: skip
def test_what_is_lost_is_told_and_healed(corpus: Path, finished: str, lost: str, capfd: Any) -> None:
    output = copy_of(finished)
    expected = promised(run_folder(finished))
    run_folder(output).delete([lost])
    launch(recipe(corpus, output))
    assert f"1 of its files is missing or cut short ({lost})" in capfd.readouterr().err
    assert promised(run_folder(output)) == expected


def test_killed_while_it_tidies(corpus: Path, finished: str) -> None:
    with killed_after(10**9, "tidy") as changed:
        launch(recipe(corpus, new_output()))
    for num_changes in prefixes(len(changed)):
        output = new_output()
        with killed_after(num_changes, "tidy"), pytest.raises(Killed):
            launch(recipe(corpus, output))
        with engine(Here()):
            result = run(recipe(corpus, output), quiet=True)
        assert result.nothing_to_do
        folder = run_folder(output)
        assert promised(folder) == promised(run_folder(finished))
        assert list(folder.list(layout.DONE)) == []
        assert [e.name for e in folder.list("cache") if e.name.split("/")[1] in ("edges", "measured", "elected")] == []


def test_a_removed_cache_is_not_made_again_for_nobody(corpus: Path, finished: str) -> None:
    output = copy_of(finished)
    run_folder(output).delete_tree("cache")
    with engine(Here()):
        assert run(recipe(corpus, output), quiet=True).nothing_to_do
    folder = launch(recipe(corpus, output, **CHANGES["rule"]), redo=True)
    assert promised(folder) == promised(launch(recipe(corpus, new_output(), **CHANGES["rule"])))


def test_begun_work_of_fewer_shards_is_not_gone_on_with(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is killed when a plan is made and one shard of it written; then another file comes."""
    budget = {"mix": {**RECIPE["mix"], "target_documents": 3}}
    output = new_output()
    from dolma_pipeline.stages.mix.write import Writing

    start = Writing.start
    started: list[str] = []

    def killed(self: Writing, process: Any, shard: Any, stack: Any) -> Any:
        started.append(shard.name)
        if len(started) > 2:
            raise Killed
        return start(self, process, shard, stack)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Writing, "start", killed)
        launch(recipe(corpus, output, **budget))
    folder = grown(corpus, tmp_path)
    assert promised(launch(recipe(folder, output, **budget))) == promised(
        launch(recipe(folder, new_output(), **budget))
    )


def test_caches_of_other_settings_go(corpus: Path, finished: str) -> None:
    output = copy_of(finished)
    folder = launch(recipe(corpus, output, **CHANGES["rule"]), redo=True)
    assert len({e.name.split("/")[2] for e in folder.list("cache/judged")}) == 1


def test_failures_of_shards_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    write_shards(tmp_path, SHARDS)
    for name in ("web/a", "web/b"):
        with open(tmp_path / f"in/{name}.jsonl", "a") as file:
            file.write("{\n")
    output = new_output()
    settings = {"max_failed_share": 1.0}
    folder = launch(recipe(tmp_path, output, **settings))
    assert [e.name for e in folder.list("failed")] == ["failed/index/web/a.jsonl", "failed/index/web/b.jsonl"]
    (tmp_path / "in/web/b.jsonl").unlink()
    launch(recipe(tmp_path, output, **settings), redo=True)
    assert [e.name for e in folder.list("failed")] == ["failed/index/web/a.jsonl"]
    assert promised(folder) == promised(launch(recipe(tmp_path, new_output(), **settings)))
