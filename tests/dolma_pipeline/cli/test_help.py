"""The help texts: grouped, complete, with the defaults of the dataclasses; and quick."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from dolma_pipeline.cli.arguments import parse_arguments
from dolma_pipeline.cli.commands import COMMANDS
from dolma_pipeline.cli.help import command_help, program_help
from dolma_pipeline.config import recipe_from_text
from dolma_pipeline.look.clean import KINDS

FIRST = "output: a\nsources: {web: {documents: x}}\ntag: {taggers: [pii_v1]}\n"


def test_the_program() -> None:
    text = program_help()
    assert text.startswith("Usage: dolma-pipeline [-v|-q] COMMAND [RECIPE] [KEY=VALUE ...] [-- BEAM OPTIONS]\n")
    assert [line.split()[0] for line in text.splitlines() if re.match(r"(Make|Extend|Set up|Options|Exit) ", line)] == [
        "Make",
        "Extend",
        "Set",
        "Options",
        "Exit",
    ]
    assert re.search(r"^Make      run            every stage that the recipe has; what is done stays done$", text, re.M)
    assert re.search(r"^          tag            numbers and spans for each document; drops nothing$", text, re.M)
    table = text[text.index("\nMake") : text.index("\nOptions")]
    assert re.findall(r"^.{10}(\S+)  +\S", table, re.M) == list(COMMANDS)  # what is not built is absent
    assert all(len(line) <= 105 for line in text.splitlines())


def test_the_options_of_a_command_are_its_own() -> None:
    mix = command_help(COMMANDS["mix"])
    assert re.search(r"^  --what-if CHANGE +what 'RULE: SQL' .* would do; may be repeated$", mix, re.M)
    assert re.search(r"^  --format text\|json +of what goes to stdout$", mix, re.M)
    assert "--what-if" not in command_help(COMMANDS["tokens"])
    clean = command_help(COMMANDS["clean"])
    assert re.search(r"^  --yes +remove it$", clean, re.M)
    unasked, named = clean[clean.index("Kinds: ") + 7 : clean.index(", which go only")].split("; ")
    assert {name for name, kind in KINDS.items() if kind.unasked} == set(re.split(", | and ", unasked))
    assert {name for name, kind in KINDS.items() if not kind.unasked} == set(re.split(", | and ", named))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_use_purpose_and_example(name: str) -> None:
    text = command_help(COMMANDS[name])
    assert text.startswith(f"Usage: dolma-pipeline {name} ")
    assert COMMANDS[name].details in text
    assert f"\nExamples\n  dolma-pipeline {name}" in text
    assert ("--redo" in text) == COMMANDS[name].takes_recipe
    assert "-v, -q" in text


def test_keys_with_their_defaults() -> None:
    assert re.search(r"^  train\.lr +0\.003 +number +peak learning rate$", command_help(COMMANDS["train"]), re.M)
    mix = command_help(COMMANDS["mix"])
    assert re.search(r"^  mix\.held_out\.max_tokens +1M with a tokenizer +whole number +most of one source$", mix, re.M)
    assert re.search(r"^  tokenizer\.vocab_size +4096 ", mix, re.M)
    assert "train." not in mix.replace("tokenizer.train", "")
    run = command_help(COMMANDS["run"])
    assert re.search(r"^  max_memory +4GB +size +of one process$", run, re.M)
    assert "mix.where" not in run


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.takes_recipe])
def test_the_examples_can_be_typed(name: str) -> None:
    import shlex

    for line in COMMANDS[name].example.splitlines():
        parsed = parse_arguments(shlex.split(line)[1:])
        assert parsed.command is COMMANDS[name]
        for override in parsed.overrides:
            if override.startswith(("tag.", "workers=")):
                recipe_from_text(FIRST, override)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; from dolma_pipeline.cli import main; main(['--help']); main(['mix', '--help']); "
        "heavy = [m for m in ('apache_beam', 'torch', 'numba', 'duckdb', 'presidio_analyzer', 'yaml.constructor_') "
        "if m in sys.modules]; sys.stdout.flush(); print(heavy, time.process_time(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy, seconds = done.stderr.strip().rsplit(" ", 1)
    assert heavy == "[]"
    assert float(seconds) < 1.0  # 0.25 on an idle machine
