"""Compiles kernels once, before anyone waits for them; afterwards each process loads the machine code from disk.

`ensure` is what a run calls: it compiles what is named and not compiled yet, in processes of its own, and says so.
`warm` compiles or loads in this process. Where there is one kernel or more in a module, the module has
`warm() -> None`, which calls its kernels with the types that they run with; `KERNELS` names the modules.
Cost: some 5 ms where all is compiled; else some 23 s of CPU for all kernels, in 13 s on two cores.
"""

from __future__ import annotations

import importlib
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from dolma_pipeline.errors import RunError, UnknownNameError
from dolma_pipeline.kernels.compiled import Compiled

KERNELS: Mapping[str, float] = {
    "bitmaps": 1.5,
    "words": 2.1,
    "lines": 0.8,
    "spans": 0.3,
    "gopher": 2.1,
    "repetition": 1.1,
    "dolma_gopher": 2.0,
    "c4": 1.0,
    "citations": 0.8,
    "fineweb": 0.6,
    "refinedweb": 1.2,
    "sentences": 1.2,
    "components": 0.3,
    "sorting": 0.8,
    "edit": 2.4,
    "fasttext": 7.0,
    "wordlike": 1.0,
    "minhash": 1.3,
    "sets": 1.0,
    "folded": 0.7,
    "runs": 1.2,
    "periodic": 1.5,
    "characters": 1.5,
    "lz4_size": 0.6,
    "phrases": 0.7,
    "comments": 1.2,
    "code_counts": 1.0,
    "encoded": 1.5,
    "html_text": 1.0,
    "units": 0.6,
    "ngrams": 3.5,
    "byte_ngrams": 1.5,
    "json_lines": 3.9,
    "scan": 5.0,
}
"""Modules of this package that have kernels, and how long one core compiles them, in seconds (Xeon, 2.6 GHz)."""

_START_SECONDS = 1.2
"""What a process takes before it compiles: Python, numba, and its first kernel."""
_HOME = Path(__file__).resolve().parents[2]


def warm(names: Iterable[str] = KERNELS) -> None:
    """Compiles kernels in this process, or loads them from disk.

    Args:
        names: of `KERNELS`.

    Raises:
        UnknownNameError: there is no kernel of a name.
    """
    for name in checked(names):
        importlib.import_module(f"dolma_pipeline.kernels.{name}").warm()


def ensure(
    names: Iterable[str] = KERNELS, *, say: Callable[[str], None] | None = None, processes: int | None = None
) -> None:
    """Sees to it that kernels are compiled and stored, so that no process compiles them later.

    To be called by whoever starts a run, before it starts workers; from several processes at once, if need be: one
    compiles, the others wait for it. Nothing is loaded here, and nothing is said where all is compiled. What was
    compiled from other sources than those that are here now is removed first: numba itself does not see that a
    function of another file has changed.

    Args:
        names: of `KERNELS`; those that are not compiled here are compiled at first use, by each process.
        say: gets a line when it begins, and one for each kernel that is done.
        processes: how many compile; default one a core, at most 4.

    Raises:
        UnknownNameError: there is no kernel of a name.
        UsageError: numba's files are out of date, and belong to someone else.
        RunError: a process that compiles has failed.
    """
    wanted = checked(names)
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return
    compiled = Compiled()
    if not compiled.missing(wanted):
        return
    tell = say or (lambda line: None)
    with compiled.locked(wait=lambda: tell("another process compiles kernels: waiting for it")):
        compiled.remove_stale()
        missing = compiled.missing(wanted)
        if missing:
            _compile(missing, compiled, tell, processes or min(4, os.cpu_count() or 1))


def is_ready(names: Iterable[str] = KERNELS) -> bool:
    """Whether `ensure` would have nothing to do; some milliseconds.

    Raises:
        UnknownNameError: there is no kernel of a name.
    """
    return not Compiled().missing(checked(names))


def checked(names: Iterable[str]) -> list[str]:
    """The names, each once, in the order of `KERNELS`.

    Raises:
        UnknownNameError: one of them is not there.
    """
    given = set(names)
    for name in sorted(given - KERNELS.keys()):
        raise UnknownNameError("kernel", name, KERNELS)
    return [name for name in KERNELS if name in given]


def shares(names: Sequence[str], processes: int) -> list[list[str]]:
    """Kernels in up to `processes` lists that take about equally long; in each the longest first."""
    lists: list[list[str]] = [[] for _ in range(min(processes, len(names)))]
    for name in sorted(names, key=lambda name: (-KERNELS[name], name)):
        min(lists, key=_seconds).append(name)
    return lists


def _seconds(names: Iterable[str]) -> float:
    return sum(KERNELS[name] for name in names)


def _compile(names: Sequence[str], compiled: Compiled, say: Callable[[str], None], processes: int) -> None:
    lists = shares(names, processes)
    say(f"compiling kernels for this machine, once: about {math.ceil(_START_SECONDS + max(map(_seconds, lists)))} s")
    path = os.pathsep.join([str(_HOME), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": path}
    left = list(names)
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", "dolma_pipeline.kernels", "--here"]
        children = [
            subprocess.Popen(
                [*command, *share], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            for share in lists
        ]
        try:
            codes: list[int | None] = [None]
            while None in codes and not any(codes):
                time.sleep(0.05)
                codes = [child.poll() for child in children]
                missing = compiled.missing(left)
                for name in [name for name in left if name not in missing]:
                    left.remove(name)
                    say(f"compiled {name} ({len(names) - len(left)} of {len(names)})")
        finally:
            for child in children:
                if child.poll() is None:
                    child.kill()
                child.wait()
        failed = next(filter(None, codes), 0)
        if failed:
            output.seek(0)
            lines = output.read().decode(errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "it wrote nothing")
            raise RunError(f"compiling kernels failed with exit code {failed}: {last}")
