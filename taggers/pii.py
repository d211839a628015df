"""Personal data: e-mail addresses, phone numbers, IP addresses, and what can be asked for beside them.

One pass over the bytes (`kernels/scan.py`) finds where a match is possible at all; recognizers see only windows around
those places. A window holds all that a recognizer looks at, so what it finds is what it finds on the whole text.

E-mail, phone and IP addresses are presidio-analyzer's, unchanged in what they accept. Windows whose digits can be no
phone number (`phone_shapes`) are not shown to it. Where these differ on purpose: chains of digits that only look like a
phone number are left out by their shape (`kernels.scan._is_noise`), so are `::`, `::1` and dotted numbers of more than
four groups; an address before a colon is found; a bracket that is not closed is not part of a number; and the local
part and domain of an e-mail address are read up to 320 bytes. Numbers with checksums are in `pii_numbers`, logins and
keys in `pii_keys`, one's own recognizers in `pii_custom`. docs/pii.md has the definitions, and how well each is met.

This is still pii_v1: without `entities` and `custom` its fields and what they mean are as they ever were, and what is
asked for adds fields.

Cost: 0.2 s and 20 MB for the first window; then it depends on how many numbers a text holds: 1.7 GB a second on prose,
180 to 220 MB on technical text, with `phone_regions: [US]`; 840 and 110 to 140 with all entities. A region with short
numbers (DE, GB, IL) costs far more: presidio's own eight regions together run at 10 to 20 MB a second on technical
text, and mostly find noise there.
Source: presidio-analyzer 2.2 (MIT), python-phonenumbers (Apache-2.0), the masks of Dolma (Soldaini et al. 2024,
section on PII).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from dolma_pipeline.documents import Batch, Span
from dolma_pipeline.errors import TaggerError, UnknownNameError
from dolma_pipeline.tagging import tagger
from taggers import pii_keys, pii_numbers
from taggers.phone_shapes import PhoneShapes
from taggers.pii_custom import pieces_of, read_custom
from taggers.pii_numbers import Hit

_CACHE_ENTRIES = 50_000
_CACHED_WINDOW_BYTES = 1_000
_MIN_PHONE_DIGITS = 7

_Hits = tuple[tuple[int, int, float], ...]
"""Bytes of a window from, to, and score; in order, apart from each other."""

FROM_PRESIDIO = {"email": "EMAIL_ADDRESS", "phone": "PHONE_NUMBER", "ip": "IP_ADDRESS"}
"""Entity, and what presidio calls it."""
FINDERS: Mapping[str, Callable[[str], Iterable[Hit]]] = {
    "credit_card": pii_numbers.cards,
    "iban": pii_numbers.ibans,
    "us_ssn": pii_numbers.social_security_numbers,
    "crypto_wallet": pii_numbers.wallets,
    "url_login": pii_keys.logins,
    "api_key": pii_keys.keys,
    "private_key": pii_keys.private_keys,
}
"""Entity, and what finds it in a window."""
ENTITIES = (*FROM_PRESIDIO, *FINDERS)
"""What can be asked for, in the order of the kinds of windows."""


@dataclass
class _Kind:
    """One field: its kind of windows, what finds its entity, and the windows already seen.

    `may_match` is False for windows in which nothing can be found. `finder` gives what finds the entity; it is asked
    for with the first window that may match: loading presidio takes 0.2 s, and many texts need none.
    """

    window_kind: int
    finder: Callable[[], Callable[[str], Iterable[Hit]]]
    may_match: Callable[[str], bool] = lambda window: True
    seen: dict[bytes, _Hits] = field(default_factory=dict)


@tagger("pii_v1", paper="presidio-analyzer 2.2; Soldaini et al. 2024 (Dolma)")
@dataclass
class Pii:
    """Spans of e-mail addresses, phone numbers, IP addresses (4 and 6), and of further entities that are asked for.

    A span's score: e-mail 1.0 (its domain ends in a public suffix), IP address 0.6, phone 0.4, as presidio has them;
    1.0 where a checksum holds; docs/pii.md has the others. Overlapping spans of one kind are one, with the highest
    score.

    Attributes:
        phone_regions: two-letter codes of the countries whose numbers are found without `+` and country code.
            Numbers with `+` are found whatever the region.
        entities: the fields, any of `ENTITIES`. What is not asked for is not looked for.
        custom: recognizers of one's own: field -> pattern, or a mapping of `pattern`, `score`, `context`,
            `context_chars` and `checksum` (`pii_custom.Custom`).

    Raises:
        UnknownNameError: a phone region that libphonenumber does not know, or an entity that does not exist.
        TaggerError: a parameter of another form.
    """

    phone_regions: tuple[str, ...] = ("US",)
    entities: tuple[str, ...] = ("email", "phone", "ip")
    custom: Mapping[str, Any] = field(default_factory=dict)

    kernels: ClassVar[tuple[str, ...]] = ("bitmaps", "scan", "lines", "spans")

    def __post_init__(self) -> None:
        self.phone_regions = self._texts(
            "phone_regions", self.phone_regions, "two-letter country codes, as [US, DE]", empty=False
        )
        self.entities = self._texts(
            "entities", self.entities, "what to look for, as [email, iban]", empty=bool(self.custom)
        )
        for entity in self.entities:
            if entity not in ENTITIES:
                raise UnknownNameError("PII entity", entity, ENTITIES)
        if len({*self.entities}) < len(self.entities):
            raise TaggerError(f"pii_v1: entities names one twice: {', '.join(self.entities)}. Name each once.")
        self._custom = read_custom(self.custom, taken=ENTITIES)
        import phonenumbers  # 0.04 s; a wrong region is found before a run starts

        for region in self.phone_regions:
            if region not in phonenumbers.SUPPORTED_REGIONS:
                raise UnknownNameError("phone region", region, phonenumbers.SUPPORTED_REGIONS)

    @staticmethod
    def _texts(name: str, given: Any, what: str, *, empty: bool) -> tuple[str, ...]:
        """A parameter from a recipe, which may be of any type, as a tuple of texts."""
        if not isinstance(given, (list, tuple)) or not (given or empty) or not all(isinstance(g, str) for g in given):
            raise TaggerError(f"pii_v1: {name} is a list of {what}; got {given!r}")
        return tuple(given)

    @property
    def fields(self) -> Mapping[str, Any]:
        """A field of spans for each entity and each recognizer of one's own."""
        return dict.fromkeys((*self.entities, *(one.name for one in self._custom)), list[Span])

    def setup(self) -> None:
        """Loads the compiled scan, and the shapes of numbers; presidio is loaded for the first window."""
        self._min_digits = _MIN_PHONE_DIGITS
        self._kinds = {entity: self._kind(entity) for entity in self.entities}

    def _kind(self, entity: str) -> _Kind:
        number = ENTITIES.index(entity)  # as `kernels.scan` and `scan_codes` number the kinds
        if entity in FINDERS:
            return _Kind(number, partial(FINDERS.__getitem__, entity))
        from taggers.pii_presidio import finder

        find = cache(partial(finder, FROM_PRESIDIO[entity], self.phone_regions))
        if entity != "phone":
            return _Kind(number, find)
        import phonenumbers

        metadata: Any = phonenumbers.PhoneMetadata
        lengths = [min(metadata.metadata_for_region(r).general_desc.possible_length) for r in self.phone_regions]
        self._min_digits = max(_MIN_PHONE_DIGITS, min(lengths))
        return _Kind(number, find, PhoneShapes(self.phone_regions).may_match)

    def tag(self, batch: Batch) -> Mapping[str, pa.Array]:
        """Span lists of each field."""
        from dolma_pipeline.kernels.scan import find_windows

        columns = {}
        if self._custom:
            pieces = pieces_of(batch)
            columns = {one.name: _spans(batch, one.hits(batch, pieces)) for one in self._custom}
        kinds = [kind.window_kind for kind in self._kinds.values()]
        windows = find_windows(batch.text, min_digits=self._min_digits, kinds=kinds)
        data: Any = batch.text.data.data  # a memoryview
        for name, kind in self._kinds.items():
            chosen = windows.kinds == kind.window_kind
            hits = []
            places = zip(*(part[chosen].tolist() for part in windows[:3]), strict=True)
            for row, start, end in places:
                for first, last, score in _hits(bytes(data[start:end]), kind):
                    hits.append((row, start + first, start + last, score))
            columns[name] = _spans(batch, hits)
        return columns


