"""Deduplication, files to columns, against the tools that people use for it.

Ours are whole runs of one dedupe step: reading, index, and all that is written. Dolma's deduper reads the same file,
compressed, and datatrove's four stages are handed their documents in memory. They do less: Dolma's filter keeps what
comes first of equal texts or lines, datatrove removes what equal bands connect, and compares nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import environments
from rows import Row, compare

GOALS = {"exact_documents": 1.5, "repeated_lines": 5.0, "repeated_runs": 50.0}
"""Aimed at, and not reached on a busy machine; docs/deduplication.md says what bounds it."""

Peer = Callable[..., dict[str, Any]]

PUBLIC_CLUSTER = 16.0
"""MB a CPU-second of a public pipeline on a cluster, for all of its near-duplicates: a figure to stand beside ours."""


def near(small: Path, large: Path, peer: Peer) -> list[Row]:
    """MinHash with verification, text to keep flags."""
    ours, theirs = ours_on("minhash", large), peer("datatrove", "datatrove_dedup.py", small)
    more = {"a_public_cluster_pipeline": PUBLIC_CLUSTER}
    return [compare("near_duplicates", "datatrove 0.10.1, four stages", ours, theirs, at_least=100, more=more)]


def documents(large: Path, peer: Peer) -> list[Row]:
    """Equal documents."""
    ours, theirs = ours_on("exact", large), peer("dolma", "dolma_dedupe.py", "documents", large)
    return [
        compare(
            "exact_documents", "dolma 1.2.1 dedupe documents", ours, theirs, at_least=1.1, more=_goal("exact_documents")
        )
    ]


def repeats(large: Path, peer: Peer) -> list[Row]:
    """Equal lines, and runs of words that stand twice."""
    lines, theirs = ours_on("paragraphs", large), peer("dolma", "dolma_dedupe.py", "paragraphs", large)
    runs = ours_on("substring", large)
    return [
        compare(
            "repeated_lines",
            "dolma 1.2.1 dedupe paragraphs",
            lines,
            theirs,
            at_least=2.2,
            more=_goal("repeated_lines"),
        ),
        Row(
            name="repeated_runs",
            text_mb=runs["mb"],
            ours=runs["mb"] / runs["cpu_s"],
            peer=None,
            peer_name="",
            at_least=40,
            more=_goal("repeated_runs"),
        ),
    ]


def _goal(name: str) -> dict[str, float]:
    return {"goal": GOALS[name]}


def ours_on(kind: str, sample: Path) -> Mapping[str, Any]:
    """A run of one step."""
    return environments.measure("dedupe_once.py", kind, sample)
