"""E-mail addresses, phone numbers and IP addresses, found by presidio's recognizers on small windows.

One pass over the bytes (`kernels/scan.py`) finds where a match is possible at all; presidio-analyzer's own
EmailRecognizer, PhoneRecognizer and IpRecognizer, unchanged in what they accept, see only windows around those
places. A window holds all that a recognizer looks at, so what it finds is what it finds on the whole text.
Windows whose digits can be no phone number (`phone_shapes`) are not shown to it.
Where this differs on purpose: chains of digits that only look like a phone number are left out by their shape
(`kernels.scan._is_noise`), so are `::`, `::1` and dotted numbers of more than four groups; an address before a
colon is found; a bracket that is not closed is not part of a number; and the local part and domain of an e-mail
address are read up to 320 bytes.

Cost: 0.2 s and 20 MB for the first window; then it depends on how many numbers a text holds: 300 MB a second and more
on prose, 65 to 80 on technical text, with `phone_regions: [US]`. A region with short numbers (DE, GB, IL) costs far
more: presidio's own eight regions together run at 10 to 20 MB a second on technical text, and mostly find noise there.
Source: presidio-analyzer 2.2 (MIT), python-phonenumbers (Apache-2.0), the masks of Dolma (Soldaini et al. 2024,
section on PII).
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from dolma_pipeline.documents import Batch, Span
from dolma_pipeline.errors import TaggerError, UnknownNameError
from dolma_pipeline.tagging import tagger
from taggers.phone_shapes import PhoneShapes

_CACHE_ENTRIES = 50_000
_CACHED_WINDOW_BYTES = 1_000
_MIN_PHONE_DIGITS = 7

_Hits = tuple[tuple[int, int, float], ...]
"""Bytes of a window from, to, and score; in order, apart from each other."""


@dataclass
class _Kind:
    """One field: its kind of windows, presidio's entity and recognizer, and the windows already seen.

    `may_match` is False for windows in which the recognizer is known to find nothing. `recognizers`: all three, which
    are made for the first window that may match: loading presidio takes 0.2 s, and many texts need none.
    """

    window_kind: int
    entity: str
    recognizers: Callable[[], Mapping[str, Any]]
    may_match: Callable[[str], bool] = lambda window: True
    seen: dict[bytes, _Hits] = field(default_factory=dict)

    @cached_property
    def recognizer(self) -> Any:
        """presidio's, for this entity."""
        return self.recognizers()[self.entity]


@tagger("pii_v1", paper="presidio-analyzer 2.2; Soldaini et al. 2024 (Dolma)")
@dataclass
class Pii:
    """Spans of e-mail addresses, phone numbers and IP addresses (version 4 and 6).

    A span's score is presidio's: e-mail 1.0 (its domain ends in a public suffix), IP address 0.6, phone 0.4.
    Overlapping spans of one kind are one, with the highest score.

    Attributes:
        phone_regions: two-letter codes of the countries whose numbers are found without `+` and country code.
            Numbers with `+` are found whatever the region.

    Raises:
        UnknownNameError: a phone region that libphonenumber does not know.
    """

    phone_regions: tuple[str, ...] = ("US",)

    fields: ClassVar[Mapping[str, Any]] = {"email": list[Span], "phone": list[Span], "ip": list[Span]}
    kernels: ClassVar[tuple[str, ...]] = ("scan", "spans")

    def __post_init__(self) -> None:
        given: Any = self.phone_regions  # from a recipe, so of any type
        if not isinstance(given, (list, tuple)) or not given or not all(isinstance(one, str) for one in given):
            raise TaggerError(
                f"pii_v1: phone_regions is a list of two-letter country codes, as [US, DE]; got {given!r}"
            )
        self.phone_regions = tuple(given)
        import phonenumbers  # 0.04 s; a wrong region is found before a run starts

        for region in self.phone_regions:
            if region not in phonenumbers.SUPPORTED_REGIONS:
                raise UnknownNameError("phone region", region, phonenumbers.SUPPORTED_REGIONS)

    def setup(self) -> None:
        """Loads the compiled scan, and the shapes of numbers; presidio is loaded for the first window."""
        import phonenumbers

        from dolma_pipeline.kernels import scan

        metadata: Any = phonenumbers.PhoneMetadata
        lengths = [min(metadata.metadata_for_region(r).general_desc.possible_length) for r in self.phone_regions]
        self._min_digits = max(_MIN_PHONE_DIGITS, min(lengths))
        made = cache(partial(_recognizers, self.phone_regions))
        self._kinds = {
            "email": _Kind(scan.EMAIL, "EMAIL_ADDRESS", made),
            "phone": _Kind(scan.PHONE, "PHONE_NUMBER", made, PhoneShapes(self.phone_regions).may_match),
            "ip": _Kind(scan.IP, "IP_ADDRESS", made),
        }

    def tag(self, batch: Batch) -> Mapping[str, pa.Array]:
        """Span lists of `email`, `phone` and `ip`."""
        from dolma_pipeline.kernels.scan import find_windows

        windows = find_windows(batch.text, min_digits=self._min_digits)
        data: Any = batch.text.data.data  # a memoryview
        columns = {}
        for name, kind in self._kinds.items():
            chosen = windows.kinds == kind.window_kind
            rows, starts, ends, scores = [], [], [], []
            places = zip(*(part[chosen].tolist() for part in windows[:3]), strict=True)
            for row, start, end in places:
                for first, last, score in _hits(bytes(data[start:end]), kind):
                    rows.append(row)
                    starts.append(start + first)
                    ends.append(start + last)
                    scores.append(score)
            columns[name] = batch.spans(
                np.array(rows, np.int64), np.array(starts, np.int32), np.array(ends, np.int32), np.array(scores, float)
            )
        return columns


