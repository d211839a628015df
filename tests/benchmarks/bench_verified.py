"""What verified near-duplicates cost, part by part; measured by verified_once.py on texts that it makes up."""

from __future__ import annotations

from collections.abc import Iterator

import environments
from bench_run import Runs
from rows import SPEED, Row

SCRIPT = "verified_once.py"
SETS_MB, PAIRS, EDGES, MICROSECONDS = 200, 500_000, 20_000_000, 15.0


def verified(runs: Runs) -> Iterator[Row]:
    """Sets, compared pairs, edges of the election; then templates and copies from band keys to marks."""
    found = environments.measure(SCRIPT, "sets")
    speed = found["mb"] / found["cpu_s"]
    yield Row(name="verified_sets", text_mb=found["mb"], ours=speed, peer=None, peer_name="", unit=SPEED,
              at_least=SETS_MB)  # fmt: skip
    for what, least in (("pairs", PAIRS), ("edges", EDGES)):
        found = environments.measure(SCRIPT, what)
        speed = found["count"] / found["cpu_s"]
        yield Row(name=f"verified_{what}", text_mb=0, ours=speed / 1e6, peer=None, peer_name="",
                  unit="million per CPU-second", at_least=least / 1e6)  # fmt: skip
    for what in ("0.70", "0.83", "identical"):
        found = environments.measure(SCRIPT, what)
        yield Row(
            name=f"verified_{what}",
            text_mb=0,
            ours=1e6 * found["cpu_s"] / found["documents"],
            peer=None,
            peer_name="",
            unit="CPU microseconds a document",
            at_most=MICROSECONDS,
            more={name: found[name] for name in ("documents", "removed", "rounds", "pairs", "peak_mb")},
        )
