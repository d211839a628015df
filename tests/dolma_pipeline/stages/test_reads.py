"""What artifacts depend on, in the words of the recipe: edits with the scores between which they change spans."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from dolma_pipeline.config import recipe_from_text
from dolma_pipeline.stages.reads import edit_reads

RECIPE = """
output: run
sources: {web: {documents: x.jsonl}, books: {documents: y.jsonl}}
mix:
  replace: [{spans: a.b, with: x}, {spans: a.c, with: "", min_score: 0.5}]
  sources: {web: {replace: [{spans: a.c, with: y, max_score: 0.25}], remove: [a.d]}, books: {weight: 1}}
  target_documents: 10
"""


def test_edits_are_read_with_their_scores() -> None:
    process: Any = SimpleNamespace(run=SimpleNamespace(recipe=recipe_from_text(RECIPE)))
    reads, own = edit_reads(process)
    assert reads == {
        "mix.replace": [{"spans": "a.b", "with": "x"}, {"spans": "a.c", "with": "", "min_score": 0.5}],
    }
    assert own == {
        "web": {
            "mix.sources.web.remove": ["a.d"],
            "mix.sources.web.replace": [{"spans": "a.c", "with": "y", "max_score": 0.25}],
        }
    }
