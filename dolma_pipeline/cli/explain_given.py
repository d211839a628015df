"""`explain -`: what taggers say of the text on standard input, with its spans marked."""

from __future__ import annotations

import json
import os
import sys

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.registry import declared_by, install_modules, load_tagger, read_modules, tagger_specs
from dolma_pipeline.tagging import LoadedTagger

WIDTH = 100
"""Of a line where stdout is no terminal."""


def main(arguments: Arguments) -> Reply:
    """Explain a text.

    Raises:
        UsageError: no tagger, KEY=VALUE, or a tagger or module that cannot be had.
        DataError: what comes in is not UTF-8.
    """
    from dolma_pipeline.look.given_text import explain_given, given_text

    if arguments.overrides:
        raise UsageError(
            f"'explain -' reads no recipe, so '{arguments.overrides[0]}' sets nothing; parameters stand with their "
            "tagger: --tagger '{tagger: pii_v1, phone_regions: [DE]}'"
        )
    taggers = _taggers(arguments)
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"standard input is not a text in UTF-8: {error}") from error
    given = explain_given(text, taggers)
    if arguments.format == "json":
        return Reply(json.dumps(given.record(), indent=2, ensure_ascii=False) + "\n")
    terminal = sys.stdout.isatty()
    width = os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH if terminal else WIDTH
    return Reply(given_text(given, width=width, full="--full" in arguments.flags, colours=terminal))


def _taggers(arguments: Arguments) -> list[LoadedTagger]:
    """Those that were named, or else all of the modules that were."""
    modules = read_modules(arguments.values.get("--module", ()))
    install_modules(modules)
    if names := arguments.values.get("--tagger", ()):
        return [_tagger(name) for name in names]
    names = tuple(spec.name for spec in tagger_specs() if declared_by(spec.module, modules))
    if not names:
        raise UsageError(
            "'explain -' needs taggers: dolma-pipeline explain - --tagger gopher_v1 --tagger pii_v1 < page.txt "
            "('dolma-pipeline list taggers' shows them)"
        )
    return [load_tagger(name) for name in names]


def _tagger(given: str) -> LoadedTagger:
    """A tagger as a recipe has it: its name, or `{tagger: T, name: N, PARAMETER: VALUE}`."""
    from dolma_pipeline.config.yaml import parse_value, plain

    value = plain(parse_value(given, f"--tagger '{given}'"))
    if isinstance(value, str):
        return load_tagger(value)
    if not isinstance(value, dict) or not isinstance(value.get("tagger"), str):
        raise UsageError(
            f"--tagger takes a name or a mapping with the key 'tagger', as '{{tagger: pii_v1, phone_regions: [DE]}}'; "
            f"found '{given}'"
        )
    name, label = value.pop("tagger"), value.pop("name", None)
    return load_tagger(name, **value).named(label or name)
