"""What taggers say of one text that someone gives: every attribute, and where spans stand in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dolma_pipeline.documents import Batch, Span
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.look.marked_text import Marks, marked
from dolma_pipeline.runner.table import table
from dolma_pipeline.tagging import LoadedTagger


@dataclass(frozen=True, slots=True)
class GivenText:
    """A text and what taggers say of it.

    Args:
        text: the text.
        attributes: label -> field -> value; spans are lists of `Span`.
        failed: label -> what a tagger raised, for those that have no attributes.
    """

    text: str
    attributes: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, str]

    def record(self) -> dict[str, Any]:
        """As JSON: a span is `{"start", "end", "score", "text"}`."""
        shown: dict[str, Any] = {}
        for label, fields in self.attributes.items():
            shown[label] = {field: self._spans(one) if isinstance(one, list) else one for field, one in fields.items()}
        return {"chars": len(self.text), "attributes": shown, "failed": dict(self.failed)}

    def _spans(self, spans: Sequence[Span]) -> list[dict[str, Any]]:
        return [{**span._asdict(), "text": self.text[span.start : span.end]} for span in spans]


def explain_given(text: str, taggers: Sequence[LoadedTagger]) -> GivenText:
    """Run taggers on one text.

    Raises:
        TaggerError: two taggers of one label, or one that breaks its contract.
        AssetError: a model that one of them needs is not here.
    """
    batch = Batch.of([text])
    attributes: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for tagger in taggers:
        if tagger.label in attributes or tagger.label in failed:
            raise TaggerError(f"two taggers are called '{tagger.label}'; give one a name: {{tagger: T, name: N}}")
        column, failures = tagger.attributes(batch)
        if failures:
            failed[tagger.label] = failures[0].reason
            continue
        attributes[tagger.label] = {
            field: [Span(**span) for span in value] if isinstance(value, list) else value
            for field, value in column[0].as_py().items()
        }
    return GivenText(text, attributes, failed)


def given_text(given: GivenText, *, width: int, full: bool, colours: bool) -> str:
    """For people: a table of all attributes, then the text with marks below its lines.

    Args:
        width: cells of a line. full: also lines far from any mark. colours: for a terminal.
    """
    rows = [["attribute", "value"]]
    marks: list[Marks] = []
    for label, fields in given.attributes.items():
        for field, value in fields.items():
            name = f"{label}.{field}"
            rows.append([name, _value(value)])
            if isinstance(value, list) and value:
                marks.append(Marks(name, value))
    rows += [[label, f"failed: {reason}"] for label, reason in given.failed.items()]
    number = len(given.text)
    parts = [f"{number:,} character{'s' * (number != 1)}", table(rows).rstrip("\n")]
    if marks or full:
        parts.append(marked(given.text, marks, width=width, full=full, colours=colours).rstrip("\n"))
    return "\n\n".join(parts) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return _spans(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _spans(spans: Sequence[Span]) -> str:
    """How many there are, and between which scores."""
    if not spans:
        return "no spans"
    number = f"{len(spans):,} span{'s' * (len(spans) != 1)}"
    scores = [f"{one(span.score for span in spans):.6g}" for one in (min, max)]
    return number if scores == ["1", "1"] else f"{number}, score {' to '.join(dict.fromkeys(scores))}"
