"""The far side of `sandbox`: a script of its own that locks itself in, runs one program and says how that ended.

Started as `python -S jail.py`, it needs the standard library alone. It is three processes:

    outside   makes the namespaces, has its ids mapped by the parent, waits for the next
    first     process 1 inside: builds the files that there are, starts the program, watches it, reports
    program   gives up every right, sets its limits, runs the program

What fails before the program runs is reported and ends all; nothing runs with less protection than asked for. When the
first process ends, the kernel kills whatever else lives in its process namespace.

Lines on standard output: `ready` once the parent is to map ids, then one of `refused: why`, `broken: why` and
`STATUS: reason`. Standard input carries one marshalled dict (`sandbox.run_code` makes it) and stays open for as long as
the program may live. Few modules are imported, as this starts once for each program.
"""

from __future__ import annotations

import ctypes
import errno
import marshal
import os
import random
import resource
import select
import signal
import sys
import types

TYPE_CHECKING = False  # typing's own would cost as much as all that this imports
if TYPE_CHECKING:
    from typing import Any, NoReturn

NOBODY = 65534
"""User and group inside."""

NEW_NAMESPACES = {
    "user": 0x10000000,
    "mount": 0x00020000,
    "process": 0x20000000,
    "network": 0x40000000,
    "IPC": 0x08000000,
    "host name": 0x04000000,
    "cgroup": 0x02000000,
}
"""`CLONE_NEW…` of linux/sched.h."""

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 1 << 12, 1 << 14, 1 << 18
MNT_DETACH = 2
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 22, 24, 38
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522

STACK_BYTES = 8 << 20
"""Linux's usual; fixed, so that no verdict on a deep recursion depends on the caller's."""

ROOT = "/proc"
"""Where the new root is built: a folder that every machine has and below which nothing is wanted."""

libc = ctypes.CDLL(None, use_errno=True)


class RefusedError(Exception):
    """A protective measure cannot be taken here."""


def call(step: str, name: str, *arguments: Any) -> None:
    """Call a function of the C library; `RefusedError` names the step if it fails."""
    function = getattr(libc, name, None)
    if function is None:
        raise RefusedError(f"{step}: this C library has no {name}")
    if function(*arguments) != 0:
        raise RefusedError(f"{step}: {os.strerror(ctypes.get_errno())}")


def say(what: str, why: str) -> None:
    """A line to the parent."""
    os.write(1, f"{what}: {why}\n".encode())


def main() -> None:
    """Outside: new namespaces, ids, and a first process in them."""
    try:
        go_first_when_memory_is_short()
        if os.geteuid() == 0:
            os.setgroups([])
        make_namespaces()
        os.write(1, b"ready\n")
        try:
            task = marshal.load(sys.stdin.buffer)
        except EOFError:  # the parent could not map ids, or has gone
            return
        first = os.fork()
        if first == 0:
            be_first(task)
        _, status = os.waitpid(first, 0)
        if status:
            say("broken", f"the first process inside ended early (status {status})")
    except (RefusedError, OSError) as error:
        say("refused", str(error))


