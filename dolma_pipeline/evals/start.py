"""Scoring in a process of its own, so that the launcher never loads torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.evals.run import results_path, task_files
from dolma_pipeline.train.processes import num_cores, require_torch, supervise


def launch(run_dir: Path, *, step: int, config: EvalConfig) -> dict[str, Any]:
    """Like `evaluate`, in another process; what that says goes to `log/eval.txt`, its progress to standard error.

    Raises:
        UsageError: torch is missing.
        RunError: it failed; with the end of its worker log.
    """
    require_torch()
    arguments = ["-m", "dolma_pipeline.evals", str(run_dir.resolve()), str(step)]
    arguments += [] if config.held_out else ["--no-held-out"]
    arguments += [word for path in task_files(config).values() for word in ("--task", str(path.resolve()))]
    supervise(arguments, name="eval", log=run_dir / "log" / "eval.txt", threads=num_cores())
    results: dict[str, Any] = orjson.loads(results_path(run_dir, step).read_bytes())
    return results
