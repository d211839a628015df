"""Looks as tables for people. `~` stands before every estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dolma_pipeline.look.amounts import Amount
from dolma_pipeline.look.choice import Choice, cut_by
from dolma_pipeline.look.clean import Removable
from dolma_pipeline.look.plan import PlanReport
from dolma_pipeline.look.what_if import WhatIf
from dolma_pipeline.runner.table import table


def plan_text(report: PlanReport) -> str:
    """Two tables: what there is, and what would be taken."""
    rows = [["source", "documents", "pass", "MB", "MB pass", "tokens pass"]]
    for name, kept in report.kept.items():
        every = report.documents[name]
        rows.append(
            [name, f"{every.documents:,}", f"{kept.documents:,}", mb(every.bytes), mb(kept.bytes), tokens(kept)]
        )
    parts = [f"what there is\n{table(rows)}"]
    if report.choice is not None:
        budget = "everything that passes" if report.target is None else f"{report.target:,} {report.unit}"
        rows = _chosen(report.choice, report.kept)
        parts.append(f"what would be taken (budget: {budget})\n{table(rows)}")
    return "\n\n".join([*parts, *_notes(report.notes)]) + "\n"


def _chosen(choice: Choice, kept: Mapping[str, Amount]) -> list[list[str]]:
    unit = choice.plan.unit
    head = [
        "source",
        "weight",
        "held out",
        "available",
        f"wanted {unit}",
        "documents",
        "MB",
        "tokens",
        "epochs",
        "cut by",
    ]
    rows, about = [head], "" if choice.exact else "~"
    for name, one in choice.plan.sources.items():
        sure = about or ("" if kept[name].exact else "~")
        rows.append(
            [
                name,
                "" if one.weight is None else f"{one.weight:g}",
                f"{about}{one.held_out['documents']:,}",
                f"{about}{one.available['documents']:,}",
                f"{about if unit == 'documents' else sure}{one.wanted:,}",
                f"{about}{one.documents:,}",
                f"{about}{mb(one.bytes)}",
                f"{sure}{one.tokens:,}" if kept[name].tokens is not None else "?",
                f"{about}{one.epochs:.3g}",
                cut_by(one, unit) or "-",
            ]
        )
    return rows


def what_if_text(report: WhatIf) -> str:
    """Three tables: documents that pass, what is chosen, and the rules that say otherwise."""
    rows = [["source", "pass", "would pass", "gained", "lost", "MB", "would be", "tokens", "would be"]]
    for name, one in report.sources.items():
        counts = (one.before, one.after, one.gained, one.lost)
        rows.append(
            [
                name,
                *(f"{each.documents:,}" for each in counts),
                *(mb(each.bytes) for each in counts[:2]),
                *(tokens(each) for each in counts[:2]),
            ]
        )
    tried = "\n".join(f"  {change}" for change in report.changes)
    parts = [f"what if\n{tried}", f"documents that pass\n{table(rows)}"]
    if report.after is not None:
        parts.append(f"what would be taken\n{table(_taken(report, report.after))}")
    rules = _rules(report)
    if len(rules) > 1:
        parts.append(f"rules that say otherwise (first reason / any reason / only reason)\n{table(rules)}")
    return "\n\n".join([*parts, *_notes(report.notes)]) + "\n"


def _taken(report: WhatIf, after: Choice) -> list[list[str]]:
    head = ["source", "documents", "would be", "gained", "lost", "tokens", "would be", "held out", "epochs", "cut by"]
    rows, about = [head], "" if after.exact else "~"
    for name, one in report.sources.items():
        old = report.before.plan.sources[name] if report.before is not None else None
        new = after.plan.sources[name]
        counted = one.after.tokens is not None
        rows.append(
            [
                name,
                "-" if old is None else f"{old.documents:,}",
                f"{about}{new.documents:,}",
                f"{about}{one.chosen_gained:,}",
                f"{about}{one.chosen_lost:,}",
                f"{old.tokens:,}" if old is not None and counted else "?",
                f"{about or ('' if one.after.exact else '~')}{new.tokens:,}" if counted else "?",
                f"{about}{new.held_out['documents']:,}",
                f"{about}{new.epochs:.3g}",
                cut_by(new, after.plan.unit) or "-",
            ]
        )
    return rows


def _rules(report: WhatIf) -> list[list[str]]:
    """The rules whose counts differ, by source."""
    rows = [["rule", "source", "drops", "would drop", "gained", "lost", "MB gained", "MB lost"]]
    for rule in dict.fromkeys(rule for one in report.sources.values() for rule in one.rules):
        for source, one in report.sources.items():
            change = one.rules.get(rule)
            if change is None or change.before == change.after:
                continue
            reasons = [_reasons(counts) for counts in (change.before, change.after)]
            moved = (change.gained, change.lost)
            counts = [f"{each.documents:,}" for each in moved]
            rows.append([rule, source, *reasons, *counts, *(mb(each.bytes) for each in moved)])
    return rows


def _reasons(counts: Mapping[str, int] | None) -> str:
    return "-" if counts is None else f"{counts['first']:,} / {counts['any']:,} / {counts['alone']:,}"


def clean_text(place: str, some: Sequence[Removable], *, removed: bool) -> str:
    """One table: what was removed, or could be."""
    rows = [["kind", "files", "MB"], *([one.kind.name, f"{one.num_files:,}", mb(one.bytes)] for one in some)]
    notes = "\n".join(f"  {one.kind.name:<12}{one.kind.what}; to have it again: {one.kind.costs}" for one in some)
    title = f"removed from {place}" if removed else f"what can be removed from {place}"
    return f"{title}\n{table(rows)}\n\n{notes}\n"


def mb(num_bytes: int) -> str:
    """Millions of bytes."""
    return f"{num_bytes / 1e6:,.2f}"


def tokens(amount: Amount) -> str:
    """Tokens, marked where they are estimated; `?` where nothing is known."""
    if amount.tokens is None:
        return "?"
    return f"{'' if amount.exact else '~'}{amount.tokens:,}"


def _notes(notes: Sequence[str]) -> list[str]:
    return ["\n".join(["notes", *(f"  {note}" for note in notes)])] if notes else []
