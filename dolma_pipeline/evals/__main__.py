"""`python -m dolma_pipeline.evals RUN_DIR STEP... [--task FILE]... [--no-held-out] …`: score saved steps.

Under torchrun the model is spread over its processes (`evals.sharded`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.errors import DolmaError
from dolma_pipeline.evals.run import Evaluation, Options
from dolma_pipeline.evals.sharded import followed
from dolma_pipeline.train.processes import end_with_launcher

if __name__ == "__main__":
    end_with_launcher()
    parser = argparse.ArgumentParser(prog="python -m dolma_pipeline.evals", description="Scores saved steps.")
    parser.add_argument("run_dir", type=Path, help="the run's folder")
    parser.add_argument("steps", type=int, nargs="+", metavar="STEP", help="has a checkpoint; 0 is before training")
    parser.add_argument("--task", action="append", default=[], metavar="FILE", help="a task file; may be repeated")
    parser.add_argument("--documents", action="append", default=[], metavar="DOMAIN=FILE", help="may be repeated")
    parser.add_argument("--no-held-out", action="store_true", help="leave out bits per byte of held-out documents")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the arithmetic")
    parser.add_argument("--limit", type=int, help="only so many items of each task, documents of each source")
    parser.add_argument("--weights", type=Path, metavar="RUN_DIR", help="the run whose checkpoints are scored")
    parser.add_argument("--held-out", type=Path, metavar="RUN_DIR", help="the run whose held-out documents are scored")
    parser.add_argument("--redo", action="store_true", help="score again what is there")
    parser.add_argument("--allow-code", action="store_true", help="run code that the model writes, locked in")
    given = parser.parse_args()
    domains: dict[str, tuple[str, ...]] = {}
    for domain, between, file in (one.partition("=") for one in given.documents):
        if not between:
            parser.error(f"--documents takes DOMAIN=FILE, found '{domain}'")
        domains[domain] = (*domains.get(domain, ()), file)
    config = EvalConfig(
        held_out=not given.no_held_out, tasks=tuple(given.task), documents=domains, precision=given.precision
    )
    try:
        options = Options(
            limit=given.limit,
            weights=given.weights,
            held_out=given.held_out,
            redo=given.redo,
            allow_code=given.allow_code,
        )
        with followed(given.weights or given.run_dir):
            evaluation = Evaluation(given.run_dir, config, options)
            for step in given.steps:
                evaluation.score(step)
    except DolmaError as error:
        print(f"eval: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
