"""A run sees to it that the kernels that it uses are compiled, says so on stderr, and starts no worker before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dolma_pipeline.runner import launcher, run
from dolma_pipeline.stages.step import run_steps
from tests.pipeline.tiny import recipe

USED = ["words", "lines", "components", "edit", "minhash", "json_lines"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What `ensure` was asked for; it says one line."""
    names: list[list[str]] = []

    def ensure(wanted: Iterable[str], *, say: Callable[[str], None] | None) -> None:
        names.append(list(wanted))
        if say:
            say("compiling kernels for this machine, once: about 3 s")

    monkeypatch.setattr(launcher, "ensure", ensure)
    return names


def test_what_the_recipe_uses_is_compiled_and_said(
    here: Path, plain: None, tmp_path: Path, asked: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run(recipe(tmp_path / "run"))
    assert asked == [USED]
    assert "compiling kernels for this machine, once: about 3 s\n" in capsys.readouterr().err
    run(recipe(tmp_path / "run"))
    assert len(asked) == 1, "nothing was to be done"


def test_a_quiet_run_and_a_stage_alone(
    here: Path, plain: None, tmp_path: Path, asked: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run(recipe(tmp_path / "run"), stages=["tag"], quiet=True)
    run(recipe(tmp_path / "run"), stages=["dedupe"], quiet=True, dry_run=True)
    assert asked == [["words", "lines", "json_lines"]]
    assert "compiling" not in capsys.readouterr().err


@pytest.mark.parametrize("ready", [True, False])
def test_copies_are_made_of_a_process_that_found_all_compiled(
    here: Path, tmp_path: Path, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch, ready: bool
) -> None:
    order: list[str] = []

    class Server:
        def __init__(self, taggers: list[str], *, kernels: list[str], tidy: bool) -> None:
            assert (taggers, kernels, tidy) == (["length_v1"], USED, True)
            order.append("server" if not asked else "server after compiling")

        def __enter__(self) -> Server:
            return self

        def __exit__(self, *_: object) -> None:
            order.append("closed")

        def close(self) -> None:
            pass

    def run_here(context: object, steps: object, *, forks: object, **options: object) -> None:
        assert isinstance(forks, Server)
        run_steps(steps)  # type: ignore[arg-type]

    monkeypatch.setattr(launcher, "ForkServer", Server)
    monkeypatch.setattr(launcher, "can_fork", lambda: True)
    monkeypatch.setattr(launcher, "is_ready", lambda names: ready)
    monkeypatch.setattr(launcher, "run_on_beam", run_here)
    run(recipe(tmp_path / "run", workers=2), quiet=True)
    assert order == ["server" if ready else "server after compiling", "closed"]
