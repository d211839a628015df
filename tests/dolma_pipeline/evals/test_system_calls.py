"""The filter, run by a small interpreter of its instructions; that the kernel takes it is tested with `sandbox`."""

from __future__ import annotations

import errno
import struct

import pytest

from dolma_pipeline.errors import UsageError
from dolma_pipeline.evals.system_calls import AUDIT_ARCH, CLONE, MACHINES, REFUSED, SOCKET, filter_program

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
THREAD, NEW_USER, NEW_NET, NEW_CGROUP, SIGCHLD = 0x10000, 0x10000000, 0x40000000, 0x02000000, 17


def decision(program: bytes, *, number: int, arch: int, first: int = 0) -> int:
    """What a filter says of a system call, by the rules of BPF (kernel.org, networking/filter)."""
    call = struct.pack("<IIQQQQQQQ", number & 0xFFFFFFFF, arch, 0, first, 0, 0, 0, 0, 0)
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    held, at = 0, 0
    while True:
        what, if_so, if_not, value = code[at]
        at += 1
        if what == 0x20:
            (held,) = struct.unpack_from("<I", call, value)
        elif what == 0x06:
            return value
        else:
            test = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[what]
            at += if_so if test else if_not


@pytest.mark.parametrize("may_fork", [False, True])
@pytest.mark.parametrize("machine", MACHINES)
def test_every_system_call(machine: str, may_fork: bool) -> None:
    at = MACHINES.index(machine)
    program = filter_program(machine, may_fork=may_fork)
    refused = {both[at]: name for name, both in REFUSED.items() if both[at] is not None}
    for number in range(600):
        if number in (CLONE[at], SOCKET[at]):
            continue
        found = decision(program, number=number, arch=AUDIT_ARCH[at])
        if number == 435:
            assert found == ENOSYS
        elif may_fork and refused.get(number) in ("fork", "vfork"):
            assert found == ALLOW
        else:
            assert found == (EPERM if number in refused else ALLOW), (number, refused.get(number))


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_processes_and_namespaces_by_clone(machine: str) -> None:
    at = MACHINES.index(machine)
    for may_fork in (False, True):
        program = filter_program(machine, may_fork=may_fork)
        found = {
            flags: decision(program, number=CLONE[at], arch=AUDIT_ARCH[at], first=flags)
            for flags in (THREAD, SIGCHLD, NEW_USER, NEW_NET | THREAD, NEW_CGROUP | SIGCHLD)
        }
        assert found == {
            THREAD: ALLOW,
            SIGCHLD: ALLOW if may_fork else EPERM,
            NEW_USER: EPERM,
            NEW_NET | THREAD: EPERM,
            NEW_CGROUP | SIGCHLD: EPERM,
        }


@pytest.mark.parametrize("machine", MACHINES)
def test_sockets_of_three_families_only(machine: str) -> None:
    at = MACHINES.index(machine)
    program = filter_program(machine, may_fork=False)
    allowed = [
        family
        for family in range(64)
        if decision(program, number=SOCKET[at], arch=AUDIT_ARCH[at], first=family) == ALLOW
    ]
    assert allowed == [1, 2, 10]


def test_system_calls_under_other_numbers() -> None:
    x86, arm = (filter_program(machine, may_fork=False) for machine in MACHINES)
    assert decision(x86, number=0x40000000 | 1, arch=AUDIT_ARCH[0]) == EPERM  # x32
    assert decision(x86, number=1, arch=0x40000003) == KILL  # i386
    assert decision(x86, number=1, arch=AUDIT_ARCH[1]) == decision(arm, number=1, arch=AUDIT_ARCH[0]) == KILL


def test_an_unknown_machine() -> None:
    with pytest.raises(UsageError, match=r"'s390x'.*x86_64 and aarch64"):
        filter_program("s390x", may_fork=False)
