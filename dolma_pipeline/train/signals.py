"""Being asked to stop: SIGTERM and SIGUSR1 (which SLURM sends before the time is over), or a word of the launcher.

The step is finished and saved, and the process ends with exit code 143. The same signal again ends it at once. Does not
load torch.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

ASKING = (signal.SIGTERM, signal.SIGUSR1)


class Stop:
    """Whether this process was asked to stop, and by what (`SIGTERM`, `the launcher`); "" if it was not."""

    def __init__(self) -> None:
        self.by = ""

    def ask(self, by: str) -> None:
        """Note that it was; the training loop looks after each step."""
        self.by = self.by or by

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Inside the block the first of these signals asks, and another one does what it did before."""
        before = {one: signal.getsignal(one) for one in ASKING}

        def note(number: int, _: FrameType | None) -> None:
            self.ask(signal.Signals(number).name)
            for one, handler in before.items():
                signal.signal(one, handler)

        for one in ASKING:
            signal.signal(one, note)
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


@contextlib.contextmanager
def raised_as_interrupts() -> Iterator[None]:
    """Inside the block SIGTERM and SIGUSR1 raise KeyboardInterrupt of their name, where nobody has decided otherwise;
    for a launcher, in its main thread."""
    chosen = [one for one in ASKING if signal.getsignal(one) == signal.SIG_DFL]

    def raise_name(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    for one in chosen:
        signal.signal(one, raise_name)
    try:
        yield
    finally:
        for one in chosen:
            signal.signal(one, signal.SIG_DFL)
