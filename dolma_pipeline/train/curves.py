"""Loss and scores of a run over its steps, read from its metrics and results; and the loss as a line of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.storage.folder import RunFolder

METRICS = "train/metrics.jsonl"
LEVELS = "▁▂▃▄▅▆▇█"


class Point(NamedTuple):
    """A number at a step. error: its standard error, None where there is none. chance: what guessing reaches."""

    step: int
    value: float
    error: float | None = None
    chance: float | None = None


@dataclass(frozen=True)
class Curves:
    """What a run says of its training.

    loss: nats a token, steps that were skipped left out. losses: the same by source, if the run says. skipped: those
    steps. bits: source -> bits per byte of its held-out documents, and task -> of its answers, where that is its
    metric. tasks: name -> share of right answers.
    """

    loss: Sequence[Point]
    losses: Mapping[str, Sequence[Point]]
    skipped: Sequence[int]
    bits: Mapping[str, Sequence[Point]]
    tasks: Mapping[str, Sequence[Point]]


def read_curves(folder: RunFolder) -> Curves:
    """The curves of a run's folder.

    Raises:
        UsageError: it has neither metrics nor results.
        DataError: a line of the metrics, or a file of results, that is not what the trainer writes.
    """
    rows = _rows(folder)
    scores = _scores(folder)
    if not rows and not scores:
        raise UsageError(f"{folder.url}: neither {METRICS} nor eval/step-*.json. Nothing was trained or scored there.")
    losses: dict[str, list[Point]] = {}
    for row in rows:
        for source, value in sorted(row.get("loss_by_source", {}).items()):
            losses.setdefault(source, []).append(Point(row["step"], value))
    bits: dict[str, list[Point]] = {}
    tasks: dict[str, list[Point]] = {}
    for step, result in sorted(scores.items()):
        for source, found in sorted(result.get("held_out", {}).items()):
            bits.setdefault(source, []).append(Point(step, found["bits_per_byte"]))
        for name, found in sorted(result.get("tasks", {}).items()):
            metric = found.get("metric", "acc")
            if metric in found and found.get("kind") != "write":
                point = Point(step, found[metric], found.get(f"{metric}_stderr"), found.get("chance"))
                if "bits_per_byte" in metric:
                    label = f"{name} (task)" if name in result.get("held_out", {}) else name
                    bits.setdefault(label, []).append(point)
                else:
                    tasks.setdefault(name, []).append(point)
    return Curves(
        loss=[Point(row["step"], row["loss"]) for row in rows if row["loss"] is not None],
        losses=losses,
        skipped=[row["step"] for row in rows if row.get("skipped")],
        bits=bits,
        tasks=tasks,
    )


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most so many points: the means of stretches of equal length, each at its last step; without errors."""
    if len(points) <= most:
        return list(points)
    found = []
    for number in range(most):
        piece = points[number * len(points) // most : (number + 1) * len(points) // most]
        found.append(Point(piece[-1].step, sum(point.value for point in piece) / len(piece)))
    return found


def curve_text(values: Sequence[float], width: int = 60) -> str:
    """Numbers as one line of bars: `4.1 █▆▃▁ 1.2`, with the means of its first and its last stretch; "" without any."""
    bars = [point.value for point in thinned([Point(n, value) for n, value in enumerate(values)], width)]
    if not bars:
        return ""
    low, high = min(bars), max(bars)
    shown = "".join(LEVELS[round((value - low) / (high - low) * 7)] if high > low else LEVELS[0] for value in bars)
    return f"{bars[0]:.4g} {shown} {bars[-1]:.4g}"


def _rows(folder: RunFolder) -> list[dict[str, Any]]:
    if folder.stat(METRICS) is None:
        return []
    rows = []
    for number, line in enumerate(folder.read(METRICS).split(b"\n")[:-1], 1):  # a last line without its end was cut off
        try:
            row = orjson.loads(line)
            whole = isinstance(row["step"], int) and isinstance(row["loss"], float | int | None)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            whole = False
        if not whole:
            raise DataError(f"{folder.url}/{METRICS}:{number}: not an object with step and loss: {line[:80]!r}")
        rows.append(row)
    return rows


def _scores(folder: RunFolder) -> dict[int, dict[str, Any]]:
    found = {}
    for entry in folder.list("eval"):
        stem = entry.name.removeprefix("eval/step-").removesuffix(".json")
        if entry.name != f"eval/step-{stem}.json" or not stem.isdigit():
            continue
        try:
            found[int(stem)] = orjson.loads(folder.read(entry.name))
        except orjson.JSONDecodeError as error:
            raise DataError(f"{folder.url}/{entry.name}: not JSON: {error}") from None
    return found
