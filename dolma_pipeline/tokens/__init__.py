"""Token ids: encoding text, training a tokenizer, shards, and the arithmetic from a training step back to documents.

Pure functions of Arrow columns, numpy arrays and plain local files. What a trainer needs stands here; the
writing side is in `tokenizer`, `encode`, `train_bpe`, `cuts` and `shards`.
"""

from dolma_pipeline.tokens.dataset import DocumentSpan, TokenDataset
from dolma_pipeline.tokens.order import Order, batch_instances, step_of
from dolma_pipeline.tokens.provenance import InstanceDocuments, where_is

__all__ = ["DocumentSpan", "InstanceDocuments", "Order", "TokenDataset", "batch_instances", "step_of", "where_is"]
