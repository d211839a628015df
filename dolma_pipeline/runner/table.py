"""The tables at the end of a run: stages, sources, training, scores, and what to try next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dolma_pipeline.run.artifact import EARLIER
from dolma_pipeline.run.layout import INDEX
from dolma_pipeline.run.stage import STAGES, stages_in_order
from dolma_pipeline.runner.score_table import titled_rows
from dolma_pipeline.stages.mixes import MIX, verdicts_of
from dolma_pipeline.stages.tokens.stage import TokensStage
from dolma_pipeline.train.curves import curve_text

if TYPE_CHECKING:
    from dolma_pipeline.runner.result import Result


def result_text(result: Result) -> str:
    """All tables, as plain text."""
    if result.dry_run:
        return _dry_run_text(result)
    parts = []
    if result.nothing_to_do:
        parts.append(f"nothing to do: {result.output} holds all of this already")
    mixes = _mixes(result)
    rules = [(f"dropped by rule ({mix}; first reason / any reason / only reason)", _rule_rows(result, mix), "")
             for mix in mixes]  # fmt: skip
    sources = [
        ("sources" if mix == MIX else f"sources ({mix})", _source_rows(result, mix),
         "tokens count the EOS of each document" if _counts_tokens(result, mix) else "")
        for mix in mixes
    ]  # fmt: skip
    for title, rows, note in (
        ("stages", _stage_rows(result), ""),
        *rules,
        ("repeated text: what stands in an earlier document, or earlier in its own", _repeat_rows(result), ""),
        ("duplicates", _duplicate_rows(result), ""),
        ("documents that came after others (dedupe.keep: old)", _earlier_rows(result), ""),
        ("benchmarks: items that stand in documents", _benchmark_rows(result), BENCHMARKS_NOTE),
        ("attributes made elsewhere: files that fit the documents", _aligned_rows(result, mixes), ""),
        *sources,
        ("training", _training_rows(result), _curve(result)),
        *((title, rows, "") for title, rows in titled_rows(result.scores)),
        *(
            (title, rows, "")
            for stage, scores in result.stage_scores.items()
            for title, rows in titled_rows(scores, of=stage)
        ),
        ("files that could not be read to their end", _lost_rows(result), ""),
    ):
        if len(rows) > 1:
            parts.append(f"{title}\n{table(rows)}" + (f"\n{note}" if note else ""))
    parts.append("\n".join(["warnings", *(f"  {text}" for text in found)]) if (found := result.warnings()) else "")
    parts.append(_next(result))
    return "\n\n".join(part for part in parts if part) + "\n"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned text: the first column to the left, the others to the right, a line under the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for n, row in enumerate(rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
        if n == 0:
            lines.append("  ".join("-" * w for w in widths))
    return "\n".join(lines)


def _dry_run_text(result: Result) -> str:
    if not result.planned:
        return f"nothing to do: {result.output} holds all of this already\n"
    rows = [["would make", "state"], *([d.artifact.name, d.state] for d in result.planned)]
    told = "\n".join(["", *(f"warning: {text}" for text in result.early_warnings), ""]) if result.early_warnings else ""
    return f"{result.num_shards} shards; all names, files and rules are in order.\n\n{table(rows)}\n{told}"


def _stage_rows(result: Result) -> list[list[str]]:
    rows = [["stage", "in", "kept", "dropped", "failed", "MB", "MB/s", "CPU MB/s", "seconds"]]
    timings = _timings(result.events)
    made = {m.stage for m in result.manifests.values()}
    names = [stage.name for stage in stages_in_order() if stage.name in made - {INDEX}]
    for stage in names or sorted(made):  # the index where nothing else was asked for
        manifests = [m for m in result.manifests.values() if m.stage == stage]
        if stage == "decontaminate":  # its items and its report have no counts by source
            manifests = [m for m in manifests if m.counts] or manifests
        manifests = [m for m in manifests if m.name == stage] or manifests  # a mix and its verdicts are of one stage
        shown = next((m for m in manifests if m.name.startswith("dedupe/")), manifests[0])
        if stage == "dedupe":
            elected = [m for m in manifests if m.name.startswith("attributes/")]
            counts = _sum(shown) | _marked(elected)
        else:
            counts = _sum(shown)
        seconds, cpu_seconds = timings.get(stage, (0.0, 0.0))
        mega = counts.get("bytes_in", 0) / 1e6
        if isinstance(STAGES.get(stage), TokensStage):
            counts = {"in": counts.get("documents", 0), "kept": counts.get("documents", 0)}
        rows.append(
            [
                stage,
                *(f"{counts[key]:,}" if key in counts else "" for key in ("in", "kept", "dropped", "failed")),
                f"{mega:,.1f}" if mega else "",
                f"{mega / seconds:,.1f}" if mega and seconds else "",
                f"{mega / cpu_seconds:,.1f}" if mega and cpu_seconds else "",
                f"{seconds:,.1f}" if seconds else "",
            ]
        )
    return rows


def _marked(elected: Sequence[Any]) -> dict[str, int]:
    """What all dedupe steps together do not keep; the last one has counted it."""
    counts = [one for one in map(_sum, elected) if "dropped_so_far" in one]  # not of steps that mark stretches of text
    if not counts:
        return {}
    dropped = max(one["dropped_so_far"] for one in counts)
    rows = counts[0]["in"] - counts[0]["failed"]
    return {"in": counts[0]["in"], "kept": rows - dropped, "dropped": dropped, "failed": counts[0]["failed"]}


def _repeat_rows(result: Result) -> list[list[str]]:
    """What dedupe steps that mark stretches of text have found, by source."""
    rows = [["step", "source", "documents", "with repeats", "repeats", "spans", "characters", "share"]]
    for name, one in result.manifests.items():
        for source, counts in sorted(one.counts.items()):
            if "repeated_chars" not in counts or not name.startswith("attributes/"):
                continue
            keys = ("seen", "touched", "repeats", "spans", "repeated_chars")
            share = counts["repeated_chars"] / max(1, counts["seen_chars"])
            own = [name.removeprefix("attributes/"), source]
            rows.append([*own, *(f"{counts[key]:,}" for key in keys), f"{share:.1%}"])
    return rows


def _duplicate_rows(result: Result) -> list[list[str]]:
    """What each dedupe step marks of each source."""
    rows = [["step: source", "documents", "removed", "share", "without a key", "most for one that stays"]]
    for name, one in result.manifests.items():
        step = name.removeprefix("attributes/")
        if "looks" not in one.record or f"dedupe/{step}" not in result.manifests:
            continue
        looks, without = one.record["looks"], result.manifests[f"dedupe/{step}"].record["without_key"]
        for source, counts in looks["sources"].items():
            most = max((star["removed"] for star in looks["largest_stars"] if star["source"] == source), default=0)
            numbers = counts["documents"], counts["removed"], without.get(source, 0)
            documents, removed, unkeyed = (f"{number:,}" for number in numbers)
            share, largest = f"{counts['share']:.1%}", f"{most:,}" if most else ""
            rows.append([f"{step}: {source}", documents, removed, share, unkeyed, largest])
    return rows


def _earlier_rows(result: Result) -> list[list[str]]:
    """Of how many documents each dedupe step has kept what was decided, and what became of the new ones."""
    told = {name: found for name, one in result.manifests.items() if (found := one.record.get(EARLIER))}
    heads = {"documents": "earlier, as they were", "new": "new", "removed": "new removed",
             "for_earlier": "for an earlier one", "by_estimate": "by estimate"}  # fmt: skip
    if not any("by_estimate" in found for found in told.values()):
        del heads["by_estimate"]
    rows = [["step", *heads.values()]]
    for name, found in told.items():
        numbers = [f"{found[key]:,}" if key in found else "" for key in heads]
        rows.append([name.removeprefix("attributes/"), *numbers])
    return rows


def _sum(manifest: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in manifest.counts.values():
        for key, value in vars(counts).items():
            if isinstance(value, int):
                total[key] = total.get(key, 0) + value
    return total


def _timings(events: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Seconds, and CPU seconds, of each stage the last time it ran."""
    readings = {reading: stage.name for stage in STAGES.values() for reading in stage.readings}
    found: dict[str, tuple[float, float]] = {}
    begun: dict[str, float] = {}
    spent: dict[str, dict[str, tuple[float, float]]] = {}
    for event in events:
        step = event["step"]
        if event["event"] == "begin":
            begun[step] = event["time"]
        elif event["event"] == "end" and step in begun:
            stage = readings.get(step.split("+")[0], step.split("/")[0])
            spent.setdefault(stage, {})[step] = (event["time"] - begun[step], event.get("cpu_seconds", 0.0))
    for stage, steps in spent.items():
        found[stage] = (sum(s for s, _ in steps.values()), sum(c for _, c in steps.values()))
    return found


