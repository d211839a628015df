"""`check MODULE|TAGGER [NAME ...] [PARAMETER=VALUE ...]`: puts taggers to the test (`testing.check_tagger`).

Each is run on awkward documents, whole, in slices, in reverse, one by one, and in another process from another folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import TaggerError, UnknownNameError, UsageError
from dolma_pipeline.registry import (
    UserModule,
    declared_by,
    install_modules,
    is_file,
    load_tagger,
    read_modules,
    tagger_specs,
)


class Outcome(NamedTuple):
    """A tagger, and the first promise that it breaks; "" if it keeps all."""

    tagger: str
    broken: str


def main(arguments: Arguments) -> Reply:
    """Test taggers; exit code 1 if one of them breaks a promise.

    Raises:
        UsageError: nothing to test, parameters for several taggers, or a module that cannot be read.
        UnknownNameError: no such tagger or parameter.
        TaggerError: a module that does not run; names file and line.
        AssetError: a model that a tagger needs is not here.
    """
    if not arguments.words:
        raise UsageError("'check' needs a file, a module or a tagger: dolma-pipeline check my_taggers.py")
    names, modules = named(arguments.words)
    parameters = _parameters(arguments.overrides)
    if parameters and len(names) != 1:
        raise UsageError(
            f"parameters are for one tagger, and there are {len(names)}: {', '.join(names)}. Name one: "
            f"dolma-pipeline check {arguments.words[0]} {names[0]} {arguments.overrides[0]}"
        )
    if parameters:
        load_tagger(names[0], **parameters)  # what does not fit was typed wrong: no promise is broken
    outcomes = [Outcome(name, _broken(name, parameters)) for name in names]
    outcomes = _elsewhere(outcomes, parameters, modules)
    code = int(any(one.broken for one in outcomes))
    if arguments.format == "json":
        records = [{"tagger": one.tagger, "keeps_promises": not one.broken, "broken": one.broken} for one in outcomes]
        return Reply(json.dumps(records, indent=2, ensure_ascii=False) + "\n", code)
    lines = []
    for one in outcomes:
        what = one.broken.removeprefix(f"tagger '{one.tagger}'").removeprefix(":").lstrip()
        lines.append(f"{one.tagger}  {f'breaks a promise: {what}' if what else 'ok'}\n")
    return Reply("".join(lines), code)


def named(words: Sequence[str]) -> tuple[list[str], tuple[UserModule, ...]]:
    """The taggers that were named, and the modules that were loaded for them.

    Args:
        words: a file or module, maybe with names of its taggers; or names of taggers.

    Raises:
        UsageError: as `main`.
    """
    target, *rest = words
    if not is_file(target) and target in {spec.name for spec in tagger_specs()}:
        return list(words), ()
    try:
        modules = read_modules([target])
    except UsageError as error:
        if is_file(target):
            raise
        known = [spec.name for spec in tagger_specs()]
        hint = f"Nor is it a module: {error}"
        raise UnknownNameError("tagger", target, known, hint=hint) from error
    install_modules(modules)
    declared = [spec.name for spec in tagger_specs() if declared_by(spec.module, modules)]
    if not declared:
        raise UsageError(f"{target} declares no tagger; one begins with @dp.tagger(…), see docs/taggers.md")
    for name in rest:
        if name not in declared:
            raise UnknownNameError(f"tagger of {target}", name, declared)
    return rest or declared, modules


def _parameters(overrides: Sequence[str]) -> dict[str, Any]:
    from dolma_pipeline.config.yaml import parse_value, plain

    pairs = (override.partition("=") for override in overrides)
    return {name: plain(parse_value(value, f"'{name}={value}'")) for name, _, value in pairs}


def _broken(name: str, parameters: Mapping[str, Any]) -> str:
    """The first promise that a tagger breaks; "" for none."""
    from dolma_pipeline.testing import check_tagger

    try:
        check_tagger(name, **parameters)
    except TaggerError as error:
        return str(error)
    return ""


def _elsewhere(
    outcomes: Sequence[Outcome], parameters: Mapping[str, Any], modules: Sequence[UserModule]
) -> list[Outcome]:
    """The same, with what goes wrong in another process of those that were good so far."""
    from dolma_pipeline.look.elsewhere import check_elsewhere

    good = [one.tagger for one in outcomes if not one.broken]
    if not good:
        return list(outcomes)
    wrong = check_elsewhere([(name, parameters) for name in good], modules)
    return [Outcome(one.tagger, one.broken or wrong[one.tagger]) for one in outcomes]
