"""The demo corpus: real text of several kinds from the Python installation that runs this.

    from dolma_pipeline.demo import collect
    counts = collect(Path("runs/quickstart-corpus"))

`environment` finds the files, `pages` makes pages of docstrings, `corpus` chooses and writes.
"""

from dolma_pipeline.demo.corpus import SOURCES, SourceCount, collect

__all__ = ["SOURCES", "SourceCount", "collect"]
