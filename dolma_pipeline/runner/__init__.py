"""From a recipe to a finished folder: the launcher, which reads names, counts and totals, never rows.

launcher  `run`                                 inputs    the list of shards; files that have changed
decide    what is done, left, or made otherwise ready     what is cleared and opened before a run, removed after it
changes   what differs, in the recipe's words   check     what can be known to be wrong before work starts
lock      one run a folder                      result    what a run leaves, for people and programs
table     its tables                            model     train and eval
"""

from dolma_pipeline.runner.launcher import run
from dolma_pipeline.runner.result import Manifest, Result

__all__ = ["Manifest", "Result", "run"]
