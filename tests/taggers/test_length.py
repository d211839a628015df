"""`length_v1` counts what Python counts."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from taggers.length import Length
from tests.dolma_pipeline.kernels.test_sentences import plain_sentences

TEXT = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from(" \n\n.é😀"), max_size=60)


def plain_length(text: str) -> list[int]:
    paragraphs = [paragraph for paragraph in text.split("\n\n") if paragraph.strip()]
    counts = [len(text), len(text.encode()), len(text.split()), len(text.split("\n")), len(paragraphs)]
    return [*counts, len(plain_sentences(text))]


def check(batch: Batch, texts: list[str]) -> None:
    found = Length().tag(batch)
    assert list(found) == list(Length.fields)
    assert all(column.dtype == np.int64 for column in found.values())
    assert np.array(list(found.values())).T.tolist() == [plain_length(text) for text in texts]


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=5))
def test_equal_to_plain_python_on_any_unicode(texts: list[str]) -> None:
    check(Batch.of(texts), texts)
    check(Batch(Batch.of(texts).table.slice(1)), texts[1:])


def test_empty_texts_have_one_empty_line() -> None:
    check(Batch.of(["", "\n", "a b\n"]), ["", "\n", "a b\n"])
    assert Length().tag(Batch.of([""]))["lines"].tolist() == [1]
