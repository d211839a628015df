"""What every peer's script shares: read the texts, take the CPU time, print one JSON line. No imports but Python's."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable


def read_texts() -> list[str]:
    """The texts of the JSON lines file that is the first argument."""
    with open(sys.argv[1], encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def megabytes(texts: Iterable[str]) -> float:
    """10^6 bytes of UTF-8."""
    return sum(len(text.encode()) for text in texts) / 1e6


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process, all its threads, for one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def report(mb: float, cpu_s: float, **more: object) -> None:
    """One JSON line on stdout: the last line is what the benchmark reads."""
    print(json.dumps({"mb": mb, "cpu_s": cpu_s, **more}))
