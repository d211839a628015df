"""`license_v1`: the licences that a text names: SPDX identifiers, and Creative Commons by URL or by name.

One pass over the bytes finds the few places where one may be named; regular expressions look at those alone. A
licence is named by its SPDX identifier, whichever way the text says it: `CC-BY-SA-4.0`, and `CC-BY-SA` where no
version stands. Ports to a country's law (`/by/3.0/de/`) count as the licence itself. A mention is no grant: a page
may name the licence of a picture, or of somebody else's text.
Cost: 640 to 810 MB of text per CPU-second where licences are rare (one core, Xeon 2.6 GHz).
Source: SPDX specification 2.3, annexes D (expressions) and E (identifiers in source files); creativecommons.org's
list of licences and its URLs. Dolma's `cc_re` looks at URLs in `metadata.html` and fails where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dolma_pipeline.documents import Batch, Fields, Span
from dolma_pipeline.tagging import tagger

TYPES = {
    "cc_by": "CC-BY",
    "cc_by_sa": "CC-BY-SA",
    "cc_by_nd": "CC-BY-ND",
    "cc_by_nc": "CC-BY-NC",
    "cc_by_nc_sa": "CC-BY-NC-SA",
    "cc_by_nc_nd": "CC-BY-NC-ND",
    "cc_zero": "CC0",
    "cc_public_domain": "CC-PDM",
    "cc_other": "CC",
}
"""Field -> SPDX identifier without its version; CC-PDM: the public domain mark, CC: any other licence of theirs."""

_LOOK_AHEAD = 400
"""Bytes from the beginning of a mention that are read."""

_SPDX = re.compile(
    rb"(?i:SPDX-License-Identifier):[ \t]*(\(*[A-Za-z0-9][A-Za-z0-9.+:-]*\)*"
    rb"(?:[ \t]+(?:AND|OR|WITH)[ \t]+\(*[A-Za-z0-9][A-Za-z0-9.+:-]*\)*)*)"
)
_URL = re.compile(
    rb"creativecommons\.org/(?:licenses/(?P<type>[a-z]+(?:[-+][a-z]+)*\+?)|publicdomain/(?P<public>zero|mark))"
    rb"(?:/(?P<version>[0-9]\.[0-9]))?",
    re.IGNORECASE,
)
_BEFORE_URL = re.compile(rb"(?:https?://)?(?:[a-z0-9-]+\.)?\Z", re.IGNORECASE)
_SHORT = re.compile(
    rb"(?:CC[ -]BY(?P<type>(?:[ -](?:NC|SA|ND))*)|CC0|CC[ -]Zero)(?![A-Za-z0-9_])"
    rb"(?:[ -]v?(?P<version>[0-9]\.[0-9])(?![0-9]))?"
)
_LOWER_SHORT = re.compile(
    rb"(?:cc-by(?P<type>(?:-(?:nc|sa|nd))*)|cc0)(?![A-Za-z0-9_])(?:[ -]v?(?P<version>[0-9]\.[0-9])(?![0-9]))?"
)
_LONG = re.compile(
    rb"creative\s{1,3}commons\s{1,3}"
    rb"(?:(?P<public>zero|cc0|public\s{1,3}domain\s{1,3}mark)|attribution(?P<type>"
    rb"(?:(?:[\s/,-]|\xe2\x80\x93|&){1,4}(?:and\s{1,3})?(?:non-?\s?commercial|share-?\s?alike|no-?\s?deriv(?:ative)?s?))*))"
    rb"(?:\s{1,3}works?)?(?:\s{1,3}licen[cs]e)?(?:[\s,(]{1,4}(?:version\s|v\.?\s?)?(?P<version>[0-9]\.[0-9])(?![0-9]))?",
    re.IGNORECASE,
)
_PHRASES = (b"spdx-license-identifier:", b"creative", b"cc by", b"cc-by", b"cc0", b"cc zero")


class _Mention(NamedTuple):
    """A licence: its field, first and last byte in the batch's text, version (0: none stands there), identifier."""

    field: str
    start: int
    end: int
    version: float
    name: str


