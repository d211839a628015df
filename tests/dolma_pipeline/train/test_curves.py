from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.storage.folder import RunFolder, run_folder
from dolma_pipeline.train.curves import Point, curve_text, read_curves, thinned


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    rows = [
        {"step": 1, "tokens": 8, "loss": 4.0, "loss_by_source": {"web": 3.0, "code": 5.0}},
        {"step": 2, "tokens": 16, "loss": None, "skipped": True},
        {"step": 3, "tokens": 24, "loss": 2.0, "loss_by_source": {"web": 2.0}},
    ]
    (tmp_path / "train").mkdir()
    (tmp_path / "train/metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4, "lo')
    (tmp_path / "eval/step-000003").mkdir(parents=True)
    (tmp_path / "eval/step-000003/arc.jsonl").write_text("{}\n")  # of its items: no results of a step
    for step, bits, acc in ((0, 8.0, 0.25), (3, 3.5, 0.5)):
        task = {"acc": acc, "acc_stderr": 0.1, "chance": 0.25}
        result = {"held_out": {"web": {"bits_per_byte": bits}}, "tasks": {"arc": task, "code": {"pass_at_1": 0.1}}}
        (tmp_path / f"eval/step-{step:06d}.json").write_text(json.dumps(result))
    return run_folder(str(tmp_path))


def test_curves_of_a_run(folder: RunFolder) -> None:
    found = read_curves(folder)
    assert found.loss == [Point(1, 4.0), Point(3, 2.0)]
    assert found.losses == {"code": [Point(1, 5.0)], "web": [Point(1, 3.0), Point(3, 2.0)]}
    assert found.skipped == [2]
    assert found.bits == {"web": [Point(0, 8.0), Point(3, 3.5)]}
    assert found.tasks == {"arc": [Point(0, 0.25, 0.1, 0.25), Point(3, 0.5, 0.1, 0.25)]}


def test_tasks_whose_metric_is_bits_stand_with_the_bits(folder: RunFolder) -> None:
    task = {"metric": "gold_bits_per_byte_mean", "gold_bits_per_byte_mean": 2.5, "kind": "continuation"}
    result = {"held_out": {"web": {"bits_per_byte": 1.5}}, "tasks": {"lambada": task, "web": task}}
    folder.write("eval/step-000004.json", json.dumps(result).encode())
    found = read_curves(folder)
    assert {name: points[-1] for name, points in found.bits.items()} == {
        "web": Point(4, 1.5), "lambada": Point(4, 2.5), "web (task)": Point(4, 2.5),
    }  # fmt: skip
    assert [*found.tasks] == ["arc"]


@pytest.mark.parametrize("line", ["no", "[]", '{"loss": 1.0}', '{"step": 2, "loss": "x"}'])
def test_a_damaged_line_is_named(folder: RunFolder, tmp_path: Path, line: str) -> None:
    (tmp_path / "train/metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n' + line + "\n")
    with pytest.raises(DataError, match=r"train/metrics\.jsonl:2: not an object with step and loss"):
        read_curves(folder)


def test_damaged_results_are_named(folder: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "eval/step-000003.json").write_text("{")
    with pytest.raises(DataError, match=r"eval/step-000003\.json: not JSON"):
        read_curves(folder)


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Nothing was trained or scored there"):
        read_curves(run_folder(str(tmp_path)))


def test_long_curves_become_means() -> None:
    points = [Point(step, float(step)) for step in range(1, 11)]
    assert thinned(points, 10) == points
    assert thinned(points, 4) == [Point(2, 1.5), Point(5, 4.0), Point(7, 6.5), Point(10, 9.0)]


def test_a_curve_as_text() -> None:
    assert curve_text([]) == ""
    assert curve_text([3.0]) == "3 ▁ 3"
    assert curve_text([8.0, 4.5, 1.0]) == "8 █▅▁ 1"
    assert curve_text([4.0, 2.0, 1.0, 1.0], width=2) == "3 █▁ 1"