def _mixes(result: Result) -> list[str]:
    """The names of the mixes, in order."""
    return [name for name, one in result.manifests.items() if one.stage == name and "plan" in one.record]


def _rule_rows(result: Result, name: str) -> list[list[str]]:
    mix, verdicts = result.manifests[name], result.manifests.get(verdicts_of(name))
    sources = sorted(mix.counts)
    configs = verdicts.record["source_config"].values() if verdicts else ()
    orders = [own.get(f"{name}.where: order", ()) for own in configs]
    rules: dict[str, None] = {}
    for names in sorted(orders, key=len, reverse=True):
        rules |= dict.fromkeys(names)
    rows = [["rule", *sources]]
    for rule in rules:
        row = [rule]
        for source in sources:
            found = mix.counts[source].get("rules", {}).get(rule)
            row.append(f"{found['first']} / {found['any']} / {found['alone']}" if found else "-")
        rows.append(row)
    return rows


BENCHMARKS_NOTE = (
    "found: items that mark a document; weak: whole items of few words, which mark none; "
    "too short: items that cannot be found"
)


def _benchmark_rows(result: Result) -> list[list[str]]:
    """What of each benchmark stands in how many documents, where this run looked."""
    rows = [["benchmark", "items", "found", "weak", "too short", "documents", "with weak items"]]
    report, marks = result.manifests.get("decontaminate"), result.manifests.get("attributes/decontaminate")
    if report is None or marks is None:
        return rows
    counts = [one["benchmarks"] for one in marks.counts.values()]
    for name, own in report.record["benchmarks"].items():
        documents = [sum(one.get(name, {}).get(key, 0) for one in counts) for key in ("documents", "weak")]
        items = [own[key] for key in ("items", "found", "weak", "unfindable")]
        rows.append([name, *(f"{number:,}" for number in (*items, *documents))])
    return rows


