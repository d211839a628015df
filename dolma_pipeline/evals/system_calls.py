"""A filter of system calls for `jail`: what no answer to a programming exercise needs is refused by the kernel.

Limits on memory count one process and its own mappings, so what would get around them is refused, too: further processes,
System V memory and memory files. So is what namespaces do not cover (sockets of virtual machines, keys) and what has the
most faults in the kernel's history (further namespaces, io_uring, bpf, perf events).
"""

from __future__ import annotations

import errno
import struct

from dolma_pipeline.errors import UsageError

REFUSED = {
    "x86_64": {
        **{"fork": 57, "vfork": 58, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312},
        **{"shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240, "memfd_create": 319, "memfd_secret": 447},
        **{"unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161},
        **{"add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298},
        **{"userfaultfd": 323, "name_to_handle_at": 303, "open_by_handle_at": 304, "personality": 135},
        **{"kexec_load": 246, "init_module": 175, "finit_module": 313, "delete_module": 176, "quotactl": 179},
    },
    "aarch64": {
        **{"ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272},
        **{"shmget": 194, "semget": 190, "msgget": 186, "mq_open": 180, "memfd_create": 279, "memfd_secret": 447},
        **{"unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51},
        **{"add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280, "perf_event_open": 241},
        **{"userfaultfd": 282, "name_to_handle_at": 264, "open_by_handle_at": 265, "personality": 92},
        **{"kexec_load": 104, "init_module": 105, "finit_module": 273, "delete_module": 106, "quotactl": 60},
    },
}
"""Machine -> system call -> its number there (Linux, `asm/unistd.h`)."""

REFUSED_EVERYWHERE = {
    **{"pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427},
    **{"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433},
    **{"pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442},
}
"""Those that have the same number on every machine."""

CLONE3 = 435
CLONE = {"x86_64": 56, "aarch64": 220}
SOCKET = {"x86_64": 41, "aarch64": 198}
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
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
    if machine not in REFUSED:
        raise UsageError(
            f"Generated code cannot be run on a machine of kind {machine!r}: its filter of system calls is known for"
            f" {' and '.join(sorted(REFUSED))} only."
        )
    forks = {"fork", "vfork"} if may_fork else set()
    numbers = [number for name, number in REFUSED[machine].items() if name not in forks]
    error = _return(_ERROR | errno.EPERM)
    code = [_load(_MACHINE_AT), _jump(_EQUAL, AUDIT_ARCH[machine], 1, 0), _return(_KILL), _load(_NUMBER_AT)]
    if machine == "x86_64":
        code += [_jump(_AT_LEAST, X32_BIT, 0, 1), error]
    for number in (*numbers, *REFUSED_EVERYWHERE.values()):
        code += [_jump(_EQUAL, number, 0, 1), error]
    # Its flags lie in memory, where a filter cannot look; "not there" makes the C library use clone.
    code += [_jump(_EQUAL, CLONE3, 0, 1), _return(_ERROR | errno.ENOSYS)]
    flags = [_jump(_BITS, NEW_NAMESPACES, 0, 1), error]
    flags += [] if may_fork else [_jump(_BITS, CLONE_THREAD, 1, 0), error]
    code += [_jump(_EQUAL, CLONE[machine], 0, len(flags) + 2), _load(_FIRST_ARGUMENT_AT), *flags, _return(_ALLOW)]
    code += [_jump(_EQUAL, SOCKET[machine], 0, len(FAMILIES) + 2), _load(_FIRST_ARGUMENT_AT)]
    code += [_jump(_EQUAL, family, len(FAMILIES) - at, 0) for at, family in enumerate(FAMILIES.values())]
    code += [error, _return(_ALLOW)]
    return b"".join(code)


def _load(offset: int) -> bytes:
    return struct.pack("<HBBI", _LOAD, 0, 0, offset)


def _jump(how: int, value: int, if_so: int, if_not: int) -> bytes:
    """Compare what was loaded; then skip so many instructions."""
    return struct.pack("<HBBI", how, if_so, if_not, value)


def _return(action: int) -> bytes:
    return struct.pack("<HBBI", _RETURN, 0, 0, action)
