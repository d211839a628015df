"""`--what-if` in the words of the recipe: rules by name and place, keys below `mix`, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dolma_pipeline.config import Recipe, resolved
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.errors import ConfigError, UsageError
from dolma_pipeline.look.changes import changed

TEXT = """
output: a
sources: {web: {documents: x}, code: {documents: y}}
tag: {taggers: [length_v1]}
mix:
  where: {words: length_v1.words > 5, long: chars > 9}
  sources:
    web: {where: {stars: bytes > 1, both: chars > 1}, skip_rules: [long]}
    code: {where: {both: chars > 2}}
"""


def recipe() -> Recipe:
    return recipe_from_text(TEXT)


def where(*changes: str) -> Any:
    mix = changed(recipe(), changes).mix
    assert mix is not None
    return list(mix.where.items()), {name: dict(one.where) for name, one in mix.sources.items()}


OWN = {"web": {"stars": "bytes > 1", "both": "chars > 1"}, "code": {"both": "chars > 2"}}


PRESETS = """
output: a
sources: {web: {documents: x}, code: {documents: y}}
tag: {taggers: [length_v1, {tagger: fineweb_v1, name: fineweb_v1}]}
mix:
  presets: [gopher, c4]
  skip_rules: [c4.lorem_ipsum]
  where: {long: chars > 9, gopher.words: gopher_v1.word_count > 9}
  sources: {code: {skip_rules: [gopher, c4.citations]}}
