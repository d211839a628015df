"""`eval`: the stage; with a step, checkpoint, limit or tasks, or a run's folder, what is asked is scored at once."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dolma_pipeline.cli import run
from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import UsageError

DIRECT = (
    "--stage", "--step", "--all", "--checkpoint", "--limit", "--task", "--documents", "--precision", "--allow-code",
)  # fmt: skip
"""Options that the stage has not."""


def main(arguments: Arguments) -> Reply:
    """Run the stage, or score.

    Raises:
        UsageError: options that do not go together, no such checkpoint, or nothing to score.
        DolmaError: whatever scoring raises.
    """
    given = [name for name in DIRECT if name in arguments.values or name in arguments.flags]
    (place,) = arguments.words
    is_recipe = place.endswith((".yaml", ".yml"))
    if is_recipe and not given:
        if {"--dry-run", "--attach", "--cancel"} & arguments.flags:
            return run.main(arguments)
        from dolma_pipeline.runner.score import trained_elsewhere

        if not trained_elsewhere(run.open_for(arguments)):
            return run.main(arguments)
    others = [name for name in ("--dry-run", "--attach", "--cancel") if name in arguments.flags]
    if others or arguments.beam_options:
        raise UsageError(f"found {', '.join(others) or 'Beam options'}, which are for the stage: give a recipe alone")
    return _score(arguments, place)


def _score(arguments: Arguments, place: str) -> Reply:
    from dolma_pipeline.runner.score import Wanted, score_run
    from dolma_pipeline.runner.score_table import titled_rows
    from dolma_pipeline.runner.table import table

    values = arguments.values
    steps = tuple(_number("--step", value, 0) for value in values.get("--step", ()))
    ways = [name for name in ("--step", "--all", "--checkpoint") if name in values or name in arguments.flags]
    if len(ways) > 1:
        raise UsageError(f"found {' and '.join(ways)}; give one of them")
    scores = score_run(
        place,
        arguments.overrides,
        Wanted(
            stage=(stage := values.get("--stage", (None,))[-1]),
            steps=steps,
            every="--all" in arguments.flags,
            checkpoint=values.get("--checkpoint", (None,))[-1],
            tasks=values.get("--task", ()),
            documents=_domains(values.get("--documents", ())),
            limit=_number("--limit", values["--limit"][-1], 1) if "--limit" in values else None,
            precision=values.get("--precision", (None,))[-1],
            redo="--redo" in arguments.flags,
            allow_code="--allow-code" in arguments.flags,
        ),
    )
    if arguments.format == "json":
        shown = {str(step): results for step, results in scores.items()}
        return Reply(json.dumps({"scores": shown}, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    titled = titled_rows(scores, of=stage or "train")
    parts = [f"{title}\n{table(rows)}" for title, rows in titled if len(rows) > 1]
    return Reply("\n\n".join(parts) + "\n")


def _domains(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Files by domain, in the order given."""
    found: dict[str, tuple[str, ...]] = {}
    for domain, between, file in (one.partition("=") for one in given):
        if not (domain and between and file):
            raise UsageError(f"--documents takes DOMAIN=FILE, such as books=books.jsonl.gz; found '{domain}{between}'")
        found[domain] = (*found.get(domain, ()), file)
    return found


def _number(name: str, given: str, least: int) -> int:
    if not (given.isascii() and given.isdigit()) or int(given) < least:
        raise UsageError(f"{name} takes a whole number from {least} on, found '{given}'")
    return int(given)
