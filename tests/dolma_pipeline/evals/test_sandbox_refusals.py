"""Where a program cannot be locked in nothing is run, and one error says why."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.evals import jail, sandbox
from dolma_pipeline.evals.sandbox import require_sandbox, run_code


def test_it_is_off_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)  # nothing may start
    with pytest.raises(UsageError, match="--allow-code"):
        run_code("", allow_code=False)
    with pytest.raises(UsageError, match="--allow-code"):
        require_sandbox(allow_code=False)


@pytest.mark.parametrize(
    ("where", "name", "value", "words"),
    [
        (sys, "platform", "darwin", "it runs"),
        (platform, "release", lambda: "4.18.0-372.el8", "its Linux is 4.18.0-372.el8"),
        (platform, "release", lambda: "5.13.9", "needs Linux 5.14 or later"),
        (platform, "machine", lambda: "riscv64", "'riscv64'.*x86_64 and aarch64"),
    ],
)
def test_a_machine_without_its_means(
    monkeypatch: pytest.MonkeyPatch, where: object, name: str, value: object, words: str
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "release", lambda: "5.14.0-1")
    monkeypatch.setattr(where, name, value)
    with pytest.raises(UsageError, match=words):
        run_code("", allow_code=True)


@pytest.mark.skipif(sys.platform != "linux", reason="a kernel that refuses is made with Linux's filters")
def test_a_kernel_that_allows_no_namespaces(tmp_path: Path) -> None:
    """In a process that may make none, as in most containers."""
    made = tmp_path / "made"
    opening = f"open({str(made)!r}, 'w')"
    script = (
        "import platform\n"
        "from dolma_pipeline.evals import jail, sandbox, system_calls\n"
        "jail.call('', 'prctl', jail.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)\n"
        "jail.install_filter(system_calls.filter_program(platform.machine(), may_fork=True))\n"
        f"sandbox.run_code({opening!r}, allow_code=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    said = done.stderr
    assert "dolma_pipeline.errors.UsageError" in said
    assert "cannot be run safely on this machine: new namespaces" in said
    assert "Operation not permitted. Nothing was run." in said
    assert not made.exists()


@pytest.mark.usefixtures("sandboxed")
def test_ids_that_cannot_be_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted", "/proc/1/uid_map")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(UsageError, match=r"users inside a new namespace: .*uid_map"):
        run_code("", allow_code=True)


@pytest.mark.usefixtures("sandboxed")
@pytest.mark.parametrize("name", ["mount", "pivot_root", "sethostname", "capset", "syscall", "umount2"])
def test_every_step_that_fails_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    source = Path(jail.__file__).read_text()
    broken = source.replace(f'"{name}"', '"absent"')
    assert broken != source
    (tmp_path / "jail.py").write_text(broken)
    monkeypatch.setattr(sandbox, "JAIL", tmp_path / "jail.py")
    with pytest.raises(UsageError, match=r"cannot be run safely on this machine: .*Nothing was run"):
        run_code("", allow_code=True)


@pytest.mark.parametrize(
    "script",
    [
        "print('ready'); raise SystemExit",
        "import os; os.close(0); print('ready', flush=True)",
        "raise ValueError('a fault of ours')",
    ],
)
def test_a_sandbox_that_breaks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (tmp_path / "jail.py").write_text(script)
    monkeypatch.setattr(sandbox, "JAIL", tmp_path / "jail.py")
    monkeypatch.setattr(sandbox, "machine", lambda: "x86_64")
    monkeypatch.setattr(sandbox, "_map_ids", lambda _: None)
    with pytest.raises(RunError, match="without a verdict"):
        run_code("", allow_code=True)
