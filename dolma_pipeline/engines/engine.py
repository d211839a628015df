"""What an engine is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from dolma_pipeline.run.phase import Phase
from dolma_pipeline.run.run import Run

Say = Callable[[str], None]
"""Takes a line for people."""


class Engine(Protocol):
    """Runs phases, each when the one before it has ended."""

    def run(self, run: Run, phases: Sequence[Phase], *, say: Say | None = None) -> None:
        """Run phases in order; what is done already is left out.

        Args:
            run: the run. phases: what is to be done, as the planner gives it.
            say: takes lines that tell how far the work is; None: nothing is told.

        Raises:
            UsageError: a runner or an option that there is not.
            RunError: a worker died, or a phase raised another error than this library's.
            DolmaError: what a phase raised, with its phase and task.
        """


def to_stderr(line: str) -> None:
    """A line on standard error."""
    print(line, file=sys.stderr, flush=True)
