"""`word_list_v1`: words and phrases of a list, as spans; such as C4's list of obscene words.

A word is found where no letter, digit or underscore stands on either side of it, in any case of its letters; in scripts
that set no blanks it is found wherever it stands, as C4 does for Chinese, Japanese and Thai. The list is an asset: a
text file, one word or phrase a line. Which pages go for it is a rule of the recipe; the preset `c4_words` drops those
with any.
Cost: ~300 MB of text per CPU-second for a list in ASCII; other words are found by a regular expression, far slower.
Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2.2
(pages with a word of the List of Dirty, Naughty, Obscene or Otherwise Bad Words are removed).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch, Fields, Span
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.tagging import tagger


@tagger("word_list_v1", paper="Raffel et al. 2020, Exploring the Limits of Transfer Learning (T5, C4), 2.2")
@dataclass
class WordList:
    """Spans of the words and phrases of a list.

    Args:
        words: an asset with the list, UTF-8, one word or phrase a line.
    """

    words: str = "dolma_naughty_words_en.txt"

    fields: ClassVar[Fields] = {"words": list[Span]}
    kernels: ClassVar[tuple[str, ...]] = ("phrases", "spans")

    @property
    def assets(self) -> tuple[str, ...]:
        """The list."""
        return (self.words,)

    def setup(self) -> None:
        """Loads the kernels and reads the list.

        Raises:
            AssetError: it is not here. TaggerError: it is empty, or not UTF-8.
        """
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)
        try:
            lines = assets.asset_lines(self.words)
        except UnicodeDecodeError as error:
            raise TaggerError(f"word_list_v1: {self.words} is not UTF-8: {error}") from error
        listed = dict.fromkeys(" ".join(line.lower().split()) for line in lines if line.strip())
        if not listed:
            raise TaggerError(f"word_list_v1: {self.words} has no words; it is a text file, one word or phrase a line")
        self._phrases = [one.encode() for one in listed if one.isascii() and len(one) > 1]
        others = [one for one in listed if not one.isascii() or len(one) == 1]
        self._others = re.compile("|".join(map(_bounded, others)), re.IGNORECASE) if others else None

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The column of `fields`: spans in order of their start."""
        from dolma_pipeline.kernels.phrases import find_phrases

        found = find_phrases(batch.text, self._phrases)
        ends = found.starts + np.array([len(phrase) for phrase in self._phrases], np.int64)[found.phrases]
        data, offsets = batch.text.data, batch.text.offsets
        spans = [
            (row, start, end)
            for row, start, end in zip(found.rows.tolist(), found.starts.tolist(), ends.tolist(), strict=True)
            if not _goes_on(data[offsets[row] : start][-4:].tobytes(), -1)
            and not _goes_on(data[end : offsets[row + 1]][:4].tobytes(), 0)
        ]
        if self._others is not None:
            for row, text in enumerate(batch.strings):
                for match in self._others.finditer(text):
                    start = int(offsets[row]) + len(text[: match.start()].encode())
                    spans.append((row, start, start + len(match[0].encode())))
        spans.sort()
        columns = np.array(spans, np.int64).reshape(-1, 3).T
        return {"words": batch.spans(columns[0], columns[1], columns[2], np.ones(len(spans), np.float32))}


def _goes_on(beside: bytes, at: int) -> bool:
    """Whether the character beside a word, the last (-1) or first (0) of these bytes, is one of words."""
    text = beside.decode("utf-8", "ignore")  # a character that is cut lies farther away
    return bool(text) and (text[at].isalnum() or text[at] == "_")


def _bounded(one: str) -> str:
    """A pattern for a word that stands alone; on a side where it has a letter of a script without blanks, anywhere."""
    from dolma_pipeline.kernels.unicode import unspaced_table

    before, after = (not unspaced_table()[ord(char)] for char in (one[0], one[-1]))
    return r"(?<!\w)" * before + re.escape(one) + r"(?!\w)" * after
