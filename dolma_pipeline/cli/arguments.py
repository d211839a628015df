"""What was typed, taken apart: command, positionals, KEY=VALUE, options anywhere, Beam options after `--`.

By hand rather than with argparse: options and overrides may stand anywhere, a wrong name gets the nearest one, and
starting costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from dolma_pipeline.cli.command import FORMAT, Command, Option
from dolma_pipeline.cli.commands import COMMANDS
from dolma_pipeline.errors import UnknownNameError, UsageError

FLAGS = {
    "-h": "--help",
    "--help": "--help",
    "-v": "--verbose",
    "--verbose": "--verbose",
    "-q": "--quiet",
    "--quiet": "--quiet",
    "--version": "--version",
}
"""What every call takes: as typed -> long form."""

_OVERRIDE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*=.*", re.DOTALL)


class Reply(NamedTuple):
    """What a command gives back: the text for stdout (ending in a newline, or empty) and the exit code."""

    text: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """One call of the program.

    Args:
        command: None with --help or --version alone.
        words: what is neither an option nor KEY=VALUE: the recipe, names.
        overrides: the KEY=VALUE, in order.
        flags: long forms of options that stand alone, such as `--redo`.
        values: of options that something follows, in the order given, by the option's name.
        format: of what goes to stdout.
        beam_options: all after `--`.
    """

    command: Command | None
    words: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    format: Literal["text", "json"] = "text"
    beam_options: tuple[str, ...] = ()


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Take the arguments apart and check that the command takes them.

    Raises:
        UsageError: an unknown command or option, or one that does not belong here; says what is near.
    """
    before, after = _split(argv)
    words: list[str] = []
    overrides: list[str] = []
    flags: set[str] = set()
    values: dict[str, tuple[str, ...]] = {}
    given: list[str] = []
    options = _options(before)
    rest = iter(before)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument in FLAGS:
            flags.add(FLAGS[argument])
        elif argument.startswith("-") and argument != "-":
            option = options.get(name)
            if option is None or (equals and not option.value):
                raise UnknownNameError("option", argument, [*FLAGS, *options])
            given.append(name)
            if option.value:
                values[name] = (*values.get(name, ()), _value(option, value if equals else None, rest))
            else:
                flags.add(name)
        elif words and _OVERRIDE.fullmatch(argument):
            overrides.append(argument)
        else:
            words.append(argument)
    if {"--verbose", "--quiet"} <= flags:
        raise UsageError("found both -v and -q; give one of them")
    command = _command(words[0]) if words else None
    formats = values.pop(FORMAT.name, ("text",)) if options.get(FORMAT.name) is FORMAT else ("text",)
    parsed = Arguments(
        command=command,
        words=tuple(words[1:]),
        overrides=tuple(overrides),
        flags=frozenset(flags),
        values=values,
        format="json" if formats[-1] == "json" else "text",
        beam_options=after,
    )
    if command is not None and not flags & {"--help", "--version"}:
        _check(parsed, command, given)
    return parsed


def _options(before: Sequence[str]) -> dict[str, Option]:
    """All options by name, those of the command that was named first: commands may share a name."""
    options = {option.name: option for command in COMMANDS.values() for option in command.options}
    named = next((COMMANDS[argument] for argument in before if argument in COMMANDS), None)
    return options | {option.name: option for option in (named.options if named else ())}


def _value(option: Option, value: str | None, rest: Iterator[str]) -> str:
    """What follows an option, behind `=` or as the next argument."""
    given = next(rest, "") if value is None else value
    if option.choices and given not in option.choices:
        raise UsageError(f"{option.name} takes {' or '.join(option.choices)}, found '{given}'")
    if not given:
        raise UsageError(f"nothing follows {option.name}; it takes {option.value}: {option.purpose}")
    return given


def _split(argv: Sequence[str]) -> tuple[Sequence[str], tuple[str, ...]]:
    if "--" not in argv:
        return argv, ()
    at = list(argv).index("--")
    return argv[:at], tuple(argv[at + 1 :])


def _command(name: str) -> Command:
    if name in COMMANDS:
        return COMMANDS[name]
    if name.endswith((".yaml", ".yml")):
        raise UsageError(f"'{name}' is a recipe, and a command comes first: dolma-pipeline run {name}")
    raise UnknownNameError("command", name, COMMANDS, hint="'dolma-pipeline --help' shows them all.")


def _check(parsed: Arguments, command: Command, given: Sequence[str]) -> None:
    """The command must take these options, and what else was typed."""
    takes = {option.name: option for option in command.options}
    for name in given:
        if name not in takes:
            raise UsageError(f"'{command.name}' has no option {name}; of these it takes {', '.join(takes) or 'none'}")
    for name, values in parsed.values.items():
        if len(values) > 1 and not takes[name].repeats:
            raise UsageError(f"{name} was given {len(values)} times; it is given once")
    if not command.takes_recipe:
        if parsed.overrides and not command.takes_overrides:
            raise UsageError(f"'{command.name}' takes no KEY=VALUE, found '{parsed.overrides[0]}'")
        if parsed.beam_options:
            raise UsageError(f"'{command.name}' takes no Beam options after '--'")
        return
    if not parsed.words:
        raise UsageError(f"'{command.name}' needs a recipe: dolma-pipeline {command.name} pipelines/quickstart.yaml")
    if len(parsed.words) > 1:
        extra = parsed.words[1]
        raise UsageError(f"found '{extra}' after the recipe '{parsed.words[0]}'; settings are KEY=VALUE without spaces")
