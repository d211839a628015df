"""Earlier verdicts that are to be kept and cannot be, or are given up: said, and never half."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.errors import SettingsChangedError, UsageError
from dolma_pipeline.storage.folder import run_folder
from tests.dolma_pipeline.runner.test_ready_killed import Killed, killed_after, prefixes
from tests.dolma_pipeline.stages.dedupe.test_keep_old import copy_of, launch, new_output, promised
from tests.dolma_pipeline.stages.small import write_shards

FIRST = {"web/b": ["one two three", "four", "six", "one two three"], "code/c": ["six"]}
SECOND = {"web/a": ["six", "seven", "one two three"], "code/d": ["eight", "four"]}
THIRD = {"web/c": ["seven", "nine"], "code/a": ["eight", "nine"]}
STEPS = [{"name": "exact", "kind": "exact"}, {"name": "near", "kind": "minhash"}]
OLD: dict[str, Any] = {
    "dedupe": {"prefer": "chars DESC", "steps": STEPS, "keep": "old"},
    "mix": {"where": {"some": "chars > 0", "unique": "exact.keep AND near.keep"}, "documents": False},
}
ELECT = {**OLD, "dedupe": {**OLD["dedupe"], "keep": "elect"}}
OTHER = {**OLD, "dedupe": {**OLD["dedupe"], "prefer": "chars"}}


@pytest.fixture
def start(tmp_path: Path) -> str:
    """A folder after the first batch; files of the second one are there."""
    output = new_output()
    write_shards(tmp_path, FIRST)
    launch(tmp_path, output, OLD)
    write_shards(tmp_path, SECOND)
    return output


@pytest.fixture
def twice(tmp_path: Path, start: str) -> str:
    """The same after the second batch."""
    launch(tmp_path, start, OLD)
    return start


def fresh(folder: Path, settings: dict[str, Any] = ELECT) -> dict[str, bytes]:
    output = new_output()
    launch(folder, output, settings)
    return promised(run_folder(output))


def test_from_old_to_elect_is_a_change_of_all_that_stands_on_it(tmp_path: Path, twice: str) -> None:
    before, expected = promised(run_folder(twice)), fresh(tmp_path)
    assert before != expected
    said = r"  dedupe\.keep: 'old' -> 'elect'\nthis makes again: attributes/exact, attributes/near, mix/verdicts, mix\n"
    with pytest.raises(SettingsChangedError, match=said):
        launch(tmp_path, twice, ELECT)
    assert promised(run_folder(twice)) == before
    with pytest.raises(UsageError, match=r"mix needs attributes/exact, which is not done \(changed\)"):
        launch(tmp_path, twice, ELECT, stages=("mix",))
    launch(tmp_path, twice, ELECT, stages=("dedupe",), redo=True)
    launch(tmp_path, twice, ELECT)
    assert promised(run_folder(twice)) == expected


def test_new_files_do_not_hide_the_change(tmp_path: Path, twice: str) -> None:
    write_shards(tmp_path, THIRD)
    with pytest.raises(SettingsChangedError, match=r"dedupe\.keep: 'old' -> 'elect'"):
        launch(tmp_path, twice, ELECT)
    launch(tmp_path, twice, ELECT, redo=True)
    assert promised(run_folder(twice)) == fresh(tmp_path)


def test_from_elect_to_old_keeps_what_the_election_gave(tmp_path: Path, twice: str) -> None:
    output = new_output()
    launch(tmp_path, output, ELECT)
    elected = promised(run_folder(output))
    write_shards(tmp_path, THIRD)
    launch(tmp_path, output, OLD)
    after = promised(run_folder(output))
    names = [name for name in elected if name.startswith("attributes/") and name.endswith(".parquet")]
    assert len(names) == 8
    assert {name: after[name] for name in names} == {name: elected[name] for name in names}
    assert any(name not in elected for name in after if name.startswith("attributes/"))
    write_shards(tmp_path, {"web/z": ["ten"]})
    launch(tmp_path, output, OLD)
    assert {name: promised(run_folder(output))[name] for name in names} == {name: elected[name] for name in names}


def test_other_settings_judge_all_anew_and_say_so(
    tmp_path: Path, twice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shards(tmp_path, THIRD)
    said = "all documents are judged anew then, those of earlier runs too, though dedupe.keep is old\nGive --redo"
    with pytest.raises(SettingsChangedError, match=said):
        launch(tmp_path, twice, OTHER)
    launch(tmp_path, twice, OTHER, redo=True)
    assert promised(run_folder(twice)) == fresh(tmp_path, OTHER)
    assert (
        "warning: attributes/near: dedupe.keep is old, but it was made with other settings" in capsys.readouterr().err
    )


def test_an_input_that_is_gone_or_another(tmp_path: Path, twice: str) -> None:
    before = promised(run_folder(twice))
    path = tmp_path / "in/web/b.jsonl"
    content = path.read_text()
    for change, what in (
        (path.unlink, r"reads .*b\.jsonl|web/b"),
        (lambda: path.write_text(content.replace("six", "ten")), "was changed"),
    ):
        change()
        with pytest.raises(Exception, match=what):
            launch(tmp_path, twice, OLD)
        said = r"dedupe\.keep is old, but the input of web/b is gone or has another content, .* set dedupe\.keep: elect"
        with pytest.raises(UsageError, match=said):
            launch(tmp_path, twice, OLD, redo=True)
    path.write_text(content)
    assert promised(run_folder(twice)) == before
    assert launch(tmp_path, twice, OLD).nothing_to_do


def test_a_file_with_verdicts_that_is_gone(tmp_path: Path, start: str) -> None:
    """Of one election all is elected once more, alike; what was decided in two cannot be found out again."""
    write_shards(tmp_path, {})
    once, name = copy_of(start), "attributes/near/web/b.parquet"
    for shard in SECOND:
        (tmp_path / "in" / f"{shard}.jsonl").unlink()
    before = promised(run_folder(once))
    run_folder(once).delete([name])
    launch(tmp_path, once, OLD)
    assert promised(run_folder(once)) == before
    run_folder(once).delete([name])
    write_shards(tmp_path, SECOND)
    said = r"dedupe\.keep is old, but attributes/near/web/b\.parquet is missing or cut short, and only these files say"
    with pytest.raises(UsageError, match=said):
        launch(tmp_path, once, OLD)
    launch(tmp_path, start, OLD)
    whole = copy_of(start)
    run_folder(start).delete([name])
    with pytest.raises(UsageError, match=said):
        launch(tmp_path, start, OLD)
    launch(tmp_path, start, ELECT, redo=True)
    assert promised(run_folder(start)) == fresh(tmp_path)
    run_folder(whole).delete(["attributes/exact/shards.jsonl"])
    with pytest.raises(UsageError, match=said.replace("near/web/b\\.parquet", "exact/shards\\.jsonl")):
        launch(tmp_path, whole, OLD)


def test_the_launcher_is_killed_while_it_opens_and_tidies(tmp_path: Path, start: str) -> None:
    whole = copy_of(start)
    launch(tmp_path, whole, OLD)
    expected = promised(run_folder(whole))
    for where in ("make_ready", "tidy"):
        with killed_after(10**9, where) as changed:
            launch(tmp_path, copy_of(start), OLD)
        assert len(changed) > 5
        for num_changes in prefixes(len(changed))[::6]:
            output = copy_of(start)
            with killed_after(num_changes, where), pytest.raises(Killed):
                launch(tmp_path, output, OLD)
            launch(tmp_path, output, OLD)
            assert promised(run_folder(output)) == expected, num_changes


def test_killed_with_old_and_gone_on_with_elect(tmp_path: Path, start: str) -> None:
    """Nothing of a growth that was not finished is in the election, and no file of new shards that left is left."""
    from tests.dolma_pipeline.stages.dedupe.test_keep_old import Killed as Ended
    from tests.dolma_pipeline.stages.dedupe.test_keep_old import KilledAfter, tasks_of

    whole = copy_of(start)
    launch(tmp_path, whole, OLD)
    steps = tasks_of(run_folder(whole))[len(tasks_of(run_folder(start))) :]
    output = copy_of(start)
    with pytest.raises(Ended):
        launch(tmp_path, output, OLD, how=KilledAfter(tasks=steps.index("dedupe/check")))
    other = copy_of(output)
    launch(tmp_path, output, ELECT)
    assert promised(run_folder(output)) == fresh(tmp_path)
    (tmp_path / "in/web/a.jsonl").unlink()
    launch(tmp_path, other, OLD, redo=True)
    write_shards(tmp_path, FIRST)
    again = copy_of(start)
    launch(tmp_path, again, OLD)
    assert promised(run_folder(other)) == promised(run_folder(again))
    assert not [name for name in promised(run_folder(other)) if "web/a" in name]
