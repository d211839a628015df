"""Tasks whose answers are programs that are run: HumanEval and MBPP, by pass@k (`evals.run_programs`)."""

from __future__ import annotations

from collections.abc import Sequence

from dolma_pipeline.evals.complete import Complete
from dolma_pipeline.evals.pass_at_k import pass_at_k
from dolma_pipeline.evals.programs import ProgramItem, read_programs
from dolma_pipeline.evals.run_programs import run_programs
from dolma_pipeline.evals.scored import Scored, ScoredItem
from dolma_pipeline.evals.tasks import Task


def program_items(task: Task) -> list[ProgramItem]:
    """The exercises of a task; `shots` are MBPP's own examples.

    Raises:
        As `read_programs`.
    """
    return read_programs(task.items_path, num_examples=task.config.shots)


def pass_rate(complete: Complete, task: Task, items: Sequence[ProgramItem], *, allow_code: bool) -> Scored:
    """The numbers of one task: those of `run_programs`, and by item pass@k and which samples passed.

    Raises:
        UsageError: as `run_programs`.
    """
    config = task.config
    found = run_programs(
        items,
        complete,
        samples=config.samples,
        ks=config.ks,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        allow_code=allow_code,
    )
    rows = [
        ScoredItem(
            row["id"],
            {f"pass@{k}": pass_at_k(config.samples, len(row["passed_samples"]), k) for k in config.ks},
            {key: value for key, value in row.items() if key != "id"},
        )
        for row in found.pop("items")
    ]
    return Scored(found, rows)
