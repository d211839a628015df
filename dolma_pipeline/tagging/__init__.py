"""What a tagger is: how one is declared, and what runs one and holds it to its word.

A tagger makes attributes of documents: one struct column, a row a document, nothing dropped. It is written as
a function of one `Document` (short) or as a dataclass with `tag(batch)` (numpy, numba or Arrow over a `Batch`).
Names of taggers become objects in `dolma_pipeline.registry`; docs/taggers.md shows how to write one.
"""

from dolma_pipeline.tagging.columns import Columns
from dolma_pipeline.tagging.declare import DECLARED, Tagger, TaggerSpec, tagger
from dolma_pipeline.tagging.loaded import LoadedTagger, RowFailure

__all__ = ["DECLARED", "Columns", "LoadedTagger", "RowFailure", "Tagger", "TaggerSpec", "tagger"]
