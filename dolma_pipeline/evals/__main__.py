"""`python -m dolma_pipeline.evals RUN_DIR STEP [--task FILE]... [--no-held-out]`: score a saved step.

Under torchrun the model is spread over its processes (`evals.sharded`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.errors import DolmaError
from dolma_pipeline.evals.run import evaluate
from dolma_pipeline.evals.sharded import followed
from dolma_pipeline.train.processes import end_with_launcher

if __name__ == "__main__":
    end_with_launcher()
    parser = argparse.ArgumentParser(prog="python -m dolma_pipeline.evals", description="Scores a saved step.")
    parser.add_argument("run_dir", type=Path, help="the run's folder")
    parser.add_argument("step", type=int, help="a step that has a checkpoint; 0 is before training")
    parser.add_argument("--task", action="append", default=[], metavar="FILE", help="a task file; may be repeated")
    parser.add_argument("--no-held-out", action="store_true", help="leave out bits per byte of held-out documents")
    given = parser.parse_args()
    try:
        with followed(given.run_dir):
            evaluate(given.run_dir, given.step, EvalConfig(held_out=not given.no_held_out, tasks=tuple(given.task)))
    except DolmaError as error:
        print(f"eval: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
