"""What the help and the command line know of a command, and the options that several of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["Make", "Look", "Extend", "Set up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option; a command declares its own beside itself, in `options`.

    Args:
        name: as typed, such as `--redo`.
        purpose: one line for the help.
        value: what follows it, as the help shows it; "" for an option that stands alone.
        choices: all values that there are; () for any.
        repeats: whether it may be given more than once.
    """

    name: str
    purpose: str
    value: str = ""
    choices: tuple[str, ...] = ()
    repeats: bool = False

    @property
    def form(self) -> str:
        """As the help shows it: `--format text|json`."""
        return f"{self.name} {self.value}".rstrip()


DRY_RUN = Option(name="--dry-run", purpose="check it all, start nothing")
REDO = Option(name="--redo", purpose="make again what was made with other settings")
ATTACH = Option(
    name="--attach", purpose="wait for a job that is at work in the folder without its launcher, then go on"
)
CANCEL = Option(name="--cancel", purpose="end a job that is at work in the folder, and do nothing else")
MODULE = Option(
    name="--module",
    value="FILE|MODULE",
    purpose="a file or module with taggers of yours; may be repeated",
    repeats=True,
)
FORMAT = Option(name="--format", purpose="of what goes to stdout", value="text|json", choices=("text", "json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Args:
        name: as typed.
        group: heading in the help.
        summary: one line.
        module: in `dolma_pipeline.cli`, or with a dot anywhere; has `main(arguments) -> Reply`.
        usage: what follows the name.
        details: paragraphs for its own help.
        example: lines for its own help.
        options: those that it takes, shared ones and its own.
        stages: what it runs, in order; () is every stage that the recipe has.
        section: key of the recipe whose keys its help shows; "" is the top.
        takes_overrides: KEY=VALUE may follow, though what it takes is not a recipe alone.
    """

    name: str
    group: Group
    summary: str
    module: str
    usage: str
    details: str
    example: str
    options: tuple[Option, ...] = ()
    stages: tuple[str, ...] = ()
    section: str | None = None
    takes_overrides: bool = False

    @property
    def takes_recipe(self) -> bool:
        """Whether RECIPE, KEY=VALUE and Beam options may follow."""
        return self.section is not None