def _aligned_rows(result: Result, mixes: Sequence[str]) -> list[list[str]]:
    """How attributes that rules of any mix read were found to be of these documents."""
    found: dict[tuple[str, str], Mapping[str, int]] = {}
    for verdicts in (result.manifests.get(verdicts_of(mix)) for mix in mixes):
        for source, counts in verdicts.counts.items() if verdicts else ():
            found |= {(source, label): by for label, by in counts.get("aligned", {}).items()}
    rows = [["attributes", "source", "by ids", "by their number alone"]]
    for (source, label), by in sorted(found.items()):
        rows.append([label, source, f"{by.get('ids', 0):,}", f"{by.get('counts', 0):,}"])
    return rows


def _counts_tokens(result: Result, name: str) -> bool:
    """Whether a mix was counted in tokens: without a tokenizer it has none, rather than 0."""
    return any("tokens" in plan for plan in result.manifests[name].record["plan"].values())


def _source_rows(result: Result, name: str) -> list[list[str]]:
    mix = result.manifests[name]
    tokens = ["tokens"] if _counts_tokens(result, name) else []
    head = ["source", "in", "kept", "dropped", "failed", "edited", "held out", "chosen", "MB kept", *tokens, "epochs"]
    rows = [head]
    for source in sorted(mix.counts):
        one = mix.counts[source]
        plan = mix.record["plan"].get(source, {})
        rows.append(
            [
                source,
                *(
                    f"{one.get(key, 0):,}"
                    for key in ("in", "kept", "dropped", "failed", "edited", "held_out", "chosen")
                ),
                f"{one.get('bytes_kept', 0) / 1e6:,.2f}",
                *(f"{plan.get('tokens', 0):,}" for _ in tokens),
                f"{plan.get('epochs', 0):.3g}",
            ]
        )
    return rows


def _training_rows(result: Result) -> list[list[str]]:
    if not result.metrics:
        return []
    sources = sorted({source for row in result.metrics for source in row.get("loss_by_source", {})})
    rows = [["step", "tokens", "loss", *(sources if len(sources) > 1 else ()), "lr"]]
    for one in dict.fromkeys((0, len(result.metrics) - 1)):
        row = result.metrics[one]
        by_source = [row.get("loss_by_source", {}).get(source) for source in rows[0][3:-1]]
        losses = ["skipped" if loss is None else f"{loss:.4f}" for loss in (row["loss"],)]
        losses += ["-" if loss is None else f"{loss:.4f}" for loss in by_source]
        rows.append([f"{row['step']:,}", f"{row['tokens']:,}", *losses, f"{row['lr']:.2e}"])
    return rows


def _curve(result: Result) -> str:
    """The loss over all steps as a line of bars, and how many were skipped."""
    curve = curve_text([row["loss"] for row in result.metrics if row["loss"] is not None])
    skipped = sum(bool(row.get("skipped")) for row in result.metrics)
    return f"loss {curve}" + (f"; {skipped:,} steps skipped" if skipped else "") if curve else ""


def _next(result: Result) -> str:
    lines = ["what to try next"]
    for name in _mixes(result):
        mix = result.manifests[name]
        worst = max(
            ((found["alone"], rule) for one in mix.counts.values() for rule, found in one.get("rules", {}).items()),
            default=(0, ""),
        )
        if worst[0]:
            lines.append(
                f"  rule '{worst[1]}' alone drops {worst[0]:,} documents of one source: "
                f"look at them in {result.output}/{name}/dropped/"
            )
        limited = [name for name, plan in mix.record["plan"].items() if plan.get("limited")]
        if limited:
            lines.append(f"  {', '.join(limited)}: max_epochs cut the share that the weights ask for")
    if _mixes(result):
        lines.append("  change a rule in the recipe and run again with --redo: tagging is not repeated")
    if result.scores:
        lines.append(f"  scores: {result.output}/eval/; metrics: {result.output}/train/metrics.jsonl")
    elif "tokens" in result.manifests:
        lines.append("  add `train:` and `eval:` to the recipe to score these shards with a small model")
    return "\n".join(lines) if len(lines) > 1 else ""


def _lost_rows(result: Result) -> list[list[str]]:
    rows = [["shard", "file", "why"]]
    rows += [[one.shard, one.path, one.reason] for one in result.lost_files[:20]]
    if len(result.lost_files) > 20:
        rows.append([f"and {len(result.lost_files) - 20:,} more", "", ""])
    return rows
