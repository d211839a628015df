"""A filter of system calls for `jail`: what no answer to a programming exercise needs is refused by the kernel.

Limits on memory count one process and its own mappings, so what would get around them is refused, too: further
processes, System V memory and memory files. So is what namespaces do not cover (sockets of virtual machines, keys) and
what has had the most faults in the kernel (further namespaces, io_uring, bpf, perf events).
"""

from __future__ import annotations

import errno
import struct

from dolma_pipeline.errors import UsageError

MACHINES = ("x86_64", "aarch64")
"""As `platform.machine()` names them."""

REFUSED: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "personality": (135, 92),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "quotactl": (179, 60),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
}
"""System call -> its number on each of `MACHINES` (Linux, asm/unistd.h); None where there is none."""

CLONE3 = 435
CLONE = (56, 220)
SOCKET = (41, 198)
AUDIT_ARCH = (0xC000003E, 0xC00000B7)
"""How the kernel names the machine to a filter (linux/audit.h)."""

FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
"""Of sockets: those that the network namespace shuts in. AF_VSOCK, for one, would reach a virtual machine's host."""

CLONE_THREAD = 0x00010000
NEW_NAMESPACES = 0x7E020000
"""Every `CLONE_NEW…` that clone takes (linux/sched.h)."""

X32_BIT = 0x40000000
"""Of a number by the x32 convention, under which system calls have a second number."""

_LOAD, _EQUAL, _BITS, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
"""BPF: load a word; jump if equal, if a bit is set, if at least; return."""
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _MACHINE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
"""Where they stand in `struct seccomp_data`; of the argument the lower half, as both machines are little-endian."""


def filter_program(machine: str, *, may_fork: bool) -> bytes:
    """The filter's instructions, `struct sock_filter` each (8 bytes).

    Args:
        machine: as `platform.machine()` gives it.
        may_fork: whether a process may start others; threads it may always start.

    Raises:
        UsageError: a machine whose system calls are not known here.
    """
    if machine not in MACHINES:
        raise UsageError(
            f"Generated code cannot be run on a machine of kind {machine!r}: its filter of system calls is known for"
            f" {' and '.join(MACHINES)} only."
        )
    forks = {"fork", "vfork"} if may_fork else set()
    at = MACHINES.index(machine)
    numbers = [number for name, both in REFUSED.items() if (number := both[at]) is not None and name not in forks]
    error = _return(_ERROR | errno.EPERM)
    code = [_load(_MACHINE_AT), _jump(_EQUAL, AUDIT_ARCH[at], 1, 0), _return(_KILL), _load(_NUMBER_AT)]
    if machine == "x86_64":
        code += [_jump(_AT_LEAST, X32_BIT, 0, 1), error]
    for number in numbers:
        code += [_jump(_EQUAL, number, 0, 1), error]
    # Its flags lie in memory, where a filter cannot look; "not there" makes the C library use clone.
    code += [_jump(_EQUAL, CLONE3, 0, 1), _return(_ERROR | errno.ENOSYS)]
    flags = [_jump(_BITS, NEW_NAMESPACES, 0, 1), error]
    flags += [] if may_fork else [_jump(_BITS, CLONE_THREAD, 1, 0), error]
    code += [_jump(_EQUAL, CLONE[at], 0, len(flags) + 2), _load(_FIRST_ARGUMENT_AT), *flags, _return(_ALLOW)]
    code += [_jump(_EQUAL, SOCKET[at], 0, len(FAMILIES) + 2), _load(_FIRST_ARGUMENT_AT)]
    code += [_jump(_EQUAL, family, len(FAMILIES) - place, 0) for place, family in enumerate(FAMILIES.values())]
    code += [error, _return(_ALLOW)]
    return b"".join(code)


def _load(offset: int) -> bytes:
    return struct.pack("<HBBI", _LOAD, 0, 0, offset)


def _jump(how: int, value: int, if_so: int, if_not: int) -> bytes:
    """Compare what was loaded; then skip so many instructions."""
    return struct.pack("<HBBI", how, if_so, if_not, value)


def _return(action: int) -> bytes:
    return struct.pack("<HBBI", _RETURN, 0, 0, action)
