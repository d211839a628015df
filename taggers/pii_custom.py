"""Recognizers of one's own for `pii_v1`: a regular expression, words that are near, a checksum.

A pattern is one of RE2 (https://github.com/google/re2/wiki/Syntax), which pyarrow brings: one search takes time in
proportion to what is searched, whatever the pattern, and so it knows no look-around and no back-references. Texts are
searched line by line, long lines in pieces of `PIECE_BYTES`, so that all searches together take no more than the text
times a piece, either. A value that goes over the end of a line or piece is not found. A pattern that is wrong, or that
may match nothing, is an error before a run starts.

Cost: 1 to 3 ms a MB of text and pattern where little matches, and 3 ms a MB for the lines, once.
Source: the scores are presidio's (`LemmaContextAwareEnhancer`): a word near by adds 0.35, and at least 0.4 is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import TaggerError, unknown_name
from dolma_pipeline.tagging.columns import NAME
from taggers.pii_checksums import CHECKSUMS

CONTEXT_BONUS, CONTEXT_LEAST = 0.35, 0.4
PIECE_BYTES = 4_096
KEYS = ("pattern", "score", "context", "context_chars", "checksum")

_BEGIN, _END = "\x02", "\x03"
"""Put around matches, to see where they are; a piece that holds one of them gets others."""
_PRIVATE_USE = 0xE000
_NEIGHBOURS = ("", "\n", "a", "-")
"""On what an empty match may depend: the edge of a text, of a line, of a word."""
_OF_DIGITS = ("luhn", "verhoeff")
_NO_DIGITS, _SEPARATORS = re.compile("[^0-9]+"), re.compile(r"[\s./-]+")


@dataclass(frozen=True)
class Custom:
    """One recognizer.

    Attributes:
        name: its field.
        pattern: RE2; `(?i)` at its start takes both cases; `^` and `$` are the edges of a line.
        score: of a match without a word of `context` near.
        context: words that make a match surer, in any case.
        context_chars: how far before and after a match they are looked for.
        checksum: name of the one that must hold: `luhn` and `verhoeff` of the digits of a match, others of all of it
            without blanks, hyphens, dots and slashes; empty: none.
    """

    name: str
    pattern: str
    score: float = 0.5
    context: tuple[str, ...] = ()
    context_chars: int = 60
    checksum: str = ""

    def hits(self, batch: Batch, pieces: pa.StringArray) -> list[tuple[int, int, int, float]]:
        """(Document, first byte in `batch.text`, the one after the last, score) of each match, in order.

        Args:
            pieces: what `pieces_of` gives of the batch.
        """
        matched = pc.match_substring_regex(pieces, f"(?m:{self.pattern})")
        at = np.flatnonzero(matched.to_numpy(zero_copy_only=False))
        if not len(at):
            return []
        starts = np.frombuffer(pieces.buffers()[1], np.int32)[at]
        rows = np.searchsorted(batch.text.offsets, starts, side="right") - 1
        some = pieces.take(pa.array(at))
        marked = pc.replace_substring_regex(some, f"(?m:({self.pattern}))", f"{_BEGIN}\\1{_END}").to_pylist()
        found = []
        for row, start, piece, marks in zip(rows.tolist(), starts.tolist(), some.to_pylist(), marked, strict=True):
            for first, last in self._places(piece, marks):
                value = piece[first:last]
                if self._holds(value):
                    begin = start + len(piece[:first].encode())
                    end = begin + len(value.encode())
                    found.append((row, begin, end, self._score(batch, row, begin, end)))
        return found

    def _places(self, piece: str, marked: str) -> Iterator[tuple[int, int]]:
        """Where the matches of a piece are, in characters."""
        begin, end = _BEGIN, _END
        if begin in piece or end in piece:
            free = (chr(point) for point in range(_PRIVATE_USE, _PRIVATE_USE + PIECE_BYTES) if chr(point) not in piece)
            begin, end = next(free), next(free)
            pattern, with_marks = f"(?m:({self.pattern}))", f"{begin}\\1{end}"
            marked = pc.replace_substring_regex(pa.array([piece]), pattern, with_marks)[0].as_py()
        at = 0
        for before, part in enumerate(marked.split(begin)[1:]):
            first = marked.index(begin, at)
            at = first + 1 + part.index(end)
            yield first - 2 * before, at - 2 * before - 1

    def _holds(self, value: str) -> bool:
        """Whether the checksum holds, if there is one."""
        if not self.checksum:
            return True
        return CHECKSUMS[self.checksum]((_NO_DIGITS if self.checksum in _OF_DIGITS else _SEPARATORS).sub("", value))

    def _score(self, batch: Batch, row: int, start: int, end: int) -> float:
        if not self.context:
            return self.score
        data: Any = batch.text.data.data
        first, stop = int(batch.text.offsets[row]), int(batch.text.offsets[row + 1])
        before = bytes(data[max(first, start - 4 * self.context_chars) : start]).decode(errors="ignore")
        after = bytes(data[end : min(stop, end + 4 * self.context_chars)]).decode(errors="ignore")
        near = f"{before[max(0, len(before) - self.context_chars) :]}\n{after[: self.context_chars]}".casefold()
        if not any(word.casefold() in near for word in self.context):
            return self.score
        return min(1.0, max(self.score + CONTEXT_BONUS, CONTEXT_LEAST))


def pieces_of(batch: Batch) -> pa.StringArray:
    """The lines of all texts in order, with their newlines; long ones in pieces, cut after a blank if there is one."""
    text = batch.text
    starts: NDArray[np.int32] = batch.lines.starts
    ends = np.append(starts[1:], text.offsets[-1])
    long = np.flatnonzero(ends - starts > PIECE_BYTES)
    data: Any = text.data.data
    cuts = [cut for line in long.tolist() for cut in _cuts(bytes(data[starts[line] : ends[line]]), int(starts[line]))]
    offsets = np.concatenate([starts, np.array(cuts, np.int32), text.offsets[-1:]])
    offsets.sort()
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(text.data)]
    return pa.StringArray.from_buffers(len(offsets) - 1, buffers[1], buffers[2])


def _cuts(line: bytes, start: int) -> Iterator[int]:
    at = 0
    while len(line) - at > PIECE_BYTES:
        cut = line.rfind(b" ", at, at + PIECE_BYTES) + 1
        if cut <= at:
            cut = at + PIECE_BYTES
            while line[cut] & 0xC0 == 0x80:
                cut -= 1
        at = cut
        yield start + at


def read_custom(given: Mapping[str, Any], *, taken: tuple[str, ...]) -> tuple[Custom, ...]:
    """The recognizers of a recipe's `custom`: name -> its keys, or the pattern alone.

    Args:
        given: from a recipe, so of any type.
        taken: names of other fields.

    Raises:
        TaggerError: what is wrong, with the key that it stands under.
    """
    found = []
    for name, keys in given.items():
        key = f"pii_v1: custom.{name}"
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise TaggerError(f"{key}: a name is lower-case letters, digits and '_', a letter first")
        if name in taken:
            raise TaggerError(f"{key}: there is an entity of this name; give the recognizer another one")
        one = {"pattern": keys} if isinstance(keys, str) else keys
        if not isinstance(one, Mapping) or "pattern" not in one:
            raise TaggerError(f"{key}: expected a pattern, or a mapping with `pattern`; got {keys!r}")
        for unknown in sorted({*map(str, one)} - {*KEYS}):
            raise TaggerError(f"{key}: {unknown_name('key', unknown, KEYS)}")
        found.append(_checked(key, name, one))
    return tuple(found)


def _checked(key: str, name: str, one: Mapping[str, Any]) -> Custom:
    pattern, score, checksum = one["pattern"], one.get("score", 0.5), one.get("checksum", "")
    context, chars = one.get("context", ()), one.get("context_chars", 60)
    if not isinstance(pattern, str) or not pattern:
        raise TaggerError(f"{key}.pattern: expected a regular expression, got {pattern!r}")
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
        raise TaggerError(f"{key}.score: expected a number from 0 to 1, got {score!r}")
    if not isinstance(context, (list, tuple)) or not all(isinstance(word, str) and word for word in context):
        raise TaggerError(f"{key}.context: expected a list of words, got {context!r}")
    if isinstance(chars, bool) or not isinstance(chars, int) or chars < 1:
        raise TaggerError(f"{key}.context_chars: expected a number of characters, got {chars!r}")
    if "context_chars" in one and not context:
        raise TaggerError(f"{key}.context_chars: has no effect without `context`; leave it out")
    if checksum and checksum not in CHECKSUMS:
        raise TaggerError(f"{key}.checksum: {unknown_name('checksum', str(checksum), CHECKSUMS)}")
    _check_pattern(f"{key}.pattern", pattern)
    return Custom(name, pattern, float(score), tuple(context), chars, checksum)


def _check_pattern(key: str, pattern: str) -> None:
    try:
        pc.match_substring_regex(pa.array(["a"]), f"(?m:{pattern})")
    except pa.ArrowInvalid as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise TaggerError(
            f"{key}: {pattern!r} is no regular expression of RE2: {reason}. It knows no look-around ((?=, (?<!) and no "
            "back-references; https://github.com/google/re2/wiki/Syntax"
        ) from None
    for before in _NEIGHBOURS:
        for after in _NEIGHBOURS:
            alone = f"\\A{before}(?m:{pattern}){after}\\z"
            if pc.match_substring_regex(pa.array([before + after]), alone)[0].as_py():
                raise TaggerError(f"{key}: {pattern!r} may match nothing at all; a match has a character at least")
