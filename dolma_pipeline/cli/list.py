"""`list taggers|mixers|models|assets|presets|tasks`: what there is, what it does, its parameters, its origin.

`list taggers --measure` takes half a second of CPU a tagger, and what their models take to load.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import AssetError, DolmaError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from dolma_pipeline.tagging import TaggerSpec

Record = dict[str, Any]


def main(arguments: Arguments) -> Reply:
    """Show one kind of thing.

    Raises:
        UsageError: not exactly one kind was named.
        UnknownNameError: there is no such kind.
    """
    if len(arguments.words) != 1:
        raise UsageError(f"'list' takes one of {', '.join(KINDS)}; found {len(arguments.words)}")
    kind = arguments.words[0]
    if kind not in KINDS:
        raise UnknownNameError("list", kind, KINDS)
    for option in sorted({"--measure"} & arguments.flags | arguments.values.keys()):
        if kind != "taggers":
            raise UsageError(f"{option} is for 'list taggers'")
    if modules := arguments.values.get("--module", ()):
        from dolma_pipeline.registry import install_modules, read_modules

        install_modules(read_modules(modules))
    records = taggers(measure=True) if "--measure" in arguments.flags else KINDS[kind]()
    if arguments.format == "json":
        return Reply(json.dumps(records, indent=2, ensure_ascii=False, default=str) + "\n")
    return Reply("".join(_shown(record) for record in records))


def taggers(*, measure: bool = False) -> list[Record]:
    """Every tagger: name, summary, fields with types, parameters with defaults, origin, paper.

    Args:
        measure: also `speed`, in MB of made-up text per CPU-second, or why it cannot be told.
    """
    from dolma_pipeline.registry import origin_of, tagger_specs

    records, texts = [], []
    if measure:
        from dolma_pipeline.look.speed import sample_batch

        texts = sample_batch()
    for spec in tagger_specs():
        record: Record = {"name": spec.name, "summary": spec.summary}
        record |= _about(spec, texts)
        record |= {"parameters": dict(spec.parameters), "origin": origin_of(spec), "paper": spec.paper}
        records.append(record)
    return records


def _about(spec: TaggerSpec, texts: list[str]) -> Record:
    """Fields of a tagger with its defaults; with texts, also its speed. What cannot be told is told as `needs`."""
    from dolma_pipeline.registry import load_tagger

    try:
        tagger = load_tagger(spec.name)
        fields = {field: _type_name(kind) for field, kind in tagger.fields.items()}
    except UsageError as error:  # such as a model that has no default
        return {"fields": {}, "needs": str(error)}
    if not texts:
        return {"fields": fields}
    from dolma_pipeline.look.speed import megabytes_per_second

    try:
        speed = megabytes_per_second(tagger, texts)
    except DolmaError as error:
        return {"fields": fields, "needs": str(error)}
    return {"fields": fields, "MB/s": float(f"{speed:.3g}")}


def mixers() -> list[Record]:
    """Every mixer: name, summary, parameters with defaults."""
    from dolma_pipeline.mixing import MIXERS
    from dolma_pipeline.registry import mixer_names

    specs = [MIXERS[name] for name in mixer_names()]
    return [{"name": spec.name, "summary": spec.summary, "parameters": dict(spec.parameters)} for spec in specs]


def models() -> list[Record]:
    """Every named size of model, with its parameters at the vocabulary that it was made for."""
    from dolma_pipeline.train import MODELS, USUAL_VOCABULARY, model_config

    records = []
    for spec in MODELS.values():
        for name, shape in spec.presets.items():
            vocab_size = spec.vocabularies.get(name, USUAL_VOCABULARY)
            count = model_config(name, vocab_size=vocab_size, sequence_length=2048).num_parameters
            summary = f"{count / 1e6:,.1f} million parameters at a vocabulary of {vocab_size:,}"
            records.append({"name": name, "summary": summary, "num_parameters": count, "shape": dict(shape)})
    return records


def assets() -> list[Record]:
    """Every asset: name, purpose, licence, size, hash, and where it is once it was fetched."""
    from dolma_pipeline.assets import ASSETS

    return [
        {
            "name": known.name,
            "summary": known.purpose,
            "licence": known.licence,
            "num_bytes": known.num_bytes,
            "sha256": known.sha256,
            "path": _path(known.name),
        }
        for known in ASSETS.values()
    ]


def tasks() -> list[Record]:
    """Every kind of tasks with its metrics and keys, then every named task: summary, where it comes from, its keys."""
    from dolma_pipeline.evals.kinds import KINDS
    from dolma_pipeline.evals.named import NAMED

    kinds = [
        {"name": f"kind: {name}", "summary": kind.summary, "metrics": [*kind.metrics], "keys": sorted(kind.keys)}
        for name, kind in KINDS.items()
    ]
    named = [
        {"name": name, "summary": task.summary, "source": task.source, "keys": dict(task.keys)}
        for name, task in NAMED.items()
    ]
    return [*kinds, *named]


def presets() -> list[Record]:
    """Every preset of rules that has a name: summary, papers, taggers, rules with what each asks or does, file."""
    from dolma_pipeline.config.presets import preset_names, read_preset

    records = []
    for preset in map(read_preset, preset_names()):
        config = preset.config
        records.append(
            {
                "name": preset.name,
                "summary": config.summary,
                "papers": list(config.papers),
                "taggers": [use.name for use in config.taggers],
                "where": {preset.full(rule): sql for rule, sql in config.where.items()},
                "remove": {preset.full(rule): list(spans) for rule, spans in config.remove.items()},
                "replace": {preset.full(rule): [one.spans, one.with_] for rule, one in config.replace.items()},
                "file": preset.path,
            }
        )
    return records


KINDS: Mapping[str, Callable[[], list[Record]]] = {
    "taggers": taggers,
    "mixers": mixers,
    "models": models,
    "assets": assets,
    "presets": presets,
    "tasks": tasks,
}


def _path(name: str) -> str:
    from dolma_pipeline.assets import asset

    try:
        return str(asset(name))
    except AssetError:
        return ""


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__origin__") else "spans"


def _shown(record: Record) -> str:
    """A record as text: the name, then what it does, then what else is known, wrapped."""
    lines = [record["name"], f"    {record['summary']}"]
    for key, value in record.items():
        if key in ("name", "summary") or value in ("", {}, []):
            continue
        if key in ("where", "remove", "replace"):  # rules: one a line
            for rule, does in value.items():
                lines += textwrap.wrap(
                    f"{key:<7} {rule}: {_plain(does)}", 108, initial_indent="    ", subsequent_indent=" " * 16
                )
            continue
        if isinstance(value, Mapping):
            sign = " " if key == "fields" else "="
            text = ", ".join(f"{name}{sign}{_plain(inner)}" for name, inner in value.items())
        else:
            text = (
                f"{value:,}" if isinstance(value, int) else "; ".join(value) if isinstance(value, list) else str(value)
            )
        wrapped = textwrap.wrap(text, 96, break_long_words=False, break_on_hyphens=False)
        lines += [f"    {key if i == 0 else '':<14}  {line}" for i, line in enumerate(wrapped)]
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_plain(inner) for inner in value) + "]"
    if isinstance(value, str) and (value != value.strip() or "\n" in value):
        return json.dumps(value, ensure_ascii=False)
    return "none" if value is None else str(value)
