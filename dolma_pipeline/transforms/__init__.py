"""Beam transforms over batches, for those who compose by hand; a whole run goes through `engines`.

p | ReadDocuments("data/**/*.jsonl.gz", source="web") | Tag("gopher_v1") | Filter("gopher_v1.word_count > 50")
"""

from dolma_pipeline.transforms.batches import Filter, ReadDocuments, Tag, WriteDocuments

__all__ = ["Filter", "ReadDocuments", "Tag", "WriteDocuments"]
