"""The table of commands: each one is built, and so is what its help names."""

from __future__ import annotations

import importlib.util

import pytest

from dolma_pipeline.cli.command import Command
from dolma_pipeline.cli.commands import COMMANDS
from dolma_pipeline.config import STAGES


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_every_command_is_built(command: Command) -> None:
    assert importlib.util.find_spec(f"dolma_pipeline.cli.{command.module}") is not None
    assert set(command.stages) <= set(STAGES)
    assert all(line.startswith(f"dolma-pipeline {command.name}") for line in command.example.splitlines())
    assert command.takes_recipe == (command.module in ("run", "mix", "train", "eval"))


def test_every_stage_is_run_by_some_command() -> None:
    assert {stage for command in COMMANDS.values() for stage in command.stages} == set(STAGES)
    assert COMMANDS["run"].stages == ()
    assert COMMANDS["mix"].stages == ("tokenizer", "mix")
