"""Scoring in a process of its own, so that the launcher never loads torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.evals.run import WROTE, Options, task_files
from dolma_pipeline.train.processes import num_cores, require_torch, supervise


def launch(
    run_dir: Path, *, steps: Sequence[int], config: EvalConfig, options: Options | None = None
) -> dict[int, dict[str, Any]]:
    """Like `evaluate` for each step, in another process; its progress goes to standard error, all to `log/eval.txt`.

    Returns:
        Step -> its results.

    Raises:
        UsageError: torch is missing.
        RunError: it failed; with the end of its worker log.
    """
    require_torch()
    options = options or Options()
    arguments = ["-m", "dolma_pipeline.evals", str(run_dir.resolve()), *map(str, steps)]
    arguments += ["--precision", config.precision, *([] if config.held_out else ["--no-held-out"])]
    arguments += [word for path in task_files(config).values() for word in ("--task", str(path.resolve()))]
    for domain, files in config.documents.items():
        arguments += [
            word for file in files for word in ("--documents", f"{domain}={Path(file).expanduser().resolve()}")
        ]
    arguments += ["--limit", str(options.limit)] if options.limit is not None else []
    arguments += ["--weights", str(options.weights.resolve())] if options.weights is not None else []
    arguments += ["--held-out", str(options.held_out.resolve())] if options.held_out is not None else []
    arguments += [*(["--redo"] if options.redo else []), *(["--allow-code"] if options.allow_code else [])]
    log = run_dir / "log" / "eval.txt"
    lines: list[str] = []  # of this process, whatever else is scored in the run and logged meanwhile
    supervise(arguments, name="eval", log=log, threads=num_cores(), told=lines.append)
    written = [Path(line.removeprefix(WROTE)) for line in lines if line.startswith(WROTE)]
    found = [orjson.loads(path.read_bytes()) for path in written]
    return {results["step"]: results for results in found}
