"""`secrets_v1`: passwords, keys and tokens in a text, by the detectors of the package detect-secrets.

Needs the extra `secrets`. Its detectors look at lines; the heuristics with which it leaves out what only looks like a
secret (sequences, UUIDs, templates, references to variables) are asked as its own scan does. What detect-secrets can
do with a network, asking a service whether a key is valid, is never called: only `analyze_string` of a detector is,
which searches. Of a private key the package marks the line it begins with; here the span is the whole key. Lines are
read in pieces of 4,000 characters that overlap, so that one of 20 MB takes linear time.
Cost: slow, 0.5 to 0.9 MB of text per CPU-second (one core, Xeon 2.6 GHz): for code, and for a part of the web at most.
Source: Yelp, detect-secrets 1.5 (Apache-2.0), which Dolma 1.5 and StarCoder's data used, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar, NamedTuple

from dolma_pipeline.documents import Batch, Fields, Span
from dolma_pipeline.errors import TaggerError, UnknownNameError
from dolma_pipeline.tagging import tagger

PIECE_CHARS = 4_000
OVERLAP_CHARS = 300
"""No detector's secret but a private key is longer, and a password rarely."""
MAX_KEY_CHARS = 20_000
_KEY_BEGIN = re.compile(r"-*\Z")
_KEY_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_PRIVATE_KEY = "Private Key"


class _Detector(NamedTuple):
    """A detector, its field, the type of secret that it finds, and the entropy that a find must have."""

    plugin: Any
    field: str
    kind: str
    min_entropy: float | None


@tagger("secrets_v1", paper="Yelp, detect-secrets 1.5")
@dataclass
class Secrets:
    """Spans of keys and tokens of known services, of values named like a password, and of random-looking strings.

    Attributes:
        exclude: class names of detectors that are left out.
    """

    exclude: tuple[str, ...] = ()

    fields: ClassVar[Fields] = {"keys": list[Span], "passwords": list[Span], "random_strings": list[Span], "kinds": str}
    kernels: ClassVar[tuple[str, ...]] = ()

    def check(self, *, max_memory: int) -> None:
        """Looks before a run starts whether detect-secrets is here.

        Args:
            max_memory: not asked.

        Raises:
            TaggerError: it is not. UnknownNameError: a detector to exclude that it does not have.
        """
        self.setup()

    def setup(self) -> None:
        """Makes the detectors.

        Raises:
            TaggerError: detect-secrets is not here. UnknownNameError: a detector to exclude that it does not have.
        """
        if find_spec("detect_secrets") is None:
            raise TaggerError(
                "secrets_v1 needs detect-secrets, which is not here: pip install 'dolma-pipeline[secrets]'"
            )
        from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
        from detect_secrets.plugins.high_entropy_strings import HighEntropyStringsPlugin
        from detect_secrets.plugins.keyword import KeywordDetector

        found: dict[str, Any] = get_mapping_from_secret_type_to_class()
        classes = {one.__name__: one for one in found.values()}
        for name in sorted(set(self.exclude) - classes.keys()):
            raise UnknownNameError("detector of secrets (secrets_v1: exclude)", name, classes)
        self._detectors: list[_Detector] = []
        for name in sorted(classes.keys() - set(self.exclude)):
            plugin, min_entropy, field = classes[name](), None, "keys"
            if isinstance(plugin, HighEntropyStringsPlugin):
                field, min_entropy = "random_strings", plugin.entropy_limit
            elif isinstance(plugin, KeywordDetector):
                field = "passwords"
            self._detectors.append(_Detector(plugin, field, plugin.secret_type, min_entropy))
        self._is_noise = _noise()

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`: span lists, and text[n]: the types of secrets that were found, sorted."""
        columns: dict[str, list[Any]] = {field: [] for field in self.fields}
        for text in batch.strings:
            spans: dict[str, set[Span]] = {"keys": set(), "passwords": set(), "random_strings": set()}
            kinds = set()
            for start, piece in _pieces(text):
                for detector, first, last in self._found(piece):
                    end = start + last
                    first += start
                    if detector.kind == _PRIVATE_KEY:
                        first, end = _whole_key(text, first, end)
                    spans[detector.field].add(Span(first, end))
                    kinds.add(detector.kind)
            for field, found in spans.items():
                columns[field].append(sorted(found))
            columns["kinds"].append(", ".join(sorted(kinds)))
        return columns

    def _found(self, line: str) -> Iterator[tuple[_Detector, int, int]]:
        """Detectors and the places in a line where they find a secret."""
        for detector in self._detectors:
            for secret in dict.fromkeys(detector.plugin.analyze_string(line)):
                if not secret or self._is_noise(secret, line, detector.plugin):
                    continue
                if detector.min_entropy is not None and not (
                    detector.plugin.calculate_shannon_entropy(secret) > detector.min_entropy
                ):
                    continue
                at = line.find(secret)
                while at >= 0:
                    yield detector, at, at + len(secret)
                    at = line.find(secret, at + len(secret))


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, in pieces, with the character each begins at."""
    start = 0
    for line in text.split("\n"):
        if not line.isspace():
            num_pieces = max(1, math.ceil((len(line) - OVERLAP_CHARS) / (PIECE_CHARS - OVERLAP_CHARS)))
            for k in range(num_pieces if line else 0):
                at = k * (PIECE_CHARS - OVERLAP_CHARS)
                yield start + at, line[at : at + PIECE_CHARS]
        start += len(line) + 1


def _whole_key(text: str, start: int, end: int) -> tuple[int, int]:
    """From the dashes before `BEGIN … PRIVATE KEY` to the end of its last line, if that is not too far."""
    dashes = _KEY_BEGIN.search(text, max(0, start - 5), start)
    last = _KEY_END.search(text, end, end + MAX_KEY_CHARS)
    return (dashes.start() if dashes else start), (last.end() if last else end)


def _noise() -> Callable[[str, str, Any], bool]:
    """A function of secret, line and detector: whether it only looks like a secret."""
    from detect_secrets.filters import heuristic

    def is_noise(secret: str, line: str, plugin: Any) -> bool:
        return bool(
            heuristic.is_sequential_string(secret)
            or heuristic.is_potential_uuid(secret)
            or heuristic.is_likely_id_string(secret, line, plugin)
            or heuristic.is_templated_secret(secret)
            or heuristic.is_prefixed_with_dollar_sign(secret)
            or heuristic.is_not_alphanumeric_string(secret)
            or heuristic.is_indirect_reference(line)
        )

    return is_noise
