"""What was typed, taken apart; what does not belong is refused with words that help."""

from __future__ import annotations

import pytest

from dolma_pipeline.cli.arguments import Arguments, parse_arguments
from dolma_pipeline.cli.commands import COMMANDS
from dolma_pipeline.errors import UsageError


def test_everything_at_once_and_anywhere() -> None:
    typed = "-v run my.yaml --redo seed=2 --format json train=null --dry-run"
    assert parse_arguments([*typed.split(), "--", "--runner=X", "--region", "r"]) == Arguments(
        command=COMMANDS["run"],
        words=("my.yaml",),
        overrides=("seed=2", "train=null"),
        flags=frozenset(["--verbose", "--redo", "--dry-run"]),
        format="json",
        beam_options=("--runner=X", "--region", "r"),
    )
    assert parse_arguments(["--redo", "--format=json", "run", "a.yaml"]).format == "json"


def test_an_override_is_no_path_and_a_path_no_override() -> None:
    parsed = parse_arguments(["tag", "./a=b.yaml", "mix.where.x=a = 'b=c'"])
    assert parsed.words == ("./a=b.yaml",)
    assert parsed.overrides == ("mix.where.x=a = 'b=c'",)


def test_nothing_and_help() -> None:
    assert parse_arguments([]).command is None
    assert parse_arguments(["--help", "tag"]).command is COMMANDS["tag"]
    assert "--help" in parse_arguments(["mix", "-h"]).flags


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("rnu my.yaml", "no command named 'rnu'. Did you mean 'run'? 'dolma-pipeline --help' shows them all."),
        ("token my.yaml", "no command named 'token'. Did you mean 'tokens'?"),
        ("my.yaml", "'my.yaml' is a recipe, and a command comes first: dolma-pipeline run my.yaml"),
        ("run my.yaml --dryrun", "no option named '--dryrun'. Did you mean '--dry-run'"),
        ("run my.yaml --format xml", "--format takes text or json, found 'xml'"),
        ("run my.yaml --format", "--format takes text or json, found ''"),
        ("-v -q run my.yaml", "found both -v and -q; give one of them"),
        ("run", "'run' needs a recipe: dolma-pipeline run pipelines/quickstart.yaml"),
        ("mix seed=2", "'mix' needs a recipe: dolma-pipeline mix"),
        ("run a.yaml b.yaml", "found 'b.yaml' after the recipe 'a.yaml'; settings are KEY=VALUE without spaces"),
        ("run a.yaml seed = 2", "found 'seed' after the recipe 'a.yaml'; settings are KEY=VALUE without spaces"),
        ("list taggers --redo", "'list' has no option --redo; of these it takes --format"),
        ("fetch --dry-run", "'fetch' has no option --dry-run"),
        ("fetch seed=1", "'fetch' takes no KEY=VALUE, found 'seed=1'"),
        ("list taggers -- --x", "'list' takes no Beam options after '--'"),
    ],
)
def test_errors(typed: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_arguments(typed.split())
    assert message in str(caught.value)
