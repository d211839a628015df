"""The tiny corpus."""

from tests.pipeline.tiny import corpus as corpus
