"""What was typed, taken apart: command, positionals, KEY=VALUE, options anywhere, Beam options after `--`.

By hand rather than with argparse: options and overrides may stand anywhere, a wrong name gets the nearest one, and
starting costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dolma_pipeline.cli.commands import COMMANDS, Command
from dolma_pipeline.errors import UnknownNameError, UsageError

FLAGS = {
    "-h": "--help",
    "--help": "--help",
    "-v": "--verbose",
    "--verbose": "--verbose",
    "-q": "--quiet",
    "--quiet": "--quiet",
    "--version": "--version",
    "--dry-run": "--dry-run",
    "--redo": "--redo",
}
"""As typed -> long form; `--format` is the only option with a value."""

FORMATS = ("text", "json")
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
        flags: long forms, such as `--redo`.
        format: of what goes to stdout.
        beam_options: all after `--`.
    """

    command: Command | None
    words: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()
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
    format: Literal["text", "json"] | None = None
    rest = iter(before)
    for argument in rest:
        if argument in FLAGS:
            flags.add(FLAGS[argument])
        elif argument == "--format" or argument.startswith("--format="):
            format = _format(argument[9:] if "=" in argument else next(rest, ""))
        elif argument.startswith("-") and argument != "-":
            raise UnknownNameError("option", argument, [*FLAGS, "--format"])
        elif words and _OVERRIDE.fullmatch(argument):
            overrides.append(argument)
        else:
            words.append(argument)
    if {"--verbose", "--quiet"} <= flags:
        raise UsageError("found both -v and -q; give one of them")
    command = _command(words[0]) if words else None
    parsed = Arguments(
        command=command,
        words=tuple(words[1:]),
        overrides=tuple(overrides),
        flags=frozenset(flags),
        format=format or "text",
        beam_options=after,
    )
    if command is not None and not flags & {"--help", "--version"}:
        _check(parsed, command, format_given=format is not None)
    return parsed


def _split(argv: Sequence[str]) -> tuple[Sequence[str], tuple[str, ...]]:
    if "--" not in argv:
        return argv, ()
    at = list(argv).index("--")
    return argv[:at], tuple(argv[at + 1 :])


def _format(value: str) -> Literal["text", "json"]:
    if value == "text":
        return "text"
    if value == "json":
        return "json"
    raise UsageError(f"--format takes {' or '.join(FORMATS)}, found '{value}'")


def _command(name: str) -> Command:
    if name in COMMANDS:
        return COMMANDS[name]
    if name.endswith((".yaml", ".yml")):
        raise UsageError(f"'{name}' is a recipe, and a command comes first: dolma-pipeline run {name}")
    raise UnknownNameError("command", name, COMMANDS, hint="'dolma-pipeline --help' shows them all.")


def _check(parsed: Arguments, command: Command, *, format_given: bool) -> None:
    given = [flag for flag in ("--dry-run", "--redo") if flag in parsed.flags] + ["--format"] * format_given
    for option in given:
        if option not in command.options:
            takes = ", ".join(command.options) or "none"
            raise UsageError(f"'{command.name}' has no option {option}; of these it takes {takes}")
    if not command.takes_recipe:
        if parsed.overrides:
            raise UsageError(f"'{command.name}' takes no KEY=VALUE, found '{parsed.overrides[0]}'")
        if parsed.beam_options:
            raise UsageError(f"'{command.name}' takes no Beam options after '--'")
        return
    if not parsed.words:
        raise UsageError(f"'{command.name}' needs a recipe: dolma-pipeline {command.name} pipelines/quickstart.yaml")
    if len(parsed.words) > 1:
        extra = parsed.words[1]
        raise UsageError(f"found '{extra}' after the recipe '{parsed.words[0]}'; settings are KEY=VALUE without spaces")
