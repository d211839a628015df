"""Dolma-style data curation on Apache Beam: from raw documents to a scored model."""

from dolma_pipeline.documents import Attributes, Batch, Document, Fields, Span, Value

__version__ = "0.1.0"

__all__ = ["Attributes", "Batch", "Document", "Fields", "Span", "Value", "__version__"]
