"""`compare RUN_A[@STEP] RUN_B[@STEP]`: whether one of two models is better, item by item."""

from __future__ import annotations

import json
from pathlib import Path

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import UsageError


def main(arguments: Arguments) -> Reply:
    """Compare.

    Raises:
        UsageError: not two runs, no results, or results of other items.
        DataError: rows that are missing or damaged.
    """
    from dolma_pipeline.evals.compare import Side, compare, newest_step, only_in_one
    from dolma_pipeline.evals.results import variant

    if len(arguments.words) != 2:
        raise UsageError(
            f"'compare' takes two runs, such as runs/a@200 runs/b; found {len(arguments.words)}: "
            f"{' '.join(arguments.words) or 'none'}"
        )
    values = arguments.values
    kind = variant(
        limit=_number("--limit", values["--limit"][-1], 1) if "--limit" in values else None,
        precision=values.get("--precision", ("fp32",))[-1],
    )

    def side(word: str) -> Side:
        run, at, step = word.rpartition("@")
        folder = Path(run if at else word).expanduser()
        return Side(folder, _number("@STEP", step, 0) if at else newest_step(folder, kind), kind)

    a, b = map(side, arguments.words)
    seed = _number("--seed", values.get("--seed", ("0",))[-1], 0)
    found = compare(a, b, names=values.get("--name", ()), seed=seed)
    alone = only_in_one(a, b) if "--name" not in values else []
    if arguments.format == "json":
        record = {
            "a": {"run": str(a.run_dir), "step": a.step},
            "b": {"run": str(b.run_dir), "step": b.step},
            "seed": seed,
            "comparisons": [one._asdict() for one in found],
            "only_in_one": [{"name": name, "path": str(one.path)} for name, one in alone],
        }
        return Reply(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    from dolma_pipeline.runner.score_table import comparison_rows
    from dolma_pipeline.runner.table import table

    text = f"a: {a.path}\nb: {b.path}\n\n{table(comparison_rows(found))}\n"
    text += "b - a with the middle 95 % of 10,000 draws of items; better: the share of draws in which b is\n"
    return Reply(text + "".join(f"{name}: only in {one.path}\n" for name, one in alone))


def _number(name: str, given: str, least: int) -> int:
    if not (given.isascii() and given.isdigit()) or int(given) < least:
        raise UsageError(f"{name} takes a whole number from {least} on, found '{given}'")
    return int(given)
