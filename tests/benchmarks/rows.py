"""A line of the benchmark's table, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SPEED = "MB of text per CPU-second"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Two numbers and what this toolkit promises of them.

    text_mb: 10^6 bytes of UTF-8 text that ours was measured on.
    ours, peer: in `unit`; peer is None where there is nothing to compare with.
    at_least, at_most: the promise, on `ratio` (ours over the peer's), or on `ours` where there is no peer.
    holds: False if something else that was promised does not hold, such as equal results.
    more: further numbers, such as `peer_text_mb`.
    """

    name: str
    text_mb: float
    ours: float
    peer: float | None
    peer_name: str
    unit: str = SPEED
    at_least: float | None = None
    at_most: float | None = None
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
        return self.holds and low and (self.at_most is None or value <= self.at_most)

    def as_json(self) -> dict[str, Any]:
        """The row as results.json has it."""
        names = ("name", "text_mb", "ours", "peer", "peer_name", "ratio", "unit", "at_least", "at_most", "kept")
        return {**{name: getattr(self, name) for name in names}, **self.more}


def compare(name: str, peer_name: str, ours: dict[str, Any], peer: dict[str, Any], **rest: Any) -> Row:
    """A row of speeds, out of the `mb` and `cpu_s` that two processes printed."""
    more = {"peer_text_mb": peer["mb"], **rest.pop("more", {})}
    speeds = [found["mb"] / found["cpu_s"] for found in (ours, peer)]
    return Row(name=name, text_mb=ours["mb"], ours=speeds[0], peer=speeds[1], peer_name=peer_name, more=more, **rest)


def table(rows: Sequence[Row]) -> str:
    """The rows for people; a promise that is not kept is marked."""
    lines = [f"{'':22}{'text MB':>8}{'ours':>9}{'peer':>9}{'ratio':>8}{'promised':>11}    unit; peer"]
    for row in rows:
        peer = "" if row.peer is None else f"{row.peer:.2f}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
        promised = "" if row.at_least is None else f">= {row.at_least:g}"
        promised = promised if row.at_most is None else f"<= {row.at_most:g}"
        mark = "" if row.kept else " !!"
        named = f"{row.unit}; {row.peer_name}" if row.peer_name else row.unit
        numbers = f"{row.text_mb:8.1f}{row.ours:9.2f}{peer:>9}{ratio:>8}{promised:>11}{mark:3}"
        lines.append(f"{row.name:22}{numbers} {named}")
    return "\n".join(lines)
