from __future__ import annotations

from typing import Any

from dolma_pipeline.runner.score_table import score_rows, task_rows


def entry(acc: float, **more: Any) -> dict[str, Any]:
    return {"metric": "acc", "acc": acc, "acc_stderr": 0.1, "num_items": 9, "data": "d", "settings": "s", **more}


def test_scores_of_other_items_stand_in_rows_of_their_own() -> None:
    """A column beside a column says that they compare."""
    scores = {
        0: {"tasks": {"a": entry(0.25), "b": entry(0.5)}},
        5: {"tasks": {"a": entry(0.75, data="other"), "b": entry(0.625, metric="acc_norm", acc_norm=0.125)}},
        9: {"tasks": {"a": entry(0.875, data="other")}},
    }
    assert [[row[0], row[1], *row[2:5]] for row in task_rows(scores)[1:]] == [
        ["a", "acc", "0.250 ± 0.100", "-", "-"],
        ["a", "acc", "-", "0.750 ± 0.100", "0.875 ± 0.100"],
        ["b", "acc", "0.500 ± 0.100", "-", "-"],
        ["b", "acc_norm", "-", "0.125", "-"],
    ]
    bits = [{"bits_per_byte": 2.0, "num_documents": 1, "num_bytes": 4, "data": data} for data in ("x", "x", "y")]
    by_step = {step: {"held_out": {"web": one}} for step, one in zip((1, 2, 10), bits, strict=True)}
    _, first, second = score_rows(by_step, "held_out")
    assert (first[1:4], second[1:4]) == (["2.0000", "2.0000", "-"], ["-", "-", "2.0000"])
    assert task_rows({1: {"tasks": {}}}) == score_rows({}, "documents") == []
