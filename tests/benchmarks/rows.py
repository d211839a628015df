"""A line of the benchmark's table, and the table."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SPEED = "MB of text per CPU-second"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Two numbers and what this toolkit promises of them.

    text_mb: 10^6 bytes of UTF-8 text that ours was measured on.
    ours, peer: in `unit`; peer is None where there is nothing to compare with. The peer is another tool, the program
    before, or another size of the same.
    at_least, at_most: the promise, on `ratio` (ours over the peer's), or on `ours` where there is no peer.
    at_most_ours: a promise on `ours`, whatever the peer's is.
    holds: False if something else that was promised does not hold, such as equal results.
    more: further numbers, such as `peer_text_mb`; a mapping of numbers is printed below the row.
    """

    name: str
    text_mb: float
    ours: float
    peer: float | None
    peer_name: str
    unit: str = SPEED
    at_least: float | None = None
    at_most: float | None = None
    at_most_ours: float | None = None
    holds: bool = True
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's."""
        return None if self.peer is None else self.ours / self.peer

    @property
    def kept(self) -> bool:
        """Whether the promise is kept."""
        value = self.ours if self.ratio is None else self.ratio
        low = self.at_least is None or value >= self.at_least
        high = self.at_most is None or value <= self.at_most
        return self.holds and low and high and (self.at_most_ours is None or self.ours <= self.at_most_ours)

    @property
    def promised(self) -> str:
        """The promise; `x` stands for a ratio."""
        of = "" if self.ratio is None else "x"
        wishes = ((">=", self.at_least, of), ("<=", self.at_most, of), ("<=", self.at_most_ours, ""))
        return ", ".join(f"{sign} {value:g}{unit}" for sign, value, unit in wishes if value is not None)

    def as_json(self) -> dict[str, Any]:
        """The row as results.json has it."""
        names = ["name", "text_mb", "ours", "peer", "peer_name", "ratio", "unit", "at_least", "at_most", "kept"]
        more = {} if self.at_most_ours is None else {"at_most_ours": self.at_most_ours}
        return {**{name: getattr(self, name) for name in names}, **more, **self.more}


def compare(name: str, peer_name: str, ours: dict[str, Any], peer: dict[str, Any], **rest: Any) -> Row:
    """A row of speeds, out of the `mb` and `cpu_s` that two processes printed."""
    more = {"peer_text_mb": peer["mb"], **rest.pop("more", {})}
    speeds = [found["mb"] / found["cpu_s"] for found in (ours, peer)]
    return Row(name=name, text_mb=ours["mb"], ours=speeds[0], peer=speeds[1], peer_name=peer_name, more=more, **rest)


HEADER = f"{'':22}{'text MB':>8}{'ours':>9}{'peer':>9}{'ratio':>8}{'promised':>11}    unit; peer"


def line(row: Row) -> str:
    """A row for people; a promise that is not kept is marked."""
    peer = "" if row.peer is None else f"{row.peer:.2f}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    mark = "" if row.kept else " !!"
    named = f"{row.unit}; {row.peer_name}" if row.peer_name else row.unit
    numbers = f"{row.text_mb:8.1f}{row.ours:9.2f}{peer:>9}{ratio:>8}{row.promised:>11}{mark:3}"
    return f"{row.name:22}{numbers} {named}"


def details(row: Row) -> list[str]:
    """What is known beside a row's two numbers, a line or more for each mapping of numbers, one for the rest."""
    found = []
    plain = {name: value for name, value in row.more.items() if isinstance(value, (int, float)) and value is not True}
    groups = {"": plain, **{name: value for name, value in row.more.items() if isinstance(value, Mapping)}}
    for name, numbers in groups.items():
        if numbers:
            text = ", ".join(
                f"{key} {value:,.2f}" if value % 1 else f"{key} {value:,.0f}" for key, value in numbers.items()
            )
            found += textwrap.wrap(
                f"{name}: {text}" if name else text, 116, initial_indent="    ", subsequent_indent=" " * 8
            )
    return found


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    return "\n".join([HEADER, *map(line, rows)])
