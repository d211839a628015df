"""`dolma_c4_v2`: the numbers of Dolma's tagger `c4_v2`, under its names, for rules that were set on them.

C4's own rules are `c4_v1`. What differs from Dolma, and why: docs/dolma.md.
Cost: ~100 MB of text per CPU-second with the word and line tables (one core, Xeon 2.6 GHz).
Source: Soldaini et al. 2024, "Dolma: an Open Corpus of Three Trillion Tokens"; allenai/dolma 1.2.1 (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch, Fields, Span
from dolma_pipeline.tagging import tagger

if TYPE_CHECKING:
    import pyarrow as pa

    from dolma_pipeline.kernels.tables import TextBuffers

NAUGHTY_WORDS = "dolma_naughty_words_en.txt"
MIN_WORDS_PER_LINE = 3
"""Dolma's: that of C4's first version."""

_END_MARKS = np.frombuffer(b'.?!"', np.uint8)
_KELVIN = "\u212a"
"""The only character that is not ASCII and whose small form is."""


@tagger("dolma_c4_v2", paper="Soldaini et al. 2024, Dolma (its toolkit 1.2.1, tagger c4_v2)")
@dataclass
class DolmaC4:
    """Dolma's c4_v2: lines without an end mark or with fewer than 3 words, and flags of the page.

    Every line is judged, blank ones and the empty one after a last newline too, whose span is empty.

    Args:
        naughty_words: whether there is `has_naughty_word`, for which a word list is needed (an asset).
    """

    naughty_words: bool = True

    kernels: ClassVar[tuple[str, ...]] = ("bitmaps", "words", "lines", "spans")

    @property
    def fields(self) -> Fields:
        """Dolma's types of spans; its flags are bool here."""
        flags = ("has_curly_brace", "has_lorem_ipsum", "has_javascript")
        return {
            **dict.fromkeys((*flags, *(("has_naughty_word",) if self.naughty_words else ())), bool),
            "lines_with_no_ending_punctuation": list[Span],
            "lines_with_too_few_words": list[Span],
            "line_count": int,
        }

    @property
    def assets(self) -> tuple[str, ...]:
        """The word list, where it is asked for."""
        return (NAUGHTY_WORDS,) if self.naughty_words else ()

    def setup(self) -> None:
        """Loads the kernels and the word list.

        Raises:
            AssetError: the list is not here.
        """
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)
        if self.naughty_words:
            self._naughty = NaughtyWords(assets.asset_lines(NAUGHTY_WORDS))

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`: bool[n], span lists and int64[n]."""
        lowered = [text.lower() for text in batch.strings]
        columns: dict[str, Any] = {
            "has_curly_brace": ["{" in text for text in lowered],
            "has_lorem_ipsum": ["lorem ipsum" in text for text in lowered],
            "has_javascript": ["javascript" in text for text in lowered],
            **_lines(batch),
        }
        if self.naughty_words:
            columns["has_naughty_word"] = self._naughty.found(batch.text, lowered)
        return columns


def _lines(batch: Batch) -> dict[str, Any]:
    """What is said of lines: their spans with their newlines, and their number."""
    words, lines = batch.words, batch.lines
    per_line = np.diff(
        np.searchsorted(words.starts, lines.ends), prepend=np.searchsorted(words.starts, lines.starts[:1])
    )
    last = np.cumsum(per_line) - 1
    marks = np.zeros(len(per_line), bool)
    some = per_line > 0
    marks[some] = np.isin(batch.text.data[words.ends[last[some]] - 1], _END_MARKS)
    return {
        "lines_with_no_ending_punctuation": _line_spans(batch, ~marks),
        "lines_with_too_few_words": _line_spans(batch, per_line < MIN_WORDS_PER_LINE),
        "line_count": np.diff(lines.rows),
    }


def _line_spans(batch: Batch, chosen: NDArray[np.bool_]) -> pa.ListArray:
    """Spans of lines, each with its newline, where there is one."""
    lines = batch.lines
    at = np.flatnonzero(chosen)
    rows = np.searchsorted(lines.rows, at, side="right") - 1
    ends = np.minimum(lines.ends[at] + 1, batch.text.offsets[rows + 1])
    return batch.spans(rows, lines.starts[at], ends, np.ones(len(at)))


class NaughtyWords:
    """A list of words and phrases in small letters: whether a text holds one.

    A word is found among `text.lower().split()`, a phrase (it has a blank) anywhere in `text.lower()`. Places where a
    phrase may stand are told by the two bytes before and the two behind one of its blanks.

    Args:
        listed: words and phrases; of a phrase some blank has two bytes on either side.
    """

    def __init__(self, listed: list[str]) -> None:
        from dolma_pipeline.kernels.words import split_words

        self.words = frozenset(one for one in listed if " " not in one)
        self.phrases = [one for one in listed if " " in one]
        hashes = split_words(_buffers([*self.words])).hashes
        self._hashes = _Sieve(hashes)
        self._by_key: dict[int, list[tuple[int, bytes]]] = {}
        for phrase in self.phrases:
            data = phrase.encode()
            blank = next(at for at in range(2, len(data) - 2) if data[at] == 0x20)
            key = sum(data[blank + step] << int(shift) for step, shift in _STEPS)
            self._by_key.setdefault(key, []).append((blank, data))
        self._keys = _Sieve(np.array([*self._by_key], np.uint64))

    def found(self, text: TextBuffers, lowered: list[str]) -> NDArray[np.bool_]:
        """For each of n texts whether it holds one, bool[n].

        Args:
            text: n texts. lowered: the same, each `lower()`.
        """
        from dolma_pipeline.kernels.tables import TextBuffers
        from dolma_pipeline.kernels.words import split_words

        capitals = (text.data >= 0x41) & (text.data <= 0x5A)
        small = TextBuffers(text.offsets, text.data | (capitals.view(np.uint8) << np.uint8(5)))
        words = split_words(small)
        held = np.zeros(len(lowered), bool)
        held[np.searchsorted(words.rows, self._hashes.places(words.hashes), side="right") - 1] = True
        held[self._rows_with_phrases(small)] = True
        if _KELVIN.encode() in text.data[text.offsets[0] : text.offsets[-1]].tobytes():  # bytes are not `lower()` there
            for row in np.flatnonzero(~held).tolist():
                one = lowered[row]
                held[row] = not self.words.isdisjoint(one.split()) or any(phrase in one for phrase in self.phrases)
        return held

    def _rows_with_phrases(self, small: TextBuffers) -> list[int]:
        first, last = int(small.offsets[0]), int(small.offsets[-1])
        blanks = np.flatnonzero(small.data[first:last] == 0x20) + first
        blanks = blanks[(blanks >= first + 2) & (blanks + 2 < last)]
        before, close, behind, after = (small.data[blanks + step].astype(np.uint64) << shift for step, shift in _STEPS)
        keys = before | close | behind | after
        at = self._keys.places(keys)
        rows = np.searchsorted(small.offsets, blanks[at], side="right") - 1
        held = []
        for row, place, key in zip(rows.tolist(), blanks[at].tolist(), keys[at].tolist(), strict=True):
            for blank, phrase in self._by_key[key]:
                start = place - blank
                if start < small.offsets[row] or start + len(phrase) > small.offsets[row + 1]:
                    continue
                if small.data[start : start + len(phrase)].tobytes() == phrase:
                    held.append(row)
        return held


_STEPS = ((-2, np.uint64(24)), (-1, np.uint64(16)), (1, np.uint64(8)), (2, np.uint64(0)))
"""The bytes around a blank, and where they stand in a key."""


class _Sieve:
    """A small set of numbers, uint64[m], and where a large array holds one of them: most are let go by 16 bits."""

    def __init__(self, numbers: NDArray[np.uint64]) -> None:
        self._numbers = np.unique(numbers)
        self._low = np.zeros(1 << 16, bool)
        self._low[self._sixteen(self._numbers)] = True

    def places(self, array: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Ascending indices into a uint64 array."""
        may = np.flatnonzero(self._low[self._sixteen(array)])
        return may[np.isin(array[may], self._numbers)]

    @staticmethod
    def _sixteen(array: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return array * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(48)


def _buffers(texts: list[str]) -> TextBuffers:
    return Batch.of([*texts]).text