def go_first_when_memory_is_short() -> None:
    """If the machine runs out of memory all the same, the kernel ends this and not the caller."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def make_namespaces() -> None:
    """Of every kind at once; the process namespace holds for children only."""
    flags = 0
    for flag in NEW_NAMESPACES.values():
        flags |= flag
    call(f"new namespaces ({', '.join(NEW_NAMESPACES)})", "unshare", flags)


def be_first(task: dict[str, Any]) -> NoReturn:
    """Process 1 inside: files, then the program, then a verdict."""
    try:
        call("a signal when the parent ends", "prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # process 1 gets from inside only the signals that it handles
        call("a host name of its own", "sethostname", b"sandbox", len("sandbox"))
        build_root(task["folders"], file_bytes=task["file_bytes"], num_files=task["num_files"])
        say(*run(task))
    except (RefusedError, OSError) as error:
        say("refused", str(error))
    os._exit(0)


def build_root(folders: list[str], *, file_bytes: int, num_files: int) -> None:
    """A root of its own: those folders, read-only, `/dev/null`, and an empty `/work`; the old one is let go."""
    call("private mounts", "mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    mount_tmpfs(ROOT, b"size=1m,nr_inodes=1000,mode=755")
    for folder in folders:
        bind(folder, is_folder=True)
    bind("/dev/null", is_folder=False)
    os.mkdir(f"{ROOT}/work")
    size = f"size={file_bytes},nr_inodes={num_files},mode=700,uid={NOBODY},gid={NOBODY}"
    mount_tmpfs(f"{ROOT}/work", size.encode(), flags=MS_NOEXEC)
    set_attributes(ROOT, MOUNT_ATTR_RDONLY, recursive=False)
    os.chdir(ROOT)
    call("a root of its own", "pivot_root", b".", b".")
    call("no way back to the old root", "umount2", b".", MNT_DETACH)
    os.chdir("/")


def mount_tmpfs(place: str, options: bytes, *, flags: int = 0) -> None:
    """Files in memory, of a bounded size."""
    call(f"a tmpfs at {place}", "mount", b"tmpfs", place.encode(), b"tmpfs", MS_NOSUID | MS_NODEV | flags, options)


def bind(path: str, *, is_folder: bool) -> None:
    """Show a path of outside at the same place inside, and all below it, read-only."""
    target = ROOT + path
    os.makedirs(target if is_folder else os.path.dirname(target), exist_ok=True)
    if not is_folder:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    call(f"{path} inside", "mount", os.fsencode(path), os.fsencode(target), None, MS_BIND | MS_REC, None)
    no_device = MOUNT_ATTR_NODEV if is_folder else 0
    set_attributes(target, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | no_device, recursive=True)


def set_attributes(place: str, attributes: int, *, recursive: bool) -> None:
    """Further attributes of the mount at a place, by mount_setattr(2) (Linux 5.12)."""
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)  # struct mount_attr: set, clear, propagation, userns
    flags = AT_RECURSIVE if recursive else 0
    step = f"{place} read-only"
    call(step, "syscall", MOUNT_SETATTR, AT_FDCWD, os.fsencode(place), flags, wanted, ctypes.sizeof(wanted))


def run(task: dict[str, Any]) -> tuple[str, str]:
    """Start the program, wait for its end or that of its time, and say which it was."""
    word_read, word_write = os.pipe()
    report_read, report_write = os.pipe()
    locked_read, locked_write = os.pipe()
    program = os.fork()
    if program == 0:
        be_program(task, word_fd=word_read, report_fd=report_write, locked_fd=locked_write)
    os.close(report_write)
    os.close(locked_write)
    if (why := os.read(locked_read, 4096)) != b"locked":
        raise RefusedError(why.decode() or "the program's process ended before it was locked in")
    # What only a program that came to its end is told. It is made after the fork and lies in a pipe until then, so the
    # program's memory does not hold it. (The pipe stays open here: the program may have ended by now.)
    word = os.urandom(16).hex().encode()
    os.write(word_write, word)
    ended = os.pidfd_open(program)
    ready, _, _ = select.select([ended, 0], [], [], task["wall_seconds"])
    if 0 in ready:  # the parent has gone or has had enough
        os._exit(0)
    if ended not in ready:
        return "timed_out", f"it ran for {task['wall_seconds']:g} s"
    _, status, used = os.wait4(program, 0)
    os.set_blocking(report_read, False)
    try:
        report = os.read(report_read, 4096)
    except BlockingIOError:  # another of its processes holds the pipe
        report = b""
    return verdict(report, word, status=status, cpu=used.ru_utime + used.ru_stime, limit=task["cpu_seconds"])


def verdict(report: bytes, word: bytes, *, status: int, cpu: float, limit: int) -> tuple[str, str]:
    """What a program's end means: a status and a reason.

    Args:
        report: what came through its pipe: the word, or the name of an exception.
        status: as wait(2) gives it. cpu: seconds that it used, of `limit`.
    """
    if status == 0 and report == word:
        return "passed", ""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU or (number == signal.SIGKILL and cpu >= limit):
            return "timed_out", f"it used {limit} s of a processor"
        return "failed", f"it was ended by signal {number} ({signal.strsignal(number)})"
    name = report.decode("ascii", "replace")
    if name == "MemoryError":
        return "out_of_memory", name
    if name.isidentifier() and len(name) <= 100:
        return "failed", name
    return "failed", f"it left before its end with exit code {os.WEXITSTATUS(status)}"


def be_program(task: dict[str, Any], *, word_fd: int, report_fd: int, locked_fd: int) -> NoReturn:
    """Give up every right, then run the program and pass on the word if it comes to its end."""
    try:
        lock_in(task, keep=(word_fd, report_fd, locked_fd))
    except (RefusedError, OSError, ValueError) as error:
        os.write(locked_fd, str(error).encode())
        os._exit(1)
    os.write(locked_fd, b"locked")
    os.close(locked_fd)  # the program must not speak here
    read, write, leave = os.read, os.write, os._exit  # as they are now: the program may put others there
    module = types.ModuleType("program")
    sys.modules["program"] = sys.modules["__main__"] = module
    sys.argv = ["program.py"]
    random.seed(0)
    try:
        exec(compile(task["program"], "program.py", "exec", dont_inherit=True), vars(module))
    except MemoryError:
        write(report_fd, b"MemoryError")
    except BaseException as error:  # noqa: BLE001 - whatever it is, SystemExit too, the program did not reach its end
        write(report_fd, type(error).__name__.encode())
    else:
        write(report_fd, read(word_fd, 64))
        leave(0)
    finally:  # whatever the program has done to names and functions, its process goes no further than this
        leave(1)


def lock_in(task: dict[str, Any], *, keep: tuple[int, ...]) -> None:
    """Everything that a process can give up for good."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    for number in range(3, 64):  # the interpreter was started with the first three, so all others are low
        if number not in keep:
            os.closerange(number, number + 1)  # which ignores one that is not open
    os.chdir("/work")
    os.umask(0o077)
    set_limits(task)
    bar_capabilities()
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    drop_capabilities()
    call("no new privileges", "prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    install_filter(bytes.fromhex(task["filter"]))


def set_limits(task: dict[str, Any]) -> None:
    """Hard limits of this process and those that it starts; a soft one on CPU time, whose signal names it."""
    limits = {
        resource.RLIMIT_AS: task["memory_bytes"],
        resource.RLIMIT_STACK: STACK_BYTES,
        resource.RLIMIT_FSIZE: task["file_bytes"],
        resource.RLIMIT_NOFILE: task["num_open"],
        resource.RLIMIT_NPROC: task["num_threads"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for which, value in limits.items():
        set_limit(which, value, value)
    set_limit(resource.RLIMIT_CPU, task["cpu_seconds"], task["cpu_seconds"] + 1)


def set_limit(which: int, soft: int, hard: int) -> None:
    """One limit; where this machine's own is lower, that."""
    there = resource.getrlimit(which)[1]
    most = hard if there == resource.RLIM_INFINITY else min(hard, there)
    resource.setrlimit(which, (min(soft, most), most))


def bar_capabilities() -> None:
    """No later program file can bring any; takes the right to say so, hence before the user changes."""
    for number in range(64):
        if libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            if ctypes.get_errno() == errno.EINVAL:  # this kernel knows no more
                return
            raise RefusedError(f"no capabilities to come: {os.strerror(ctypes.get_errno())}")


def drop_capabilities() -> None:
    """All that it has."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    call("no capabilities", "capset", header, (ctypes.c_uint32 * 6)())


class FilterProgram(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install_filter(instructions: bytes) -> None:
    """A filter of system calls, 8 bytes an instruction (`system_calls.filter_program`)."""
    program = FilterProgram(len(instructions) // 8, instructions)
    call("a filter of system calls", "prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


if __name__ == "__main__":
    main()