def _spans(batch: Batch, hits: Sequence[tuple[int, int, int, float]]) -> pa.ListArray:
    """Span lists of (document, first byte, the one after the last, score)."""
    rows, starts, ends, scores = zip(*hits, strict=True) if hits else ((), (), (), ())
    return batch.spans(
        np.array(rows, np.int64), np.array(starts, np.int32), np.array(ends, np.int32), np.array(scores, float)
    )


def _hits(window: bytes, kind: _Kind) -> _Hits:
    """What is found in a window; the same window is looked at once, while it is remembered."""
    hits = kind.seen.get(window)
    if hits is None:
        text = window.decode()
        hits = _recognise(text, kind) if kind.may_match(text) else ()
        if len(window) <= _CACHED_WINDOW_BYTES:
            if len(kind.seen) >= _CACHE_ENTRIES:
                del kind.seen[next(iter(kind.seen))]  # the oldest
            kind.seen[window] = hits
    return hits


def _recognise(text: str, kind: _Kind) -> _Hits:
    """Finds an entity; unites what overlaps, and counts bytes instead of characters."""
    found = sorted((_tight_start(text, start, end), end, score) for start, end, score in kind.finder()(text))
    united: list[tuple[int, int, float]] = []
    for start, end, score in found:
        if united and start < united[-1][1]:
            first, last, best = united[-1]
            united[-1] = (first, max(last, end), max(best, score))
        else:
            united.append((start, end, score))
    return tuple((len(text[:start].encode()), len(text[:end].encode()), score) for start, end, score in united)


def _tight_start(text: str, start: int, end: int) -> int:
    """Where a match begins without brackets that nothing in it closes: of "(303-555-0127 - office)" the number."""
    for opening, closing in ("()", "[]", "（）", "［］"):
        while text[start] == opening and closing not in text[start:end]:
            start += 1
    return start
