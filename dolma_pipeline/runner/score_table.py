"""Tables of scores: bits per byte of sources and domains, and tasks, with a column for each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dolma_pipeline.evals.compare import Comparison

Scores = Mapping[int, Mapping[str, Any]]
"""Step -> its results (`evals.results`)."""


def score_rows(scores: Scores, section: str) -> list[list[str]]:
    """Bits per byte of each source (`held_out`) or domain (`documents`)."""
    found_of = _alike(scores, section)
    if not found_of:
        return []
    steps = sorted(scores)
    rows = [
        ["source" if section == "held_out" else "domain", *(f"step {step}" for step in steps), "documents", "bytes"]
    ]
    for name, found in found_of:
        last = next(one for one in reversed(found) if one)
        values = [f"{one['bits_per_byte']:.4f}" if one else "-" for one in found]
        rows.append([name, *values, f"{last['num_documents']:,}", f"{last['num_bytes']:,}"])
    return rows


def task_rows(scores: Scores) -> list[list[str]]:
    """The primary metric of each task, its standard error, and what blind guessing would reach."""
    found_of = _alike(scores, "tasks")
    if not found_of:
        return []
    steps = sorted(scores)
    rows = [["task", "metric", *(f"step {step}" for step in steps), "chance", "items", "bits per byte of the answer"]]
    for name, found in found_of:
        last = next(one for one in reversed(found) if one)
        chance = f"{last['chance']:.3f}" if "chance" in last else ""
        bits = f"{last['gold_bits_per_byte']:.4f}" if "gold_bits_per_byte" in last else ""
        values = [_with_error(one) if one else "-" for one in found]
        rows.append([name, last["metric"], *values, chance, f"{last['num_items']:,}", bits])
    return rows


def titled_rows(scores: Scores, *, of: str = "train") -> Sequence[tuple[str, list[list[str]]]]:
    """All of them, each with its title; those of nothing are empty. of: the stage whose model they are of."""
    before = "" if of == "train" else f"{of}: "
    return (
        (f"{before}bits per byte, held out", score_rows(scores, "held_out")),
        (f"{before}bits per byte by domain", score_rows(scores, "documents")),
        (f"{before}tasks", task_rows(scores)),
    )


def _alike(scores: Scores, section: str) -> list[tuple[str, list[Mapping[str, Any] | None]]]:
    """Name, and the entries of the steps in a row: those of other items, settings or metrics have a row of their own.

    A task file that changed between two calls would else look like progress.
    """
    rows: dict[tuple[str, ...], list[Mapping[str, Any] | None]] = {}
    for column, step in enumerate(sorted(scores)):
        for name, entry in scores[step].get(section, {}).items():
            key = (name, *(str(entry.get(one, "")) for one in ("data", "settings", "metric")))
            rows.setdefault(key, [None] * len(scores))[column] = entry
    return sorted(((key[0], found) for key, found in rows.items()), key=lambda row: row[0])


def _with_error(entry: Mapping[str, Any]) -> str:
    metric = entry["metric"]
    error = entry.get(f"{metric}_stderr")
    return f"{entry[metric]:.3f}" + (f" ± {error:.3f}" if error is not None else "")


def comparison_rows(comparisons: Sequence[Comparison]) -> list[list[str]]:
    """Two models on each metric of each task (`evals.compare`)."""
    rows = [["task", "metric", "a", "b", "b - a", "from", "to", "b better", "items"]]
    for one in comparisons:
        numbers = [f"{value:.4f}" for value in (one.a, one.b)]
        numbers += [f"{value:+.4f}" for value in (one.difference, one.low, one.high)]
        rows.append([one.name, one.metric, *numbers, f"{one.share:.1%}", f"{one.num_items:,}"])
    return rows
