"""Keys of whole texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.dedup.exact import TextKeys, sorted_keys, text_keys, value_keys, word_keys
from dolma_pipeline.dedup.minhash import signed_texts
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


@settings(max_examples=100, deadline=None)
@given(st.lists(st.none() | st.text(), max_size=6))
def test_keys_of_values_are_those_of_texts(values: list[str | None]) -> None:
    found = value_keys(pa.array(values, pa.string()))
    whole = text_keys(Batch.of([value or "" for value in values]))
    assert found.signed.tolist() == [bool(value) for value in values] == whole.signed.tolist()
    np.testing.assert_array_equal(found.hi[found.signed], whole.hi[found.signed])
    np.testing.assert_array_equal(found.lo[found.signed], whole.lo[found.signed])


def test_keys_of_words_are_those_of_signatures_whatever_the_shingle() -> None:
    batch = Batch.of(["One two three", "one  TWO, three!", "one two", "two one", "", "?!", "漢字", "漢 字"])
    found = word_keys(batch)
    for shingle in (1, 5):
        signed = signed_texts(batch, shingle=shingle, num_perm=3)
        np.testing.assert_array_equal(np.stack([found.hi, found.lo], axis=1), signed.same)
        np.testing.assert_array_equal(found.signed, signed.signed)
    keys = list(zip(found.hi.tolist(), found.lo.tolist(), strict=True))
    assert keys[0] == keys[1]
    assert keys[6] == keys[7]
    assert len({*keys[:4]}) == 3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=12))
def test_kept_keys_are_sorted_and_those_without_are_left_out(rows: list[tuple[int, int, bool]]) -> None:
    hi, lo, signed = (np.array([row[i] for row in rows], t) for i, t in enumerate((np.uint64, np.uint64, np.bool_)))
    table = sorted_keys(TextKeys(hi, lo, signed))
    expected = sorted((h, low, i) for i, (h, low, has) in enumerate(rows) if has)
    assert [*zip(*(table.column(n).to_pylist() for n in ("key", "more", "row")), strict=True)] == expected


def test_one_byte_more_is_another_text() -> None:
    hi, _, _ = text_keys(Batch.of(["text", "text ", "Text", "text"]))
    assert len(set(hi.tolist())) == 3
    assert hi[0] == hi[3]
