"""What presets become in a recipe: rules, edits and taggers, in the place where the recipe does not say otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from dolma_pipeline.config import check_recipe, load_recipe, recipe_from_text, resolved, resolved_yaml
from dolma_pipeline.config.presets import read_preset
from dolma_pipeline.config.recipe import MixConfig, Recipe, ReplaceConfig, TaggerConfig
from dolma_pipeline.errors import ConfigError

RECIPE = """
output: runs/a
sources: {web: {documents: w}, code: {documents: c}}
mix:
  presets: [./one.yaml, ./two.yaml]
  where: {own: chars > 1}
"""
ONE = """
summary: first
taggers: [a_v1, b_v1]
where: {long: a_v1.x > 1, short: a_v1.x < 9}
remove: {lines: [b_v1.bad, b_v1.worse]}
"""
TWO = """
summary: second
taggers: [{tagger: b_v1, level: 2}, c_v1]
where: {few: len(c_v1.mails) < 5}
replace: {mails: {spans: c_v1.mails, with: M}, bad: {spans: b_v1.bad, with: B}}
"""
TAGGERS = "tag={taggers: [{tagger: b_v1, level: 3}]}"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.yaml").write_text(ONE)
    (tmp_path / "two.yaml").write_text(TWO)
    monkeypatch.chdir(tmp_path)


def meant(*overrides: str) -> Recipe:
    return resolved(recipe_from_text(RECIPE, *overrides, name="my.yaml"))


def mix_of(recipe: Recipe) -> MixConfig:
    assert recipe.mix is not None
    return recipe.mix


def wrong(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        recipe_from_text(RECIPE, *overrides, name="my.yaml")
    return str(caught.value)


def test_rules_and_edits_and_taggers() -> None:
    recipe = meant(TAGGERS)
    mix = mix_of(recipe)
    assert (mix.presets, mix.skip_rules) == ((), ())
    assert [*mix.where.items()] == [
        ("one.long", "a_v1.x > 1"),
        ("one.short", "a_v1.x < 9"),
        ("two.few", "len(c_v1.mails) < 5"),
        ("own", "chars > 1"),
    ]
    for source in ("web", "code"):
        assert mix.sources[source].remove == ("b_v1.bad", "b_v1.worse")
        assert [one.spans for one in mix.sources[source].replace] == ["c_v1.mails", "b_v1.bad"]
    assert recipe.tag is not None
    assert [(use.name, use.parameters) for use in recipe.tag.taggers] == [
        ("b_v1", {"level": 3}),
        ("a_v1", {}),
        ("c_v1", {}),
    ]


def test_places_are_those_of_the_preset() -> None:
    recipe = meant(TAGGERS)
    assert recipe.place("mix.where.one.short") == "./one.yaml:4: mix.where.one.short"
    assert recipe.place("mix.sources.web.remove.1") == "./one.yaml:5: mix.sources.web.remove.1"
    assert recipe.place("mix.sources.code.replace.0.spans") == "./two.yaml:5: mix.sources.code.replace.0.spans"
    assert recipe.place("tag.taggers.2") == "./two.yaml:3: tag.taggers.2"
    assert recipe.place("mix.where.own") == "my.yaml:6: mix.where.own"


def test_a_recipe_as_loaded_keeps_its_presets_and_what_they_meant_is_a_recipe_again() -> None:
    loaded = recipe_from_text(RECIPE, TAGGERS)
    assert mix_of(loaded).presets == ("./one.yaml", "./two.yaml")
    again = recipe_from_text(resolved_yaml(loaded))
    assert again == resolved(loaded) == resolved(resolved(loaded))
    assert "presets" not in resolved_yaml(loaded)
    changed = dataclasses.replace(loaded, mix=dataclasses.replace(mix_of(loaded), presets=("./one.yaml",)))
    assert [*mix_of(resolved(changed)).where] == ["one.long", "one.short", "own"]


def test_a_recipe_without_presets_stays_what_it_is() -> None:
    recipe = recipe_from_text(RECIPE, "mix.presets=null")
    assert mix_of(resolved(recipe)).sources == {}
    assert resolved(recipe).tag is None


def test_what_the_recipe_says_takes_the_place() -> None:
    recipe = meant(
        TAGGERS,
        "mix.where.one.long=a_v1.x > 3",
        "mix.replace=[{spans: c_v1.mails, with: own}]",
        "mix.sources.web.replace=[{spans: b_v1.bad, with: own}]",
        "mix.sources.web.remove=[b_v1.worse]",
    )
    mix = mix_of(recipe)
    assert [*mix.where.items()][:2] == [("one.long", "a_v1.x > 3"), ("one.short", "a_v1.x < 9")]
    assert recipe.place("mix.where.one.long") == "override 'mix.where.one.long=a_v1.x > 3': mix.where.one.long"
    assert mix.sources["web"].replace == (ReplaceConfig(spans="b_v1.bad", with_="own"),)
    assert mix.sources["web"].remove == ("b_v1.worse", "b_v1.bad")
    assert mix.sources["code"].replace == (ReplaceConfig(spans="b_v1.bad", with_="B"),)


def test_spans_may_be_replaced_by_their_scores(tmp_path: Path) -> None:
    two = "{spans: c_v1.mails, with: HIGH, min_score: 0.5}, low: {spans: c_v1.mails, with: LOW, max_score: 0.5}"
    (tmp_path / "two.yaml").write_text(TWO.replace("{spans: c_v1.mails, with: M}", two))
    put = mix_of(meant(TAGGERS)).sources["web"].replace
    assert [(one.with_, one.bounds) for one in put] == [
        ("HIGH", {"min_score": 0.5}),
        ("LOW", {"max_score": 0.5}),
        ("B", {}),
    ]


def test_a_rule_is_taken_away_everywhere() -> None:
    mix = mix_of(meant(TAGGERS, "mix.skip_rules=[one.short, two]"))
    assert [*mix.where] == ["one.long", "own"]
    assert mix.sources["web"].replace == ()
    assert mix.sources["web"].remove == ("b_v1.bad", "b_v1.worse")


def test_taggers_that_only_skipped_rules_read_are_not_added() -> None:
    def uses(*overrides: str) -> list[str]:
        tag = meant(*overrides).tag
        return [] if tag is None else [use.name for use in tag.taggers]

    assert uses("mix.presets=[./one.yaml]") == ["a_v1", "b_v1"]
    assert uses("mix.presets=[./one.yaml]", "mix.skip_rules=[one.lines]") == ["a_v1"]
    assert uses("mix.presets=[./one.yaml]", "mix.skip_rules=[one]") == []


def test_a_source_skips_a_preset_or_a_rule() -> None:
    mix = mix_of(meant(TAGGERS, "mix.sources.code.skip_rules=[one, two.mails, own]"))
    assert mix.sources["code"].skip_rules == ("one.long", "one.short", "own")
    assert mix.sources["code"].remove == ()
    assert [one.spans for one in mix.sources["code"].replace] == ["b_v1.bad"]
    assert mix.sources["web"].skip_rules == ()
    assert mix.sources["web"].remove == ("b_v1.bad", "b_v1.worse")
    assert "one.long" in mix.where


def test_a_source_skips_what_presets_became() -> None:
    """As `--what-if mix.sources.code.skip_rules=[one]` asks of a recipe that was written out."""
    text = resolved_yaml(recipe_from_text(RECIPE, TAGGERS))
    mix = mix_of(resolved(recipe_from_text(text, "mix.sources.code.skip_rules=[one]")))
    assert mix.sources["code"].skip_rules == ("one.long", "one.short")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["mix.presets=[gofer]"],
            "override 'mix.presets=[gofer]': mix.presets.0: no preset named 'gofer'. Did you mean",
        ),
        (["mix.presets=[./no.yaml]"], "mix.presets.0: ./no.yaml: No such file or directory; a preset is a YAML file"),
        (
            ["mix.presets=[./one.yaml, one.yaml]"],
            "mix.presets.1: ./one.yaml and one.yaml are both called 'one'; keep one",
        ),
        (["mix.where=chars > 1"], "mix.where: is one text, which has no names beside presets; write it as a mapping"),
        (
            ["mix.where.one.logn=x"],
            "mix.where.one.logn: no condition of the preset one named 'logn'. Did you mean 'long'",
        ),
        (["mix.where.one.lines=x"], "mix.where.one.lines: no condition of the preset one named 'lines'."),
        (["mix.skip_rules=[own]"], "mix.skip_rules.0: no rule of a preset named 'own'. Did you mean 'one'"),
        (["mix.skip_rules=[one, one.long]"], "mix.skip_rules.1: 'one.long' is skipped by what stands before it"),
        (["mix.skip_rules=[one.long, one.long]"], "mix.skip_rules.1: 'one.long' is skipped by what stands before it"),
        (["mix.skip_rules=[one.long]", "mix.where.one.long=x"], "`mix.skip_rules` skips 'one.long' too; keep one"),
        (
            ["mix.sources.web.skip_rules=[oen]"],
            "mix.sources.web.skip_rules.0: no rule named 'oen'. Did you mean 'own' or 'one'",
        ),
        (
            ["mix.sources.web.skip_rules=[two.mials]"],
            "skip_rules.0: no rule named 'two.mials'. Did you mean 'two.mails'",
        ),
        (
            ["mix.skip_rules=[one]", "mix.sources.web.skip_rules=[one]"],
            "mix.sources.web.skip_rules.0: no rule named 'one'.",
        ),
        (["mix.sources.web.where.one.long=x"], "`mix.where` has a rule 'one.long' too; rename this one, or put"),
        (
            ["tag={taggers: [{tagger: d_v1, name: a_v1}]}"],
            "./one.yaml:3: the preset one reads 'a_v1' of the tagger a_v1, but",
        ),
        ([], "./two.yaml:3: the presets one and two want b_v1 with other parameters; say in `tag.taggers` which"),
        (["mix.where.a.b.c=x"], "mix.where.a.b.c: a rule's name has letters, digits, - and _ only, and one dot where"),
        (
            ["mix.sources.web.replace=[{spans: x, with: y}]"],
            "mix.sources.web.replace.0.spans: found 'x', expected ATTRIB",
        ),
    ],
)
def test_errors(overrides: list[str], message: str) -> None:
    taggers = [] if not overrides or overrides[0].startswith("tag=") else [TAGGERS]
    assert message in wrong(*taggers, *overrides)


def test_an_error_in_a_preset_has_its_place(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(ONE.replace("b_v1.worse", "b_v1"))
    assert "./one.yaml:5: mix.sources.web.remove.1: found 'b_v1', expected ATTRIBUTE.FIELD" in wrong(TAGGERS)


def test_equal_taggers_of_two_presets_are_one(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO.replace("{tagger: b_v1, level: 2}", "b_v1"))
    tag = meant().tag
    assert tag is not None
    assert tag.taggers == tuple(TaggerConfig(tagger=name, name=name) for name in ("a_v1", "b_v1", "c_v1"))


def test_further_mixes_have_presets_too() -> None:
    sections: Mapping[str, type] = {"second": MixConfig}
    text = RECIPE.replace("mix:", "mix: {}\nsecond:")
    recipe = recipe_from_text(text, TAGGERS, "second.where.one.long=a_v1.x > 3", sections=sections)
    second = resolved(recipe).mixes()["second"]
    assert second.where["one.long"] == "a_v1.x > 3"
    assert second.sources["code"].remove == ("b_v1.bad", "b_v1.worse")
    assert resolved(recipe).mixes()["mix"].where == {}
    assert recipe_from_text(resolved_yaml(recipe), sections=sections) == resolved(recipe)


def test_a_recipe_made_in_python_is_checked_with_its_presets() -> None:
    loaded = recipe_from_text(RECIPE, TAGGERS)
    check_recipe(loaded)
    mix = dataclasses.replace(mix_of(loaded), skip_rules=("nothing",))
    with pytest.raises(ConfigError, match=r"mix\.skip_rules\.0: no rule of a preset named 'nothing'"):
        check_recipe(dataclasses.replace(loaded, mix=mix))


def test_the_quickstart_means_what_it_says() -> None:
    recipe = resolved(load_recipe(str(Path(__file__).parents[3] / "pipelines" / "quickstart.yaml")))
    mix = mix_of(recipe)
    assert {own.remove for own in mix.sources.values()} == {()}
    assert {own.replace for own in mix.sources.values()} == {()}
    prose = [f"{name}.{rule}" for name in ("gopher", "c4") for rule in read_preset(name).config.where]
    assert mix.sources["code"].skip_rules == ("english", *prose)
