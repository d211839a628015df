"""Differences of settings, each once, in the words of the recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.runner.changes import changes

OLD, NEW = "lang.en >= 0.5", "lang.en >= 0.7"
BOTH = ("a", "b")


def made(reads: dict[str, Any], own: dict[str, dict[str, Any]] | None = None, **files: str) -> Artifact:
    return Artifact("mix", "mix", reads, own or {}, {k.replace("_", "."): v for k, v in files.items()}, sources=BOTH)


@pytest.mark.parametrize(
    ("before", "now", "lines"),
    [
        (made({"mix.where.en": OLD}), made({"mix.where.en": NEW}), [f"mix.where.en: '{OLD}' -> '{NEW}'"]),
        (made({}, {"b": {"mix.sources.b.where.own": OLD}}), made({}, {"b": {"mix.sources.b.where.own": NEW}}),
         [f"mix.sources.b.where.own: '{OLD}' -> '{NEW}'"]),
        (made({}), made({}, {"a": {"mix.sources.a.skip_rules": ["r"]}}),
         ["mix.sources.a.skip_rules: (nothing) -> ['r']"]),
        (made({f"mix.where: {OLD}": OLD}), made({f"mix.where: {NEW}": NEW}),
         [f"mix.where: {OLD}: '{OLD}' -> (nothing)", f"mix.where: {NEW}: (nothing) -> '{NEW}'"]),
        (made({}, {"a": {"mix.where: order": ["x", "y"]}}), made({}, {"a": {"mix.where: order": ["y", "x"]}}),
         ["mix.where: order: ['x', 'y'] -> ['y', 'x']"]),
        (made({}, {"a": {"mix.where: order": ["x"]}}), made({}, {"a": {"mix.where: order": ["y", "x"]}}), []),
        (made({"tag.taggers.t.on": True, "tag.format": "jsonl"}), made({"tag.taggers.t.on": False, "tag.format": "x"}),
         ["tag.taggers.t.on: true -> false", "tag.format: 'jsonl' -> 'x'"]),
        (made({}, tokenizer_load="1"), made({}, tokenizer_load="2"), ["tokenizer.load: other content"]),
        (made({}), made({}, tokenizer_load="2"), ["tokenizer.load: is new"]),
        (made({}, signatures="format 2"), made({}, signatures="format 3"),
         ["mix: its signatures were made by another version of this program (format 2 -> format 3)"]),
        (made({}), made({}, signatures="format 2"),
         ["mix: its signatures were made by another version of this program (format 1 -> format 2)"]),
        (made({}, {"a": {"sources.a.attributes": "1"}}), made({}, {"a": {"sources.a.attributes": "2"}}),
         ["sources.a.attributes: other files"]),
        (made({}, {"a": {"modules: wet.py (format wet)": "1"}}), made({}, {"a": {"modules: wet.py (format wet)": "2"}}),
         ["modules: wet.py (format wet): other content"]),
        (made({"a": 1}), made({"a": 1}), []),
    ],
)  # fmt: skip
def test_in_the_words_of_the_recipe(before: Artifact, now: Artifact, lines: list[str]) -> None:
    assert list(changes(now, before.settings())) == lines


def test_a_new_source_is_no_change_and_its_settings_are_none() -> None:
    before = replace(made({"k": 1}), sources=("a",))
    now = made({"k": 1}, {"b": {"mix.sources.b.weight": 2.0}})
    assert list(changes(now, before.settings())) == []
    assert now.is_like(before.settings())


def test_nothing_was_made() -> None:
    assert list(changes(made({"k": 1}), None)) == ["k: (nothing) -> 1"]
