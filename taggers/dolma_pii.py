"""`dolma_pii_fast_v2`: spans and numbers of Dolma's `pii_regex_with_counts_fast_v2`, for rules that were set on them.

Its three regular expressions, asked only where they can match, and in linear time. What is better at finding personal
data is `pii_v1`. What differs from Dolma, and why: docs/dolma.md.
Cost: 40 to 100 MB of text per CPU-second (one core, Xeon 2.6 GHz), by how many digits and `@` there are.
Source: Soldaini et al. 2024, "Dolma: an Open Corpus of Three Trillion Tokens"; allenai/dolma 1.2.1 (Apache-2.0).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dolma_pipeline.documents import Batch, Fields, Span
from dolma_pipeline.tagging import tagger
from taggers.dolma_emails import find_emails
from taggers.dolma_gopher import DIGITS

MAX_QUESTION_MARKS = 10_000
"""In a document with more of them Dolma looks for nothing."""

_NUMBER = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
_IP = re.compile(rf"(?:{_NUMBER}\.){{3}}{_NUMBER}")
_WHOLE_IP = re.compile(rf"(?<![0-9.]){_IP.pattern}(?![0-9]|\.[0-9])")
_PHONE = re.compile(r"(?<=\s)\(?\d{3}\)?[-. ]*+\d{3}[-. ]?\d{4}")
_MAYBE_EMAIL = re.compile("@")
_MAYBE_PHONE = re.compile(r"\d{3}[-. ]?\d{4}")
_MAYBE_IP = re.compile(r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")


@tagger("dolma_pii_fast_v2", paper="Soldaini et al. 2024, Dolma (its toolkit 1.2.1, pii_regex_with_counts_fast_v2)")
@dataclass(frozen=True)
class DolmaPii:
    """Dolma's pii_regex_with_counts_fast_v2: e-mail addresses, US phone numbers, IPv4 addresses, how many and much.

    `doc_count` is the number of spans, `doc_frac` the share of characters in them; of an empty text it is -1.

    Args:
        keep_defects: also where Dolma is wrong: an address at the end of a text is missed, its span takes the
            punctuation around it along, an IP address may be a part of a longer number, `doc_frac` is 1 too large.
    """

    keep_defects: bool = False

    fields: ClassVar[Fields] = {
        "EMAIL_ADDRESS": list[Span],
        "PHONE_NUMBER": list[Span],
        "IP_ADDRESS": list[Span],
        "doc_count": int,
        "doc_frac": float,
    }
    kernels: ClassVar[tuple[str, ...]] = ()

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`, lists."""
        rows = [self._row(text) for text in batch.strings]
        return {field: [row[field] for row in rows] for field in self.fields}

    def _row(self, text: str) -> dict[str, Any]:
        row: dict[str, Any] = {"EMAIL_ADDRESS": [], "PHONE_NUMBER": [], "IP_ADDRESS": []}
        if text.count("?") <= MAX_QUESTION_MARKS:
            row["EMAIL_ADDRESS"] = _found(text, _MAYBE_EMAIL, self._emails)
            row["PHONE_NUMBER"] = _found(text, _MAYBE_PHONE, _phones)
            row["IP_ADDRESS"] = _found(text, _MAYBE_IP, self._ips)
        spans = [span for spans in row.values() for span in spans]
        chars = sum(span.end - span.start for span in spans) + (len(text) if self.keep_defects else 0)
        return row | {"doc_count": len(spans), "doc_frac": round(chars / len(text), DIGITS) if text else -1.0}

    def _emails(self, paragraph: str) -> Iterator[tuple[int, int]]:
        for one in find_emails(paragraph, at_end=not self.keep_defects):
            if paragraph[one.first : one.at] != "(" and "." in paragraph[one.at + 1 : one.last]:
                yield (one.start, one.end) if self.keep_defects else (one.first, one.last)

    def _ips(self, paragraph: str) -> Iterator[tuple[int, int]]:
        for match in (_IP if self.keep_defects else _WHOLE_IP).finditer(paragraph):
            yield match.span()


def _found(text: str, maybe: re.Pattern[str], find: Callable[[str], Iterator[tuple[int, int]]]) -> list[Span]:
    """What `find` finds in the paragraphs (lines with their newline) in which `maybe` matches."""
    spans = []
    stop = 0
    while (match := maybe.search(text, stop)) is not None:
        first = text.rfind("\n", stop, match.start()) + 1 or stop
        newline = text.find("\n", match.start())
        stop = len(text) if newline < 0 else newline + 1
        spans += [Span(first + start, first + end) for start, end in find(text[first:stop])]
    return spans


def _phones(paragraph: str) -> Iterator[tuple[int, int]]:
    """Numbers, with all white space in front of them, as Dolma's expression has it."""
    for match in _PHONE.finditer(paragraph):
        start = match.start()
        while start > 0 and paragraph[start - 1].isspace():
            start -= 1
        yield start, match.end()
