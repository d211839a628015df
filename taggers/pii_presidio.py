"""presidio-analyzer's recognizers without the rest of presidio, and never with the network.

Loading takes 0.2 s and 20 MB, once a process; then a window takes 10 to 30 us, of a phone number 100 to 300.
Source: presidio-analyzer 2.2 (MIT).
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from taggers.pii_numbers import Hit


def phone_finder(recognizer: Any) -> Callable[[str], Iterator[Hit]]:
    """What presidio's recognizer of phone numbers finds in a text."""

    def find(text: str) -> Iterator[Hit]:
        for result in recognizer.analyze(text, ["PHONE_NUMBER"], None):
            yield result.start, result.end, result.score

    return find


def pattern_finder(recognizer: Any) -> Callable[[str], Iterator[Hit]]:
    """What one of presidio's recognizers by patterns finds in a text: its patterns and checks, without its records.

    A recognizer makes an explanation and log lines for each match, which take longer than the match.
    """
    import regex  # presidio's

    patterns = [(regex.compile(one.regex, recognizer.global_regex_flags), one) for one in recognizer.patterns]
    for_colons = [pair for pair in patterns if pair[1].name.startswith(("IPv6", "IPv4_"))]
    without_colons = [pair for pair in patterns if pair not in for_colons]

    def find(text: str) -> Iterator[Hit]:
        for compiled, pattern in patterns if ":" in text else without_colons:
            for found in compiled.finditer(text):
                value = found[0]
                valid = recognizer.validate_result(value)
                if valid is False or recognizer.invalidate_result(value):
                    continue
                yield found.start(), found.end(), 1.0 if valid else pattern.score

    return find


def finder(entity: str, regions: Sequence[str]) -> Callable[[str], Iterator[Hit]]:
    """What presidio's recognizer of an entity finds in a text.

    Args:
        entity: EMAIL_ADDRESS, PHONE_NUMBER or IP_ADDRESS.
        regions: two-letter codes of the countries whose phone numbers are found without `+`.
    """
    recognizer = recognizers(regions)[entity]
    return phone_finder(recognizer) if entity == "PHONE_NUMBER" else pattern_finder(recognizer)


def recognizers(regions: Sequence[str]) -> dict[str, Any]:
    """presidio's recognizers, by entity; args: as `finder`."""
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