@tagger("license_v1", paper="SPDX 2.3, annexes D and E; creativecommons.org")
@dataclass(frozen=True)
class License:
    """Spans of SPDX identifiers and of Creative Commons licences by type, and the name of the first."""

    fields: ClassVar[Fields] = {"spdx": list[Span], **dict.fromkeys(TYPES, list[Span]), "first": str}

    kernels: ClassVar[tuple[str, ...]] = ("phrases", "spans")

    def setup(self) -> None:
        """Loads the kernels, so that the first batch is not the slow one."""
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`: span lists, and text[n].

        A span of `spdx` is the expression behind the colon, with score 1; one of `cc_…` is the URL or the name, and
        its score is the version of the licence, 0 where none stands.
        """
        from dolma_pipeline.kernels.phrases import find_phrases

        rows, starts, _ = find_phrases(batch.text, _PHRASES)
        data, offsets = batch.text.data.data, batch.text.offsets.tolist()
        first = [""] * len(batch)
        found: dict[str, list[tuple[int, _Mention]]] = {field: [] for field in self.fields if field != "first"}
        for row, at in zip(rows.tolist(), starts.tolist(), strict=True):
            mention = _mention(data, at, offsets[row], offsets[row + 1])
            if mention is not None:
                found[mention.field].append((row, mention))
                first[row] = first[row] or mention.name
        columns = {}
        for field, mentions in found.items():
            row_of = np.array([row for row, _ in mentions], np.int64)
            bounds = np.array([(one.start, one.end) for _, one in mentions], np.int64).reshape(-1, 2)
            scores = np.array([one.version for _, one in mentions], np.float64)
            columns[field] = batch.spans(row_of, bounds[:, 0], bounds[:, 1], scores)
        return {**columns, "first": first}


def _mention(data: memoryview, at: int, start: int, end: int) -> _Mention | None:
    """The licence that is named from byte `at` on, if one is; the document is `data[start:end]`."""
    piece = bytes(data[at : min(end, at + _LOOK_AHEAD)])
    if found := _SPDX.match(piece):
        name = _balanced(found[1].rstrip(b".:").decode())
        return _Mention("spdx", at + found.start(1), at + found.start(1) + len(name), 1.0, name)
    if found := _URL.match(piece):
        before = _BEFORE_URL.search(bytes(data[max(start, at - 40) : at]))
        assert before is not None  # it may be empty
        field = _field_of_url(found)
        return _named(field, at - len(before[0]), at + found.end(), found["version"])
    if at > start and (data[at - 1 : at].tobytes().isalnum() or data[at - 1] in b"_-"):
        return None  # within a word
    found = _LONG.match(piece) or _SHORT.match(piece) or _LOWER_SHORT.match(piece)
    if found is None:
        return None
    groups = found.groupdict()
    if groups.get("public"):
        field = "cc_public_domain" if b"mark" in groups["public"].lower() else "cc_zero"
    elif groups["type"] is None:
        field = "cc_zero"
    else:
        field = _field_of_parts(groups["type"].lower())
    return _named(field, at, at + found.end(), groups["version"])


def _balanced(expression: str) -> str:
    """An SPDX expression without closing brackets at its end that nothing in it opens: `(SPDX-…: MIT)`."""
    surplus = expression.count(")") - expression.count("(")
    while surplus > 0 and expression.endswith(")"):
        expression, surplus = expression[:-1], surplus - 1
    return expression.rstrip(".:")


def _named(field: str, start: int, end: int, version: bytes | None) -> _Mention:
    number = (version or b"").decode()
    return _Mention(field, start, end, float(number or 0), "-".join(filter(None, (TYPES[field], number))))


def _field_of_url(found: re.Match[bytes]) -> str:
    if found["public"]:
        return "cc_zero" if found["public"].lower() == b"zero" else "cc_public_domain"
    parts = re.split(rb"[-+]", found["type"].lower())
    if parts == [b"publicdomain"]:
        return "cc_public_domain"
    known = parts[0] == b"by" and set(parts[1:]) <= {b"nc", b"sa", b"nd"}
    return _field_of_parts(b"-".join(parts[1:])) if known else "cc_other"


def _field_of_parts(parts: bytes) -> str:
    """The field of an attribution licence, by what its name says behind `by`, short or in words."""
    nc = b"nc" in parts or b"commercial" in parts
    sa = b"sa" in parts or b"alike" in parts
    nd = b"nd" in parts.replace(b"and", b"") or b"deriv" in parts
    field = "cc_by" + "_nc" * nc + "_sa" * sa + "_nd" * nd
    return field if field in TYPES else "cc_other"  # share alike and no derivatives exclude each other
