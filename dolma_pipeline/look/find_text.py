"""What `index` and `find` say to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dolma_pipeline.look.find import Form, Occurrence, Trace


def index_text(place: str, manifest: Mapping[str, Any], *, is_new: bool) -> str:
    """One line on an index."""
    pieces = manifest["pieces"]
    ids, documents = (sum(piece[name] for piece in pieces) for name in ("ids", "documents"))
    size = sum(file["bytes"] for piece in pieces for file in piece["files"])
    what = "indexed" if is_new else "indexed already"
    return (
        f"{place}: {what}; {ids:,} tokens of {documents:,} documents, {size / 1e6:,.1f} MB in {len(pieces):,} "
        f"piece{'s' * (len(pieces) != 1)}\nlook up: dolma-pipeline find 'some words' --run {place}\n"
    )


def forms_text(forms: Sequence[Form]) -> str:
    """How often each form of a text stands in the parts, then the places."""
    lines = [f"{_shown(form.text)!r}: {_times(form.count)}{_within(form, forms)}" for form in forms]
    for form in forms:
        if form.occurrences and not _within(form, forms):
            lines += ["", f"{_shown(form.text)!r}, {_first(len(form.occurrences), form.count)}"]
            lines += _places(form.occurrences)
    return "\n".join(lines) + "\n"


def _within(form: Form, forms: Sequence[Form]) -> str:
    """What is to be said of a form whose ids end in those of another one: its places are among that one's."""
    for other in forms:
        if form.count and len(other.ids) < len(form.ids) and form.ids[-len(other.ids) :] == other.ids:
            return f", which is among those of {_shown(other.text)!r}"
    return ""


def trace_text(trace: Trace, file: str, at_least: int) -> str:
    """The spans of a file that stand in the parts, longest first, each with places."""
    share = 100 * trace.covered / trace.num_ids
    lines = [
        f"{file}: {trace.num_ids:,} tokens, {trace.covered:,} of them ({share:.0f} %) in {len(trace.spans):,} "
        f"span{'s' * (len(trace.spans) != 1)} of at least {at_least} that stand in the documents word for word"
    ]
    for span in trace.spans:
        shown = _first(len(span.occurrences), span.count)
        lines += [
            "",
            f"tokens {span.first} to {span.last} ({span.last - span.first}), {shown}",
            f"  {_shown(span.text)}",
        ]
        lines += _places(span.occurrences)
    return "\n".join(lines) + "\n"


def _places(occurrences: Sequence[Occurrence]) -> list[str]:
    lines = []
    for one in occurrences:
        lines.append(f"  {_document(one)}")
        lines.append(f"    …{_shown(one.before)}[{_shown(one.text)}]{_shown(one.after)}…")
    return lines


def _document(one: Occurrence) -> str:
    """`web/a#17  source web, id p17, line 18, length_v1.words 83`."""
    known = one.document
    origin = known.get("origin") or f"{one.part}, token {one.first:,}"
    about = [f"source {known['source']}"] if "source" in known else []
    about += [f"id {known['id']}"] if known.get("id") else []
    about += [f"line {known['loc']}"] if "loc" in known else []
    about += [f"repetition {known['epoch']}"] if known.get("epoch") else []
    about += [f"{name} {value}" for name, value in known.get("attributes", {}).items()]
    return f"{origin}  {', '.join(about)}".rstrip()


def _shown(text: str) -> str:
    """On one line."""
    return text.replace("\n", "⏎").replace("\r", "␍").replace("\t", "⇥")


def _times(count: int) -> str:
    return {0: "nowhere", 1: "once"}.get(count, f"{count:,} times")


def _first(shown: int, count: int) -> str:
    return _times(count) if shown == count else f"{_times(count)}, the first {shown:,}"
