"""Exit codes, where things are printed, and what an error looks like."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dolma_pipeline import __version__
from dolma_pipeline.cli import app, main
from dolma_pipeline.cli.arguments import Reply
from dolma_pipeline.cli.help import program_help
from dolma_pipeline.errors import AssetError, ConfigError, RunError, TooManyFailuresError
from dolma_pipeline.storage.faults import missing_file


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dolma-pipeline {__version__}\n"
    assert main(["run", "--version"]) == 0
    assert capsys.readouterr().out == f"dolma-pipeline {__version__}\n"
    assert main(["--help"]) == 0
    assert capsys.readouterr() == (program_help(), "")
    assert main(["tag", "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: dolma-pipeline tag RECIPE")


def test_no_command_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr() == ("", program_help())


def test_wrong_use_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnu"]) == 2
    assert capsys.readouterr() == (
        "",
        "error: no command named 'rnu'. Did you mean 'run'? 'dolma-pipeline --help' shows them all.\n",
    )


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (ConfigError("a.yaml:1: seed: wrong"), 2, "error: a.yaml:1: seed: wrong\n"),
        (AssetError("no model"), 1, "error: no model\n"),
        (RunError("broke"), 1, "error: broke\n"),
        (TooManyFailuresError("11 of 100"), 3, "error: 11 of 100\n"),
        (
            KeyboardInterrupt(),
            130,
            "error: interrupted; what is done stays done, the same command goes on from there\n",
        ),
        (
            KeyboardInterrupt("SIGTERM"),
            143,
            "error: ended by SIGTERM; what is done stays done, the same command goes on from there\n",
        ),
        (missing_file("s3://bucket/in.jsonl"), 1, "error: s3://bucket/in.jsonl: no such file\n"),
        (PermissionError(13, "Permission denied", "runs/x"), 1, "error: runs/x: Permission denied\n"),
    ],
)
def test_exit_codes(
    error: BaseException,
    exit_code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(argv: list[str]) -> Reply:
        raise error

    monkeypatch.setattr(app, "dispatch", fail)
    assert main(["run", "a.yaml"]) == exit_code
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), OSError("without a file")])
def test_a_bug_keeps_its_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(argv: list[str]) -> Reply:
        raise error

    monkeypatch.setattr(app, "dispatch", fail)
    with pytest.raises(type(error)):
        main(["run", "a.yaml"])


def test_the_reply_decides_text_and_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(app, "dispatch", lambda argv: Reply("told\n", 3))
    assert main(["x"]) == 3
    assert capsys.readouterr().out == "told\n"


def test_a_reader_that_has_seen_enough() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dolma_pipeline", "--help"], stdout=write, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_module_is_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "dolma_pipeline", "lsit"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no command named 'lsit'. Did you mean 'list'?")
