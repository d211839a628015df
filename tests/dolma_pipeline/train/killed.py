"""killed.py RUN WHOLE: train RUN in processes that die at one of their changes of the folder, and WHOLE in one that
does not. Prints before what they died, as JSON.

Processes are forks of this one, so torch is imported once. The first dies before its 1st change, the next before its
4th, and so on, until one lives long enough to end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from dolma_pipeline.train.train import train

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")


def trained(run: Path, *, dies_at: int, told: int) -> int:
    """Train in a child that dies before its change number `dies_at`; gives how it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    num_changes = 0

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal num_changes
        if event == "open":
            name, _, flags = arguments
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR):
                return
        elif event in CHANGES:
            name = arguments[1] if event == "os.rename" else arguments[0]
        else:
            return
        if not str(name).startswith(str(run / "train")):
            return
        num_changes += 1
        if num_changes == dies_at:
            os.write(told, f"{event}: {name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 the process ends with it
    train(run)
    os._exit(0)


def main() -> None:
    run, whole = map(Path, sys.argv[1:])
    reading, told = os.pipe()
    assert trained(whole, dies_at=-1, told=told) == 0
    dies_at = 1
    while (code := trained(run, dies_at=dies_at, told=told)) == -signal.SIGKILL:
        dies_at += 3
    assert code == 0, code
    os.close(told)
    with open(reading, encoding="utf-8") as lines:
        print(json.dumps(lines.read().splitlines()))


if __name__ == "__main__":
    main()
