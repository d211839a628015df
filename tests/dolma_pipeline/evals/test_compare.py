from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.evals.compare import Side, compare, newest_step, only_in_one
from dolma_pipeline.evals.results import add, results_path, rows_path


def scored(
    run: Path, task: str, scores: list[dict[str, Any]], *, step: int = 200, data: str = "d", **more: Any
) -> Side:
    """Results of a step with one more task."""
    head = {"step": step, "tokens": 1, "digests": {"weights": str(step)}}
    rows = [{"id": str(i), "scores": one} for i, one in enumerate(scores)]
    section = more.pop("section", "tasks")
    add(run, head, section, task, {"data": data, **more}, rows)
    return Side(run, step)


def rights(values: list[int]) -> list[dict[str, Any]]:
    return [{"acc": float(value)} for value in values]


def plain_bootstrap(pairs: list[tuple[float, float]], *, draws: int) -> tuple[float, float, float]:
    """Item by item, with another generator."""
    generator = random.Random(1)
    found = []
    for _ in range(draws):
        drawn = [generator.choice(pairs) for _ in pairs]
        found.append(sum(b - a for a, b in drawn) / len(pairs))
    found.sort()
    better = sum(one > 0 for one in found) + sum(one == 0 for one in found) / 2
    return found[int(0.025 * draws)], found[int(0.975 * draws)], better / draws


def test_the_interval_is_that_of_a_plain_bootstrap(tmp_path: Path) -> None:
    generator = random.Random(5)
    ours = [int(generator.random() < 0.4) for _ in range(60)]
    theirs = [one if generator.random() < 0.8 else int(generator.random() < 0.7) for one in ours]
    a, b = scored(tmp_path / "a", "t", rights(ours)), scored(tmp_path / "b", "t", rights(theirs))
    (found,) = compare(a, b)
    low, high, share = plain_bootstrap([*zip(ours, theirs, strict=True)], draws=4000)
    assert (found.a, found.b) == (pytest.approx(sum(ours) / 60), pytest.approx(sum(theirs) / 60))
    assert found.difference == pytest.approx(found.b - found.a)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.021), pytest.approx(high, abs=0.021))
    assert found.share == pytest.approx(share, abs=0.03)
    (back,) = compare(b, a)
    assert (back.difference, back.low, back.high) == (
        pytest.approx(-found.difference), pytest.approx(-found.high), pytest.approx(-found.low)
    )  # fmt: skip
    assert back.share == pytest.approx(1 - found.share)


def test_pairs_count_not_the_spread_of_each(tmp_path: Path) -> None:
    """Both are right on half of the items; the second is right on two more of the same: that is sure."""
    ours = [0, 1] * 100
    theirs = [1, 1, 1, 1, *ours[4:]]
    (found,) = compare(scored(tmp_path / "a", "t", rights(ours)), scored(tmp_path / "b", "t", rights(theirs)))
    assert found.difference == pytest.approx(0.01)
    assert 0 <= found.low < 0.01 < found.high < 0.03
    assert found.share > 0.9


def test_ratios_are_of_the_sums_that_were_drawn(tmp_path: Path) -> None:
    generator = np.random.Generator(np.random.PCG64(2))
    sizes = generator.integers(1, 200, 40).tolist()
    left = [[size * float(generator.normal(2.0, 0.3)), float(size)] for size in sizes]
    right = [[above * 0.9, below] for above, below in left]
    a = scored(tmp_path / "a", "web", [{"bits_per_byte": pair} for pair in left], section="held_out")
    b = scored(tmp_path / "b", "web", [{"bits_per_byte": pair} for pair in right], section="held_out")
    (found,) = compare(a, b)
    whole = sum(above for above, _ in left) / sum(sizes)
    assert (found.section, found.metric) == ("held_out", "bits_per_byte")
    assert (found.a, found.difference) == (pytest.approx(whole), pytest.approx(-0.1 * whole))
    assert found.low < found.difference < found.high < 0
    assert found.share == 1.0  # fewer bits are better
    error = 0.1 * np.sqrt(40 / 39 * sum((y - whole * x) ** 2 for y, x in left)) / sum(sizes)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.2)


