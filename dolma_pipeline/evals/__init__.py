"""Scores of a saved model: bits per byte of each held-out source, and rank classification on task files.

Read in this order: trees (windows that begin alike), score (a model and nats), held_out (bits per byte), tasks (files
of items), choices (rank classification), run (all of it, for a saved step), start (in a process of its own).
Programs that a model writes: programs (items), sandbox and jail (running one), run_programs (pass@k).
Beside them sampling and generate (texts that a model writes), sharded (a model over several processes), lm_eval (a
saved step for lm-evaluation-harness), views (the texts of an item that may stand in a training document).
Importing this loads no torch.
"""

from dolma_pipeline.evals.run import evaluate
from dolma_pipeline.evals.start import launch

__all__ = ["evaluate", "launch"]
