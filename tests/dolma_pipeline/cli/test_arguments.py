"""What was typed, taken apart; what does not belong is refused with words that help."""

from __future__ import annotations

import pytest

from dolma_pipeline.cli.arguments import Arguments, parse_arguments
from dolma_pipeline.cli.command import FORMAT, Command, Option
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


def test_what_follows_an_option_is_its_value_and_may_be_repeated() -> None:
    typed = ["mix", "a.yaml", "--what-if", "words: x = 1", "--what-if=mix.max_epochs=2", "seed=3", "--format", "json"]
    parsed = parse_arguments(typed)
    assert parsed.values == {"--what-if": ("words: x = 1", "mix.max_epochs=2")}
    assert (parsed.words, parsed.overrides, parsed.format) == (("a.yaml",), ("seed=3",), "json")
    assert parse_arguments(["--plan", "mix", "a.yaml"]).flags == {"--plan"}


def test_a_command_from_outside_has_options_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    depth = Option(name="--depth", purpose="how deep", value="N")
    shape = Option(name="--shape", purpose="of it", value="round|square", choices=("round", "square"))
    toy = Command(
        name="dig",
        group="Look",
        summary="a hole",
        module="dig",
        usage="PLACE",
        details="",
        example="",
        options=(FORMAT, depth, shape),
    )
    monkeypatch.setitem(COMMANDS, "dig", toy)  # type: ignore[arg-type]
    parsed = parse_arguments(["dig", "here", "--depth=3", "--shape", "round"])
    assert (parsed.command, parsed.words) == (toy, ("here",))
    assert parsed.values == {"--depth": ("3",), "--shape": ("round",)}
    for typed, words in [
        ("dig --depth", "nothing follows --depth; it takes N: how deep"),
        ("dig --depth 1 --depth 2", "--depth was given 2 times; it is given once"),
        ("dig --shape oval", "--shape takes round or square, found 'oval'"),
        ("dig --redo", "'dig' has no option --redo; of these it takes --format, --depth, --shape"),
        (
            "tag a.yaml --depth 3",
            "'tag' has no option --depth; of these it takes --dry-run, --redo, --attach, --cancel, --format",
        ),
    ]:
        with pytest.raises(UsageError) as caught:
            parse_arguments(typed.split())
        assert words in str(caught.value)


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


def test_an_option_of_two_commands_is_that_of_the_one_named() -> None:
    exported = parse_arguments(["export", "runs/a", "--format", "safetensors", "--output", "m"])
    assert (exported.format, exported.values["--format"]) == ("text", ("safetensors",))
    assert parse_arguments(["--format", "json", "list", "taggers"]).format == "json"
    with pytest.raises(UsageError, match="--format takes hf or safetensors, found 'json'"):
        parse_arguments(["--format", "json", "export", "runs/a"])
    with pytest.raises(UsageError, match="--format takes text or json, found 'hf'"):
        parse_arguments(["list", "taggers", "--format=hf"])
