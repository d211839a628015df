"""Running a recipe: check everything, decide what is left, do it, say what came out."""

from dolma_pipeline.runner.launcher import run
from dolma_pipeline.runner.result import Result

__all__ = ["Result", "run"]