def _hits(window: bytes, kind: _Kind) -> _Hits:
    """What the recognizer finds in a window; the same window is looked at once, while it is remembered."""
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
    """Runs presidio's recognizer; unites what overlaps, and counts bytes instead of characters."""
    results = kind.recognizer.analyze(text, [kind.entity], None)
    found = sorted((_tight_start(text, r.start, r.end), r.end, r.score) for r in results)
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


def _recognizers(regions: Sequence[str]) -> dict[str, Any]:
    """presidio's recognizers of e-mail, phone and IP addresses, by entity."""
    email, phone, ip = _presidio_classes()
    return {
        "EMAIL_ADDRESS": _offline(email)(),
        "PHONE_NUMBER": phone(supported_regions=tuple(regions)),
        "IP_ADDRESS": ip(),
    }


def _offline(email: Any) -> Any:
    """The e-mail recognizer, but with the public suffix list that tldextract ships: never the network."""
    import tldextract

    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmailRecognizer(email):  # type: ignore[misc]
        """presidio's EmailRecognizer, which would download the list at its first match."""

        def validate_result(self, pattern_text: str) -> bool:
            """Whether the domain ends in a public suffix."""
            return bool(extract(pattern_text).fqdn)

    return OfflineEmailRecognizer


def _presidio_classes() -> tuple[Any, Any, Any]:
    """EmailRecognizer, PhoneRecognizer, IpRecognizer.

    presidio's `__init__` imports spaCy (and torch, where it is installed) for engines that are not used here:
    2.5 s and 230 MB in every worker. So the modules that are needed are imported under a bare package, which is
    forgotten afterwards: `import presidio_analyzer` elsewhere gives the whole one. Where a release of presidio
    is laid out in another way, the whole one is imported here too.
    """
    if "presidio_analyzer" not in sys.modules:
        try:
            return _load_bare()
        except (ImportError, AttributeError) as error:
            logging.getLogger(__name__).info("presidio is loaded whole, with spaCy: %s", error)
    generic = importlib.import_module("presidio_analyzer.predefined_recognizers")
    return generic.EmailRecognizer, generic.PhoneRecognizer, generic.IpRecognizer


_PACKAGE = "presidio_analyzer"
_PARTS = {
    "analysis_explanation": "AnalysisExplanation",
    "recognizer_result": "RecognizerResult",
    "entity_recognizer": "EntityRecognizer",
    "local_recognizer": "LocalRecognizer",
    "pattern": "Pattern",
    "pattern_recognizer": "PatternRecognizer",
}


def _load_bare() -> tuple[Any, Any, Any]:
    """presidio's recognizers from its own modules, without running the `__init__` of its packages."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{_PACKAGE} is not installed")
    folder = spec.submodule_search_locations[0]
    try:
        package = _bare(_PACKAGE, folder)
        _bare(f"{_PACKAGE}.nlp_engine", f"{folder}/nlp_engine").NlpArtifacts = object  # type: ignore[attr-defined]
        _bare(f"{_PACKAGE}.predefined_recognizers", f"{folder}/predefined_recognizers")
        generic = f"{_PACKAGE}.predefined_recognizers.generic"
        _bare(generic, f"{folder}/predefined_recognizers/generic")
        for module, name in _PARTS.items():
            setattr(package, name, getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name))
        return (
            importlib.import_module(f"{generic}.email_recognizer").EmailRecognizer,
            importlib.import_module(f"{generic}.phone_recognizer").PhoneRecognizer,
            importlib.import_module(f"{generic}.ip_recognizer").IpRecognizer,
        )
    finally:
        for name in [n for n in sys.modules if n == _PACKAGE or n.startswith(f"{_PACKAGE}.")]:
            del sys.modules[name]


def _bare(name: str, folder: str) -> ModuleType:
    """A package that holds nothing but its folder, registered under its name."""
    module = ModuleType(name)
    module.__path__ = [folder]
    sys.modules[name] = module
    return module