def test_draws_depend_on_seed_and_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random.Random(5)
    sides = []
    for run in ("a", "b"):
        for task in ("x", "y"):
            side = scored(tmp_path / run, task, rights([generator.randrange(2) for _ in range(50)]))
        sides.append(side)
    both = compare(*sides)
    assert compare(*sides, names=["y"]) == both[1:]
    assert [one.share for one in compare(*sides, seed=1)] != [one.share for one in both]
    monkeypatch.setattr("dolma_pipeline.evals.compare._INDICES_AT_ONCE", 1000)
    assert compare(*sides) == both


def test_no_difference_at_all(tmp_path: Path) -> None:
    a, b = scored(tmp_path / "a", "t", rights([0, 1, 1])), scored(tmp_path / "b", "t", rights([0, 1, 1]))
    (found,) = compare(a, b)
    assert (found.difference, found.low, found.high, found.share) == (0, 0, 0, 0.5)


def test_results_of_other_items_are_refused(tmp_path: Path) -> None:
    a = scored(tmp_path / "a", "t", rights([0, 1]))
    with pytest.raises(
        UsageError, match=r"t: .*a/eval/step-000200\.json and .*b/eval/.* are of other items, so they can"
    ):
        compare(a, scored(tmp_path / "b", "t", rights([0, 1]), data="e"))
    with pytest.raises(UsageError, match=r"t: .* are of other task settings"):
        compare(a, scored(tmp_path / "c", "t", rights([0, 1]), settings="x"))
    b = scored(tmp_path / "b", "u", rights([1, 1]))
    with pytest.raises(UsageError, match=r"are of other items"):
        compare(a, b)
    scored(tmp_path / "a", "u", rights([0, 1]))
    assert [one.name for one in compare(a, b, names=["u"])] == ["u"]
    with pytest.raises(UsageError, match=r"v: not scored in both"):
        compare(a, b, names=["v"])
    with pytest.raises(UsageError, match=r"have no task, source or domain in common"):
        compare(a, scored(tmp_path / "d", "w", rights([0, 1])))
    assert only_in_one(a, b) == []
    assert only_in_one(a, Side(tmp_path / "d", 200)) == [("t", a), ("u", a), ("w", Side(tmp_path / "d", 200))]


def test_rows_that_are_not_of_the_results_are_refused(tmp_path: Path) -> None:
    a, b = scored(tmp_path / "a", "t", rights([0, 1])), scored(tmp_path / "b", "t", rights([0, 1]))
    path = rows_path(tmp_path / "b", 200, "tasks", "t")
    path.write_bytes(path.read_bytes().replace(b"1.0", b"0.0"))
    with pytest.raises(DataError, match=r"b/eval/step-000200/t\.jsonl: not the rows that .* is of"):
        compare(a, b)
    path.unlink()
    with pytest.raises(DataError, match=r"b/eval/step-000200/t\.jsonl: not the rows"):
        compare(a, b)


def test_steps_that_have_results(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"eval: no results\. Score the run first: dolma-pipeline eval"):
        newest_step(tmp_path)
    for step in (0, 300, 200, 50):
        scored(tmp_path, "t", rights([0, 1]), step=step)
    assert newest_step(tmp_path) == 300
    with pytest.raises(UsageError, match=r"step-000100\.json: no results of that step\. There are: 0, 50, 200, 300"):
        compare(Side(tmp_path, 100), Side(tmp_path, 200))
    results_path(tmp_path, 200).write_text("[]")
    with pytest.raises(DataError, match=r"step-000200\.json: not a file of results"):
        compare(Side(tmp_path, 300), Side(tmp_path, 200))
