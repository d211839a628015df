"""Checks of output and of Beam's names; the others are in tests/pipeline/test_errors.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dolma_pipeline.errors import ConfigError, UnknownNameError
from dolma_pipeline.runner.check import check_beam, check_output
from dolma_pipeline.storage.local import LocalFolder
from tests.pipeline.tiny import recipe


def test_an_output_below_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p0.jsonl").touch()
    with pytest.raises(ConfigError) as caught:
        check_output(recipe("p0.jsonl/x/y"))
    said = f"output: output p0.jsonl/x/y cannot be made: {tmp_path}/p0.jsonl is not a folder."
    assert str(caught.value).endswith(said)


def test_an_output_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append(path))
    with pytest.raises(ConfigError) as caught:
        check_output(recipe(tmp_path / "a" / "b"))
    assert str(caught.value).endswith(f"output {tmp_path}/a/b cannot be written: no permission in {tmp_path}.")
    assert asked == [tmp_path]


def test_an_output_that_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check_output(recipe("a/b")) == LocalFolder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_options_of_the_recipe_name_their_key() -> None:
    with pytest.raises(ConfigError, match=r": beam\.nope: no Beam option named 'nope'"):
        check_beam(recipe("x", beam={"runner": "local", "nope": 1}))
    with pytest.raises(ConfigError, match=r": beam\.runner: no Beam runner named 'Locl'\. Did you mean 'local'"):
        check_beam(recipe("x", beam={"runner": "Locl"}))


def test_options_of_the_command_line() -> None:
    with pytest.raises(UnknownNameError, match=r"^no Beam option named 'direct_num_worker'\. Did you mean"):
        check_beam(recipe("x"), ["--direct_num_worker=3"])
    with pytest.raises(UnknownNameError, match=r"^no Beam runner named 'SparkRuner'\. Did you mean 'SparkRunner'"):
        check_beam(recipe("x"), ["--runner=SparkRuner"])
    check_beam(recipe("x", beam={"runner": "Locl"}), ["--runner=local"])
    check_beam(recipe("x"), ["--runner=FlinkRunner", "--known_to_the_job_server=1"])
