"""Keys of whole texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.dedup.exact import text_keys
from dolma_pipeline.documents import SCHEMA, Batch


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(), max_size=6))
def test_keys_are_xxh3_128_of_the_bytes(texts: list[str]) -> None:
    hi, lo, signed = text_keys(Batch.of(texts))
    assert hi.dtype == lo.dtype == np.uint64
    keys = [(int(h) << 64) | int(x) for h, x in zip(hi, lo, strict=True)]
    assert keys == [xxhash.xxh3_128_intdigest(text.encode()) for text in texts]
    assert signed.tolist() == [text != "" for text in texts]


def test_a_slice_has_the_keys_of_its_texts() -> None:
    whole = Batch.of(["a", "b", "é", "d"])
    part = text_keys(Batch(whole.table.slice(1, 2)))
    for column, of_whole in zip(part, text_keys(whole), strict=True):
        np.testing.assert_array_equal(column, of_whole[1:3])


def test_an_empty_or_null_text_has_no_key() -> None:
    table = Batch.of(["", "x"]).table
    nulls = table.set_column(SCHEMA.get_field_index("text"), "text", pa.array([None, "x"], pa.string()))
    assert text_keys(Batch(table)).signed.tolist() == [False, True]
    assert text_keys(Batch(nulls)).signed.tolist() == [False, True]


def test_one_byte_more_is_another_text() -> None:
    hi, _, _ = text_keys(Batch.of(["text", "text ", "Text", "text"]))
    assert len(set(hi.tolist())) == 3
    assert hi[0] == hi[3]
