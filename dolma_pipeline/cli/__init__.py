"""The command line: `dolma-pipeline COMMAND`. One file a command, loaded when it is called.

Results go to stdout, progress and logs to stderr. Exit codes: 0 done; 1 failed, the same command resumes; 2 wrong
use, nothing started; 3 done, but a stated bound was missed; 130 interrupted; 143 ended by
SIGTERM or, in training, SIGUSR1, 129 by SIGHUP. `--help` costs about 0.2 s.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from dolma_pipeline.errors import DolmaError

BEAM = "apache_beam"
_ENDED = {
    "SIGTERM": ("ended by SIGTERM", 143),
    "SIGUSR1": ("ended by SIGUSR1", 143),
    "SIGHUP": ("ended by SIGHUP", 129),
}
"""Signals that arrive as a KeyboardInterrupt of their name: what is said, and the exit code that shells give them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; `argv` defaults to the process's arguments.

    An error of ours, or of the disk, becomes one line on stderr. Any other exception is a bug and keeps its
    traceback (exit 1).
    """
    from dolma_pipeline.cli.app import dispatch

    try:
        # No `list(...)` in this file: once the command of that name is loaded, it means the module.
        reply = dispatch(sys.argv[1:] if argv is None else argv)
    except DolmaError as error:
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt as error:
        what, code = _ENDED.get(str(error), ("interrupted", 130))
        return _complain(f"{what}; what is done stays done, the same command goes on from there", code)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _complain(f"{error.strerror}; what is done stays done, the same command goes on from there", 1)
        if error.filename is None:
            raise
        return _complain(f"{error.filename}: {error.strerror or error}", 1)
    try:
        sys.stdout.write(reply.text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (`| head`) has seen enough; keep Python from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return reply.exit_code


def run_and_exit() -> NoReturn:
    """`main` as a program of its own.

    After a failure or an interrupt the process ends without Python's teardown: a thread that is still at work in
    DuckDB or Arrow would fill the terminal there, or abort the process in place of the exit code. So it does after a
    run on Beam, whose threads outlive it: DuckDB's library would list what they keep, forty lines of it.
    """
    code = main()
    interrupted = code in (1, 129, 130, 143)
    if interrupted or BEAM in sys.modules:
        from dolma_pipeline.train.processes import end_process

        if not interrupted:
            atexit._run_exitfuncs()  # Beam's handlers remove its temporary folders
        end_process(code)
    sys.exit(code)


def _complain(message: str, exit_code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return exit_code
