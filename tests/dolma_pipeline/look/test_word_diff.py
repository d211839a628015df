"""Word diffs: nothing is lost, and only what differs is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.look.word_diff import coloured, plain, word_diff

TEXT = st.text(alphabet="ab \n\t水é", max_size=40)


@given(TEXT, TEXT)
def test_both_texts_are_in_it(before: str, after: str) -> None:
    pieces = word_diff(before, after, full=True)
    assert "".join(one.text for one in pieces if one.kind != "added") == before
    assert "".join(one.text for one in pieces if one.kind != "gone") == after


def test_only_what_differs_with_some_words_around() -> None:
    words = [f"w{i}" for i in range(100)]
    other = [*words[:50], "new", *words[51:]]
    said = plain(word_diff(" ".join(words), " ".join(other)))
    around = "w42 w43 w44 w45 w46 w47 w48 w49[- w50-]{+ new+} w51 w52 w53 w54 w55 w56 w57 w58"
    assert said == f" …(42 equal words)…  {around} …(41 equal words)… "
    assert [one.kind for one in word_diff("a b", "a b")] == ["left out"]
    assert "\x1b[" in coloured(word_diff("a b", "a c"))
