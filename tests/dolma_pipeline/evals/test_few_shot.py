from __future__ import annotations

from typing import Any

import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.few_shot import Draw, Examples
from dolma_pipeline.evals.rows import Row

ROWS = [Row(f"dev:{i}", {"id": f"e{i}", "subject": "ab"[i % 2]}) for i in range(12)]


def examples(number: int, draw: Draw = "first", **changes: Any) -> Examples:
    return Examples(**{"rows": ROWS, "number": number, "draw": draw, "seed": 0, "group": "", "path": "dev", **changes})


def ids(rows: list[Row]) -> list[str]:
    return [row.id for row in rows]


ITEM = Row("test:1", {"id": "q1", "subject": "b"})


def test_the_first_ones_and_those_of_a_group() -> None:
    assert ids(examples(3).before(ITEM)) == ["e0", "e1", "e2"]
    assert ids(examples(3, group="subject").before(ITEM)) == ["e1", "e3", "e5"]
    with pytest.raises(DataError, match=r"test:1: shots is 7, but dev has 6 examples of \"subject\" 'b' for it"):
        examples(7, group="subject").before(ITEM)
    with pytest.raises(DataError, match="test:1: shots is 13, but dev has 12 examples for it"):
        examples(13).before(ITEM)


def test_an_item_is_never_its_own_example() -> None:
    assert ids(examples(11).before(ROWS[4])) == [f"e{i}" for i in range(12) if i != 4]


def test_a_keyed_draw_depends_on_seed_item_and_examples_alone() -> None:
    drawn = ids(examples(4, "keyed").before(ITEM))
    assert drawn == ["e10", "e11", "e0", "e7"]  # for good: a change would change scores
    assert ids(examples(4, "keyed", rows=ROWS[::-1]).before(ITEM)) == drawn
    fewer = [row for row in ROWS if row.id in drawn or row.id == "e1"]
    assert ids(examples(4, "keyed", rows=fewer).before(ITEM)) == drawn
    other = [ids(examples(4, "keyed", seed=seed).before(ITEM)) for seed in range(1, 20)]
    assert len({*map(tuple, other), tuple(drawn)}) == 20
    items = [ids(examples(4, "keyed").before(Row("t", {"id": f"q{i}"}))) for i in range(20)]
    assert len({*map(tuple, items)}) == 20


def test_a_keyed_draw_favours_no_example() -> None:
    counts = dict.fromkeys(ids(ROWS), 0)
    for i in range(3000):
        for name in ids(examples(4, "keyed").before(Row("t", {"id": f"q{i}"}))):
            counts[name] += 1
    assert all(900 < count < 1100 for count in counts.values())  # 1,000 each; four standard deviations are 103
