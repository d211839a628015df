"""Exercises answered by a model, each answer run against the item's tests: pass@k."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dolma_pipeline.errors import UsageError
from dolma_pipeline.evals.complete import Complete, Prompt
from dolma_pipeline.evals.pass_at_k import pass_at_k
from dolma_pipeline.evals.programs import ProgramItem
from dolma_pipeline.evals.sandbox import DEFAULT_LIMITS, STATUSES, Limits, require_sandbox, run_code
from dolma_pipeline.evals.spread import mean
from dolma_pipeline.train.processes import num_cores


def run_programs(
    items: Sequence[ProgramItem],
    complete: Complete,
    *,
    samples: int,
    ks: Sequence[int],
    temperature: float,
    max_tokens: int,
    allow_code: bool,
    limits: Limits = DEFAULT_LIMITS,
) -> dict[str, Any]:
    """Have a model write `samples` programs for each item, run them all, and count.

    Args:
        items: at least one, all of one kind (`programs.read_programs`).
        ks: of pass@k, each from 1 to `samples`.
        temperature: 0 for the one likeliest program.
        max_tokens: of a program, at most.
        allow_code: the user's explicit permission to run code that a model wrote.

    Returns:
        num_items, samples, for each k `pass@k` and `pass@k_stderr` (over items; None for a single one), how many
        programs ended with each status (`sandbox.STATUSES`), and `items`: for each, in order, its `id`, these numbers
        of its own, and `passed_samples`, which of its samples passed (from 0): so two results can be compared by item.

    Raises:
        UsageError: no permission, no sandbox here (asked before the model writes anything), or samples and ks that do
            not fit.
    """
    _check_numbers(samples=samples, ks=ks, temperature=temperature)
    require_sandbox(allow_code=allow_code)
    prompts = [Prompt(item.key, item.prompt) for item in items]
    answers = complete(prompts, max_tokens=max_tokens, stop=items[0].stop, samples=samples, temperature=temperature)
    programs = [item.program(answer) for item, own in zip(items, answers, strict=True) for answer in own]

    def status_of(program: str) -> str:
        return run_code(program, allow_code=allow_code, limits=limits).status

    with ThreadPoolExecutor(num_cores()) as pool:
        statuses = list(pool.map(status_of, programs))
    rows = []
    passed_of: list[int] = []
    for number, item in enumerate(items):
        own = statuses[number * samples : (number + 1) * samples]
        passed = [at for at, status in enumerate(own) if status == "passed"]
        rows.append({"id": item.key, **_counts(own), "passed_samples": passed})
        passed_of.append(len(passed))
    return {
        "num_items": len(items),
        "samples": samples,
        **_passes(passed_of, samples=samples, ks=ks),
        **_counts(statuses),
        "items": rows,
    }


def _check_numbers(*, samples: int, ks: Sequence[int], temperature: float) -> None:
    if not ks or not all(1 <= k <= samples for k in ks):
        raise UsageError(
            f"pass@k needs every k from 1 to the number of samples: k is {list(ks)} and samples {samples}."
        )
    if samples > 1 and temperature == 0:
        raise UsageError(
            f"temperature is 0 and samples {samples}: they would all be the same; give 1, or a temperature."
        )


def _counts(statuses: Sequence[str]) -> dict[str, int]:
    counted = Counter(statuses)
    return {status: counted[status] for status in STATUSES}


def _passes(num_passed: Sequence[int], *, samples: int, ks: Sequence[int]) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {}
    for k in ks:
        rate = mean([pass_at_k(samples, passed, k) for passed in num_passed])
        numbers |= {f"pass@{k}": rate.value, f"pass@{k}_stderr": rate.error}
    return numbers
