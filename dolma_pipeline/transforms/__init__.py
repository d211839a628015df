"""Beam: a few labelled lines over the plain functions of `stages`, and batches for those who compose by hand.

    p | ReadDocuments("data/**/*.jsonl.gz", source="web") | Tag("gopher_v1") | Filter("gopher_v1.word_count > 50")

`run` composes the shard level: `TagShards | DedupeShards | MixShards | TokenizeShards`.
"""

from dolma_pipeline.transforms.batches import Filter, ReadDocuments, Tag, WriteDocuments
from dolma_pipeline.transforms.stages import DedupeShards, Done, MixShards, RunSteps, TagShards, TokenizeShards

__all__ = [
    "DedupeShards",
    "Done",
    "Filter",
    "MixShards",
    "ReadDocuments",
    "RunSteps",
    "Tag",
    "TagShards",
    "TokenizeShards",
    "WriteDocuments",
]
