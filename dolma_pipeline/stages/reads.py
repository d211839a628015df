"""What artifacts depend on, in the words of the recipe: keys and values for all sources, and for one alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dolma_pipeline.config.recipe import MixSourceConfig, ReplaceConfig
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.run.columns import given_columns
from dolma_pipeline.run.given import given_place, given_size
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import listed
from dolma_pipeline.stages.pseudonyms import key_of
from dolma_pipeline.stages.rules import MIN_CHARS, mix_config, rule_keys, used_sources, where_of


def rule_reads(
    process: Process, names: Mapping[str, Sequence[str]], mix: str = "mix"
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What these rules of a mix are in the words of the recipe: for all sources, and for one alone.

    Their order is among it: answers are kept as bits, which rules share by their places.

    Args:
        names: source -> rules of it, in order. mix: the name of the mix, with which keys begin.
    """
    config = mix_config(process.run.recipe, mix)
    reads: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {}
    for source, rules in names.items():
        keys, where = rule_keys(config, source, section=mix), where_of(config, source, section=mix)
        settings = config.sources.get(source, MixSourceConfig())
        own.setdefault(source, {})[f"{mix}.where: order"] = list(rules)
        for rule in rules:
            if rule == MIN_CHARS:
                own.setdefault(source, {})[f"{mix}.sources.{source}.min_chars"] = settings.min_chars
            elif keys[rule].startswith(f"{mix}.where"):
                reads[f"{mix}.where.{rule}" if keys[rule] != f"{mix}.where" else f"{mix}.where: {rule}"] = where[rule]
            else:
                own.setdefault(source, {})[f"{mix}.sources.{source}.where.{rule}"] = where[rule]
        if settings.skip_rules:
            own.setdefault(source, {})[f"{mix}.sources.{source}.skip_rules"] = sorted(settings.skip_rules)
    return reads, own


def edit_reads(
    process: Process, mix: str = "mix", *, section: str = ""
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The edits of a mix in the words of the recipe: for all sources, and for one alone.

    Args:
        section: with which keys begin; default the name of the mix.
    """
    config, section = mix_config(process.run.recipe, mix), section or mix
    edits = _replaced(process, config.replace, f"{mix}.replace")
    reads: dict[str, Any] = {f"{section}.replace": edits} if edits else {}
    own: dict[str, dict[str, Any]] = {}
    for name, one in config.sources.items():
        replaced = _replaced(process, one.replace, f"{mix}.sources.{name}.replace")
        for key, value in (("remove", list(one.remove)), ("replace", replaced)):
            if value:
                own.setdefault(name, {})[f"{section}.sources.{name}.{key}"] = value
    return reads, own


def _replaced(process: Process, replace: Sequence[ReplaceConfig], place: str) -> list[dict[str, Any]]:
    edits = []
    for number, one in enumerate(replace):
        key = key_of(process, one, f"{place}.{number}")
        edit: dict[str, Any] = {"spans": one.spans, "with": one.with_, **one.bounds}
        edits.append(edit if key is None else {**edit, "key": key.mark})
    return edits


def given_reads(process: Process, columns: Collection[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The attribute files that sources bring along, where some of these columns are in them: by name and size."""
    own: dict[str, dict[str, Any]] = {}
    for source in used_sources(process):
        if set(given_columns(process, source)) & set(columns):
            own[source] = {f"sources.{source}.attributes": _given_files(process, source)}
    return {}, own


def _given_files(process: Process, source: str) -> str:
    """A digest of the names and sizes of the attribute files that a source brings along; looked at once a process."""

    def look() -> str:
        folders = process.run.recipe.sources[source].attributes
        shards = [shard for shard in listed(process.run) if shard.source == source]
        files = [given_size(process, f, given_place(process, f, shard)) for f in folders for shard in shards]
        return digest([[name, size] for name, size in files])

    return process.kept(("given files", source), look)


def united(
    *parts: tuple[dict[str, Any], dict[str, dict[str, Any]]],
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Several `(for all, for one source)` as one."""
    reads: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {}
    for for_all, for_one in parts:
        reads |= for_all
        for source, found in for_one.items():
            own.setdefault(source, {}).update(found)
    return reads, own
