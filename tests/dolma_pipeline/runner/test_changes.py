"""Differences of settings, each once, in the words of the recipe."""

from __future__ import annotations

from typing import Any

import pytest

from dolma_pipeline.runner.changes import Made, recipe_changes


def mix(where: dict[str, Any], **own: Any) -> dict[str, Any]:
    return {"where": where, "sources": own}


OLD, NEW = "lang.en >= 0.5", "lang.en >= 0.7"


def test_a_rule_of_many_sources_and_units_is_said_once() -> None:
    before, now = ({source: {"english": sql} for source in ("a", "b", "c")} for sql in (OLD, NEW))
    units = [
        Made("dedupe", "attributes/exact", {"rules": before}, {"rules": now}),
        Made("tokenizer", "tokenizer", {"where": before}, {"where": now}),
        Made("mix", "mix", mix(before), mix(now)),
    ]
    assert recipe_changes(units) == [f"mix.where.english: '{OLD}' -> '{NEW}'"]


def test_a_rule_of_one_source_is_told_from_those_of_all() -> None:
    before, now = ({"a": {"long": "true"}, "b": {"own": sql}} for sql in (OLD, NEW))
    old, new = (mix(where, b={"where": where["b"]}) for where in (before, now))
    units = [Made("dedupe", "attributes/exact", {"rules": before}, {"rules": now}), Made("mix", "mix", old, new)]
    assert recipe_changes(units) == [f"mix.sources.b.where.own: '{OLD}' -> '{NEW}'"]


def test_a_skipped_rule_is_said_by_skip_rules_alone() -> None:
    old, new = mix({"a": {"r": OLD}}), mix({"a": {}}, a={"skip_rules": ["r"]})
    skip = "mix.sources.a.skip_rules: [] -> ['r']"
    assert skip in recipe_changes([Made("mix", "mix", old, new)])
    assert not [one for one in recipe_changes([Made("mix", "mix", old, new)]) if one.startswith("mix.where")]


@pytest.mark.parametrize(
    ("unit", "lines"),
    [
        (Made("mix", "mix", mix({"a": {OLD: OLD}}), mix({"a": {NEW: NEW}})),
         [f"mix.where: '{OLD}' -> (nothing)", f"mix.where: (nothing) -> '{NEW}'"]),
        (Made("mix", "mix", mix({"a": {}}), mix({"a": {}, "b": {"r": OLD}})), ["sources.b: is new"]),
        (Made("mix", "mix", {"rule_order": {"a": ["x", "y"]}}, {"rule_order": {"a": ["y", "x"]}}),
         ["mix.where: order: ['x', 'y'] -> ['y', 'x']"]),
        (Made("mix", "mix", {"rule_order": {"a": ["x"]}}, {"rule_order": {"a": ["y", "x"]}}), []),
        (Made("mix", "mix", {"sources": {}}, {"sources": {"a": {"weight": 2.0}}}),
         ["mix.sources.a.weight: (nothing) -> 2.0"]),
        (Made("dedupe", "attributes/exact", {"lengths": {}}, {"lengths": {"a": {"min_chars": 9, "edits": []}}}),
         ["mix.sources.a.min_chars: 0 -> 9"]),
        (Made("dedupe", "attributes/b", {"lengths": {"a": {"edits": []}}},
              {"lengths": {"a": {"edits": [["x.y", "z"]]}}}),
         ["mix.replace or mix.sources.a.remove: [] -> [['x.y', 'z']]"]),
        (Made("dedupe", "dedupe/near", {"kind": "minhash"}, {"kind": "minhash", "words": 2}),
         ["dedupe.steps.near: its signatures were made by another version of this program, which took other stretches "
          "of Chinese, Japanese, Thai and other scripts without blanks for words (1 -> 2)"]),
        (Made("dedupe", "dedupe/near", {"kind": "exact"}, {"kind": "minhash", "words": 2}),
         ["dedupe.steps.near.kind: 'exact' -> 'minhash'"]),
        (Made("dedupe", "attributes/b", {"prefer": "id", "earlier": []}, {"prefer": "text", "earlier": ["a"]}),
         ["dedupe.prefer: 'id' -> 'text'", "dedupe.steps: before b: [] -> ['a']"]),
        (Made("tokenizer", "tokenizer", {"min_chars": {}, "remove": {}},
              {"min_chars": {"a": 0}, "remove": {"a": ["x.y"]}}),
         ["mix.sources.a.remove: [] -> ['x.y']"]),
        (Made("tokenizer", "tokenizer", {"load": "1"}, {"load": "2"}), ["tokenizer.load: other content"]),
        (Made("tag", "attributes/t", {"file": "1", "parameters": {"n": 1}, "assets": {"lid": "1"}, "format": "jsonl"},
              {"file": "2", "parameters": {"n": 2}, "assets": {"lid": "2"}, "format": "parquet"}),
         ["modules: the file of t was changed", "tag.taggers.t.n: 1 -> 2", "tag.taggers.t: another model lid",
          "tag.format: 'jsonl' -> 'parquet'"]),
        (Made("tag", "attributes/t", {"fields": {"a": {"id": "x"}}, "attributes": {"a": "1"}},
              {"fields": {"a": {"id": "y"}}, "attributes": {"a": "2"}}),
         ["sources.a.fields.id: 'x' -> 'y'", "sources.a.attributes: other files"]),
        (Made("eval", "eval", {"held_out": True, "tasks": {"arc": "1"}}, {"held_out": False, "tasks": {"arc": "2"}}),
         ["eval.held_out: true -> false", "eval.tasks.arc: other content"]),
    ],
)  # fmt: skip
def test_in_the_words_of_the_recipe(unit: Made, lines: list[str]) -> None:
    assert recipe_changes([unit]) == lines
