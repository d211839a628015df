"""Running a recipe: check everything, decide what is left, do it, say what came out."""

from dolma_pipeline.runner.result import Result
from dolma_pipeline.runner.run import run

__all__ = ["Result", "run"]
