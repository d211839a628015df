"""What `explain` says to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dolma_pipeline.look.explain import Copy, Explained
from dolma_pipeline.look.word_diff import coloured, plain, word_diff
from dolma_pipeline.runner.table import table


def explain_text(document: Explained, *, full: bool, colours: bool) -> str:
    """A document: what is known, attributes, rules, dedupe steps, and of a copy what it is like.

    Marks of steps that elect nobody, such as spans of repeated paragraphs, stand among the attributes.

    Args:
        full: all words of both texts, not only changed ones. colours: for a terminal.
    """
    index = document.index
    about = [f"id {index['id']}"] if index["id"] else []
    about += [f"line {index['loc']}", f"{index['chars']:,} characters", f"{index['bytes']:,} bytes"]
    parts = [f"{document.origin}  {', '.join(about)}"]
    if index["metadata"]:
        parts.append(f"metadata  {index['metadata']}")
    rows = [["attribute", "value"]]
    elected = {name: marks for name, marks in document.dedupe.items() if "cluster" in marks}
    marked = {name: marks for name, marks in document.dedupe.items() if name not in elected}
    for label, values in {**document.attributes, **marked}.items():
        if values is None:
            rows.append([label, "failed"])
        else:
            rows += [[f"{label}.{name}", _value(value)] for name, value in values.items()]
    if len(rows) > 1:
        parts.append(table(rows))
    rows = [["rule", "", "SQL"], *([name, one["says"], one["sql"]] for name, one in document.rules.items())]
    parts.append(table(rows) if len(rows) > 1 else "no rules")
    parts.append("passes all rules" if document.passes else "is dropped")
    if elected:
        rows = [["dedupe step", "", "cluster", "size", "rank", "likeness"]]
        parts.append(table([*rows, *([name, *_marks(one)] for name, one in elected.items())]))
    if document.copy is not None:
        parts.append(_copy(document.copy, document.origin, full=full, colours=colours))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _marks(one: Mapping[str, Any]) -> list[str]:
    keeps = "kept" if one["keep"] else "not kept"
    likeness = BY_ESTIMATE if one["jaccard"] is None else f"{one['jaccard']:.4f}"
    return [keeps, one["cluster"], f"{one['size']:,}", f"{one['rank']:,}", likeness]


BY_ESTIMATE = "by estimate"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} span{'s' * (len(value) != 1)}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _copy(copy: Copy, origin: str, *, full: bool, colours: bool) -> str:
    lines = [f"{copy.step}: a copy of {copy.origin}, which stays; {copy.size:,} documents in its cluster"]
    if copy.jaccard is not None:
        lines.append(
            f"likeness counted again from the texts: Jaccard {copy.jaccard:.4f}, contained {copy.contained:.4f} "
            f"(the run {f'has {copy.stored:.4f}' if copy.stored is not None else f'judged {BY_ESTIMATE}'})"
        )
    if copy.bands is not None:
        bands = f"{', '.join(map(str, copy.bands))} of {copy.num_bands}" if copy.bands else f"none of {copy.num_bands}"
        lines.append(f"bands that met: {bands}{'; the same words' if copy.same_words else ''}")
    if copy.texts is None:
        return "\n".join([*lines, "the texts are not compared: the file of one is gone (`gone` of its source)"])
    pieces = word_diff(*copy.texts, full=full)
    if all(piece.kind in ("same", "left out") for piece in pieces):
        lines.append("the texts are equal")
        if not full:
            return "\n".join(lines)
    lines += ["", f"[-only {copy.origin}-] {{+only {origin}+}}", coloured(pieces) if colours else plain(pieces)]
    return "\n".join(lines)