"""
"""A recipe with presets."""


@pytest.mark.parametrize(
    "changes",
    [
        ["mix.presets=[gopher]", "mix.sources.code.skip_rules=[gopher]", "mix.skip_rules=[]"],
        ["mix.presets=[gopher, c4, fineweb]"],
        ["mix.skip_rules=[c4, gopher.letters]", "mix.sources.code.skip_rules=null"],
        ["mix.sources.web.skip_rules=[c4.ends, gopher.words]"],
        ["mix.sources.code.skip_rules=[c4]", "seed=7"],
    ],
)
def test_settings_of_presets_mean_what_they_mean_in_the_recipe(changes: list[str]) -> None:
    """Their edits, too, which have no rule of their own."""
    before = recipe_from_text(PRESETS)
    assert changed(before, changes).mix == resolved(recipe_from_text(PRESETS, *changes)).mix


def test_settings_and_rules_of_presets_together() -> None:
    before = recipe_from_text(PRESETS)
    changes = [
        "mix.sources.web.skip_rules=[c4.ends]",
        "gopher.letters:",
        "gopher.words:",
        "c4.sentences: 1 = 1",
        "long:",
    ]
    mix = changed(before, changes).mix
    skipped = "mix.skip_rules=[c4.lorem_ipsum, gopher.letters, gopher.words]"
    expected = resolved(recipe_from_text(PRESETS, "mix.where=null", skipped, changes[0])).mix
    assert mix is not None
    assert expected is not None
    assert mix == replace(expected, where={**expected.where, "c4.sentences": "1 = 1"})
    code = mix.sources["code"].skip_rules
    assert "gopher.words" not in code
    assert "gopher.bullets" in code


def test_a_preset_that_goes_leaves_none_of_its_rules_to_skip() -> None:
    with pytest.raises(ConfigError) as raised:
        changed(recipe_from_text(PRESETS, name="my.yaml"), ["mix.presets=[gopher]"])
    assert str(raised.value).startswith(
        "--what-if 'mix.presets=[gopher]': my.yaml:7: mix.skip_rules.0: no rule of a preset named 'c4.lorem_ipsum'."
    )


@pytest.mark.parametrize(
    ("changes", "rules", "own"),
    [
        (["words: chars > 1"], [("words", "chars > 1"), ("long", "chars > 9")], OWN),
        (["new: a::INT = 3"], [("words", "length_v1.words > 5"), ("long", "chars > 9"), ("new", "a::INT = 3")], OWN),
        (["words:"], [("long", "chars > 9")], OWN),
        (["words: ", "words: x = 1"], [("long", "chars > 9"), ("words", "x = 1")], OWN),
        (["mix.where.long: chars > 8"], [("words", "length_v1.words > 5"), ("long", "chars > 8")], OWN),
        (
            ["stars: bytes > 7"],
            [("words", "length_v1.words > 5"), ("long", "chars > 9")],
            {**OWN, "web": {"stars": "bytes > 7", "both": "chars > 1"}},
        ),
        (
            ["mix.sources.code.where.both:", "mix.sources.code.where.more: 1 = 1"],
            [("words", "length_v1.words > 5"), ("long", "chars > 9")],
            {**OWN, "code": {"more": "1 = 1"}},
        ),
        (["mix.where.long=chars > 7"], [("words", "length_v1.words > 5"), ("long", "chars > 7")], OWN),
    ],
)
def test_a_rule_keeps_its_place_a_new_one_goes_last_and_nothing_removes(
    changes: list[str], rules: list[tuple[str, str]], own: dict[str, Any]
) -> None:
    assert where(*changes) == (rules, own)


def test_a_setting_may_name_a_new_rule() -> None:
    mix = changed(recipe(), ["mix.sources.code.skip_rules=[new]", "new: chars > 1"]).mix
    assert mix is not None
    assert mix.sources["code"].skip_rules == ("new",)
    with pytest.raises(ConfigError, match="no rule named 'long'"):
        changed(recipe(), ["mix.sources.code.skip_rules=[long]", "long:"])


def test_a_rule_that_is_gone_is_skipped_nowhere() -> None:
    mix = changed(recipe(), ["long:"]).mix
    assert mix is not None
    assert mix.sources["web"].skip_rules == ()


def test_the_rules_of_one_text_are_named_by_their_terms() -> None:
    text = TEXT.replace("{words: length_v1.words > 5, long: chars > 9}", '"chars > 4 AND bytes < 9"')
    mix = changed(
        recipe_from_text(text.replace(", skip_rules: [long]", "")), ["chars > 4: chars > 5", "new: 1 = 1"]
    ).mix
    assert mix is not None
    assert list(mix.where.items()) == [("chars > 4", "chars > 5"), ("bytes < 9", "(bytes < 9)"), ("new", "1 = 1")]


def test_keys_are_set_together_and_keep_their_place_in_errors() -> None:
    after = changed(recipe(), ["mix.target_bytes=5k", "seed=9", "mix.sources.web.weight=2", "mix.held_out.share=0.5"])
    assert after.mix is not None
    assert (after.seed, after.mix.target_bytes, after.mix.sources["web"].weight) == (9, 5000, 2.0)
    assert after.place("mix.target_bytes") == "--what-if 'mix.target_bytes=5k': mix.target_bytes"
    assert changed(recipe(), ["words: x"]).place("mix.where.words") == "--what-if 'words: x': mix.where.words"
    other = changed(after, ["mix.target_bytes=null", "mix.target_documents=7"])
    assert other.mix is not None
    assert (other.mix.target_bytes, other.mix.target_documents) == (None, 7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("words", "--what-if 'words': expected 'RULE: SQL', 'RULE:' (without it), or KEY=VALUE such as"),
        (": x", "expected 'RULE: SQL'"),
        ("wrods:", "--what-if 'wrods:': no rule named 'wrods'. Did you mean 'words'?"),
        (
            "both: chars > 3",
            "2 rules are called 'both'; say which: mix.sources.web.where.both, mix.sources.code.where.",
        ),
        (
            "tag.format=jsonl",
            "only `seed` and what is below `mix` can be tried on finished work; 'tag.format' needs a run",
        ),
        ("mix.target_token=5", "no key named 'target_token'. Did you mean 'target_tokens'"),
        ("mix.target_bytes=lots", "mix.target_bytes"),
    ],
)
def test_errors(change: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        changed(recipe(), [change])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            ["mix.where=null"],
            "--what-if 'mix.where=null': recipe:8: mix.sources.web.skip_rules.0: no rule named 'long'.",
        ),
        (
            ["mix.where=null", "seed=3"],
            "--what-if 'mix.where=null', 'seed=3': recipe:8: mix.sources.web.skip_rules.0: no rule named 'long'.",
        ),
        (["mix.target_bytes=x"], "--what-if 'mix.target_bytes=x': mix.target_bytes: found text 'x', expected"),
        (["seed=3", "mix.max_epochs=-1"], "--what-if 'mix.max_epochs=-1': mix.max_epochs: found the number -1, expec"),
        (["mix.where={"], "--what-if 'mix.where={': not YAML: "),
        (["mix.sources.x.min_chars=1"], "--what-if 'mix.sources.x.min_chars=1': mix.sources.x: no source named 'x'."),
        (["mix.where.both=x"], "--what-if 'mix.where.both=x': recipe:8: mix.sources.web.where.both: "),
        (["mix.where.both: x"], "--what-if 'mix.where.both: x': recipe:8: mix.sources.web.where.both: "),
        (["mix.target_bytes=5", "mix.target_documents=5"], "--what-if 'mix.target_"),
    ],
)
def test_an_error_names_the_change_and_no_place_that_nobody_has(changes: list[str], words: str) -> None:
    """Lines are those of TEXT, in which a key stands that the change is at odds with."""
    with pytest.raises(ConfigError) as caught:
        changed(recipe(), changes)
    assert str(caught.value).startswith(words)


def test_weights_that_lose_their_budget_name_the_change() -> None:
    weighted = recipe_from_text(TEXT.replace("{where: {both: chars > 2}}", "{weight: 2}\n  target_bytes: 10"))
    with pytest.raises(ConfigError) as caught:
        changed(weighted, ["mix.target_bytes=null"])
    assert str(caught.value).startswith(
        "--what-if 'mix.target_bytes=null': recipe:9: mix.sources.code.weight: needs a budget: set one of mix.target_"
    )


def test_two_budgets_are_an_error_as_in_a_recipe() -> None:
    with pytest.raises(ConfigError, match="a mix has one budget"):
        changed(recipe(), ["mix.target_bytes=5", "mix.target_documents=5"])
