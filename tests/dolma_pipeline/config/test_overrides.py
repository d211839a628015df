"""KEY=VALUE: where it lands, what it removes, what it refuses; and what stands for more than is written."""

from __future__ import annotations

from typing import Any

import pytest

from dolma_pipeline.config.overrides import apply_override, derive, expand, is_override
from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.config.yaml import Located, parse_yaml, plain
from dolma_pipeline.errors import ConfigError

TEXT = """\
output: s3://bucket/runs/web-en/
seed: 1
sources: {web: {documents: a}}
tag:
  taggers:
    - gopher_v1
    - {tagger: pii_v1, phone_regions: [DE]}
    - {tagger: pii_v1, name: second}
mix:
  where: a AND b
  mixer: temperature
  sources: {web: {where: c}}
train:
"""


def tree(*overrides: str) -> Located:
    found = parse_yaml(TEXT, "a.yaml")
    expand(found, Recipe)
    for override in overrides:
        apply_override(found, override)
    return found


def changed(*overrides: str) -> Any:
    return plain(tree(*overrides))


@pytest.mark.parametrize("text", ["a=1", "a.b=", "a.0.b-c=x=y", "_a=1", "a=\n"])
def test_what_is_an_override(text: str) -> None:
    assert is_override(text)


@pytest.mark.parametrize("text", ["a", "./a=b.yaml", "=1", "a b=1", "a..b=1", ".a=1", "a.=1", "--a=1", "1a=2"])
def test_what_is_none(text: str) -> None:
    assert not is_override(text)
    with pytest.raises(ConfigError, match="expected KEY=VALUE, such as mix"):
        tree(text)


def test_shorthands_are_written_out() -> None:
    found = changed()
    assert found["tag"]["taggers"][0] == {"tagger": "gopher_v1"}
    assert found["mix"]["where"] == {"where": "a AND b"}
    assert found["mix"]["mixer"] == {"name": "temperature"}
    assert found["mix"]["sources"]["web"]["where"] == {"where": "c"}
    assert found["sources"]["web"]["documents"] == "a"


def test_what_has_another_form_is_left_to_the_checks() -> None:
    found = parse_yaml("tag: {taggers: gopher_v1}\nmix: [1]\nsources: 3\nbeam: 5\n", "a.yaml")
    expand(found, Recipe)
    assert plain(found) == {"tag": {"taggers": "gopher_v1"}, "mix": [1], "sources": 3, "beam": 5}


def test_values_go_where_the_key_says() -> None:
    assert changed("seed=2")["seed"] == 2
    assert changed("mix.target_tokens=20M")["mix"]["target_tokens"] == "20M"
    assert changed("sources.web.documents=[a, b]")["sources"]["web"]["documents"] == ["a", "b"]
    assert changed("sources.books.documents=*.gz")["sources"]["books"] == {"documents": "*.gz"}
    assert changed("mix.mixer.t=0.5")["mix"]["mixer"] == {"name": "temperature", "t": 0.5}
    assert changed("train.lr=3e-3")["train"] == {"lr": 0.003}
    assert changed("eval.held_out=false")["eval"] == {"held_out": False}
    assert changed("mix.where.x=len(text) = 3")["mix"]["where"]["x"] == "len(text) = 3"
    assert changed("mix={}")["mix"] == {}


def test_the_last_one_wins() -> None:
    assert changed("seed=2", "seed=3")["seed"] == 3


def test_items_of_lists_by_position_and_by_name() -> None:
    assert changed("tag.taggers.1.phone_regions=[US]")["tag"]["taggers"][1]["phone_regions"] == ["US"]
    assert changed("tag.taggers.pii_v1.phone_regions=[US]")["tag"]["taggers"][1]["phone_regions"] == ["US"]
    assert changed("tag.taggers.second.phone_regions=[US]")["tag"]["taggers"][2]["phone_regions"] == ["US"]
    assert changed("tag.taggers.gopher_v1.x=1")["tag"]["taggers"][0] == {"tagger": "gopher_v1", "x": 1}
    assert changed("tag.taggers.0=c4_v1")["tag"]["taggers"][0] == "c4_v1"
    assert len(changed("tag.taggers.second=null")["tag"]["taggers"]) == 2


def test_null_takes_a_key_out() -> None:
    assert "mix" not in changed("mix=null")
    assert "mix" not in changed("mix=~")
    assert "mixer" not in changed("mix.mixer=null")["mix"]
    assert changed("mix.held_out=null")["mix"]["held_out"] is None  # not there: the checks decide
    assert changed("mix=")["mix"] is None  # nothing is not null: the checks refuse it


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed.x=1", "override 'seed.x=1': seed is the number 1, which has no keys; there is no 'seed.x'"),
        ("output.a.b=1", "override 'output.a.b=1': output is text 's3://bucket/runs/web-en/', which has no keys"),
        ("tag.taggers.3=x", "override 'tag.taggers.3=x': tag.taggers has 3 items, numbered from 0; there is no 3"),
        ("tag.taggers.pii_v2.x=1", "override 'tag.taggers.pii_v2.x=1': tag.taggers: no item named 'pii_v2'. Did you"),
        ("tag.taggers.zzz=null", "override 'tag.taggers.zzz=null': tag.taggers: no item named 'zzz'. There are: goph"),
        ("seed=[1", "override 'seed=[1': not YAML: "),
        ("seed=!x 1", "override 'seed=!x 1': found the tag '!x'"),
    ],
)
def test_errors_name_the_override(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tree(override)
    assert str(caught.value).startswith(message)


def test_places_of_what_an_override_made() -> None:
    found = tree("train.lr=1", "tag.taggers.0.x=[a]").value
    assert isinstance(found, dict)
    train = found["train"].value
    assert isinstance(train, dict)
    assert train["lr"].at == "override 'train.lr=1'"
    assert found["train"].at == "a.yaml:13"


@pytest.mark.parametrize(
    ("output", "name"),
    [("runs/web-en", "web-en"), ("gs://b/runs/x/", "x"), ("here", "here"), ("/", "run"), (".", ".")],
)
def test_the_name_follows_from_the_output(output: str, name: str) -> None:
    found = parse_yaml(f"output: {output}\n", "a.yaml")
    derive(found)
    assert plain(found)["name"] == name


def test_a_use_of_a_tagger_is_named_after_it() -> None:
    found = tree("tag.taggers.0.tagger=c4_v1")
    derive(found)
    assert [item["name"] for item in plain(found)["tag"]["taggers"]] == ["c4_v1", "pii_v1", "second"]
    derive(found)
    assert plain(found)["name"] == "web-en"
