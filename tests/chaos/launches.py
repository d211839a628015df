"""Launchers that are killed: before each change that they make to a run's folder themselves, outside of its phases.

Each launch is a copy of this process, which carries out the phases itself, undisturbed. Between two changes (a name
that appears, goes, or is replaced) nobody sees anything, so these are all the moments that there are.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from typing import Any

from tests.chaos.adapter import RunIt
from tests.chaos.phases import Phase


class _Changes:
    """Counts the changes that this process makes to files, and dies before one of them. at: its number; 0: none."""

    def __init__(self, at: int) -> None:
        self.at, self.num, self.counting = at, 0, True
        self.before: int | None = None
        for name in ("replace", "link", "unlink", "rmdir"):
            setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self.counting:
                self.num += 1
                if self.num == self.at:
                    os.kill(os.getpid(), signal.SIGKILL)
            return change(*args, **options)

        return call

    def carry_out(self, phases: Sequence[Phase]) -> None:
        """An engine; what phases do is not counted."""
        self.counting, self.before = False, self.num
        for phase in phases:
            for task in phase.tasks():
                phase.work(task)
            phase.finish()
        self.counting = True


def launch(run: RunIt, tree: dict[str, Any], output: str, *, at: int) -> tuple[int, int] | None:
    """Launch a run that is killed before its change number `at` (0: never).

    Returns:
        How many changes it made before its phases, and in all; None if it was killed.
    """
    ours, theirs = Pipe()
    process = os.fork()
    if process == 0:
        try:
            changes = _Changes(at)
            run(tree, output, changes.carry_out)
            theirs.send((changes.num if changes.before is None else changes.before, changes.num))
            os._exit(0)
        finally:
            os._exit(1)
    theirs.close()
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), code
    if code != 0:
        return None
    found: tuple[int, int] = ours.recv()
    return found
