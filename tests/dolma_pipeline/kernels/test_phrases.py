"""Places of phrases against `str.startswith` at every byte."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.phrases import find_phrases

TEXT = st.lists(
    st.sampled_from(["ab", "AB", "Abc", "a", "é", "[", "{", "\n", " "])
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=4),
    max_size=20,
).map("".join)
PHRASES = st.lists(st.text("abc[{ ", min_size=2, max_size=4).map(str.encode), min_size=1, max_size=4)


def check(batch: Batch, phrases: list[bytes]) -> None:
    expected = []
    for row, text in enumerate(batch.strings):
        data = text.encode()
        lower = bytes(b | 0x20 if 0x41 <= b <= 0x5A else b for b in data)
        offset = int(batch.text.offsets[row])
        expected += [
            (row, offset + i, k)
            for i in range(len(data))
            for k, phrase in enumerate(phrases)
            if lower.startswith(phrase, i)
        ]
    assert list(zip(*(column.tolist() for column in find_phrases(batch.text, phrases)), strict=True)) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=3), PHRASES)
def test_equal_to_plain_python_on_any_unicode(texts: list[str], phrases: list[bytes]) -> None:
    check(Batch.of(texts), phrases)
    check(Batch(Batch.of(texts).table.slice(1)), phrases)


def test_overlaps_ends_and_many_places() -> None:
    check(Batch.of(["aaa" * 50, "xab", "a", "", "b", "AB[ab{"]), [b"aa", b"aaa", b"ab", b"ab["])


def test_a_phrase_never_goes_on_in_the_next_document() -> None:
    assert len(find_phrases(Batch.of(["a", "b"]).text, [b"ab"]).rows) == 0
