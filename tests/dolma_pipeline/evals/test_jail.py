"""Its parts that need no namespaces; what it does as a whole is tested with `sandbox`."""

from __future__ import annotations

import errno
import os
import resource
import signal
import struct

import pytest

from dolma_pipeline.evals import jail

WORD = b"0123456789abcdef"
EXIT_0, EXIT_1, EXIT_3 = 0 << 8, 1 << 8, 3 << 8


@pytest.mark.parametrize(
    ("report", "status", "cpu", "verdict"),
    [
        (WORD, EXIT_0, 0.1, ("passed", "")),
        # The word alone is not enough: its process must also have left as one that passed does.
        (WORD, EXIT_1, 0.1, ("failed", "it left before its end with exit code 1")),
        (WORD, signal.SIGKILL, 0.1, ("failed", "it was ended by signal 9 (Killed)")),
        (WORD + b"x", EXIT_0, 0.1, ("failed", "it left before its end with exit code 0")),
        (WORD + WORD, EXIT_0, 0.1, ("failed", "it left before its end with exit code 0")),
        (WORD[:-1], EXIT_0, 0.1, ("failed", "it left before its end with exit code 0")),
        (b"", EXIT_0, 0.1, ("failed", "it left before its end with exit code 0")),
        (b"", EXIT_3, 0.1, ("failed", "it left before its end with exit code 3")),
        (b"KeyError", EXIT_1, 0.1, ("failed", "KeyError")),
        (b"MemoryError", EXIT_1, 0.1, ("out_of_memory", "MemoryError")),
        (b"", signal.SIGXCPU, 0.1, ("timed_out", "it used 2 s of a processor")),
        (b"", signal.SIGKILL, 2.0, ("timed_out", "it used 2 s of a processor")),
        (b"", signal.SIGKILL, 1.9, ("failed", "it was ended by signal 9 (Killed)")),
        (b"", signal.SIGSEGV, 2.0, ("failed", "it was ended by signal 11 (Segmentation fault)")),
        (b"passed: ", EXIT_1, 0.1, ("failed", "it left before its end with exit code 1")),
        (b"a\nrefused: x", EXIT_1, 0.1, ("failed", "it left before its end with exit code 1")),
        (b"\xff\xfe", EXIT_1, 0.1, ("failed", "it left before its end with exit code 1")),
        (b"a" * 101, EXIT_1, 0.1, ("failed", "it left before its end with exit code 1")),
    ],
)
def test_what_an_end_means(report: bytes, status: int, cpu: float, verdict: tuple[str, str]) -> None:
    assert jail.verdict(report, WORD, status=status, cpu=cpu, limit=2) == verdict


def test_a_call_that_fails_names_its_step() -> None:
    with pytest.raises(jail.RefusedError, match=f"^a step: {os.strerror(errno.EINVAL)}$"):
        jail.call("a step", "prctl", -1, 0, 0, 0, 0)
    with pytest.raises(jail.RefusedError, match=r"^a step: this C library has no absent$"):
        jail.call("a step", "absent")


@pytest.mark.parametrize(
    ("own", "asked", "set_to"),
    [
        ((50, resource.RLIM_INFINITY), (10, 20), (10, 20)),
        ((5, 15), (10, 20), (10, 15)),
        ((5, 7), (10, 20), (7, 7)),
        ((5, 20), (10, 20), (10, 20)),
    ],
)
def test_a_limit_is_never_above_the_machines_own(
    monkeypatch: pytest.MonkeyPatch, own: tuple[int, int], asked: tuple[int, int], set_to: tuple[int, int]
) -> None:
    calls = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: own)
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: calls.append((which, pair)))
    jail.set_limit(resource.RLIMIT_CPU, *asked)
    assert calls == [(resource.RLIMIT_CPU, set_to)]


def test_a_machine_without_namespaces_is_told_to_the_parent(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise jail.RefusedError("new namespaces: not here")

    monkeypatch.setattr(jail, "go_first_when_memory_is_short", lambda: None)
    monkeypatch.setattr(os, "setgroups", lambda _: None)
    monkeypatch.setattr(jail, "make_namespaces", refuse)
    monkeypatch.setattr(os, "fork", None)
    jail.main()
    assert capfd.readouterr().out == "refused: new namespaces: not here\n"


def test_capabilities_that_cannot_be_barred_are_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to do so every call fails, the first one included; that is not the end of the list."""
    monkeypatch.setattr(jail.libc, "prctl", lambda *_: -1, raising=False)
    monkeypatch.setattr(jail.ctypes, "get_errno", lambda: errno.EPERM)
    with pytest.raises(jail.RefusedError, match="no capabilities to come: Operation not permitted"):
        jail.bar_capabilities()


def test_the_filter_program_is_laid_out_as_the_kernel_reads_it() -> None:
    assert bytes(jail.FilterProgram(3, None)) == struct.pack("@HP", 3, 0)
