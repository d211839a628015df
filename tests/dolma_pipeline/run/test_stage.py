"""The registry of stages, their order, and places in errors."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from dolma_pipeline import stages as _stages  # noqa: F401 importing it registers the stages
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.config.recipe import MixConfig, Recipe
from dolma_pipeline.errors import ConfigError, UsageError
from dolma_pipeline.run import stage as module
from dolma_pipeline.run.stage import STAGES, Stage, at, register, resolved_recipe, stages_in_order


class Toy(Stage):
    def __init__(self, name: str, *after: str) -> None:
        self.name, self.after = name, after


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Stage]:
    found: dict[str, Stage] = {}
    monkeypatch.setattr(module, "STAGES", found)
    return found


def test_our_stages_in_order() -> None:
    names = [one.name for one in stages_in_order()]
    assert names[:5] == ["index", "tag", "decontaminate", "judge", "dedupe"]
    assert names[5:] == ["verdicts", "tokenizer", "mix", "tokens", "train", "sft", "dpo", "eval"]


def test_order_is_by_what_comes_after_what_whatever_was_registered_first(registry: dict[str, Stage]) -> None:
    toys = [Toy("a"), Toy("b", "a"), Toy("c", "b", "nothing of that name")]
    for order in itertools.permutations(toys):
        registry.clear()
        for one in order:
            register(one)
        assert [one.name for one in stages_in_order()] == ["a", "b", "c"]


def test_a_circle(registry: dict[str, Stage]) -> None:
    register(Toy("a", "b"))
    register(Toy("b", "a"))
    with pytest.raises(UsageError, match=r"^the stages a, b come after each other in a circle$"):
        stages_in_order()


def test_a_name_taken_twice(registry: dict[str, Stage]) -> None:
    class Other(Toy):
        pass

    register(Toy("a"))
    register(Toy("a"))
    with pytest.raises(UsageError, match=r"^stage 'a' is registered twice: "):
        register(Other("a"))


def test_every_stage_has_a_summary() -> None:
    assert [one.name for one in STAGES.values() if not one.summary] == []


RECIPE = "output: x\nsources: {web: {documents: y}}\ntag:\n  taggers: [length_v1]\n"


def test_errors_get_the_place_of_their_key_once() -> None:
    recipe = recipe_from_text(RECIPE, name="my.yaml")
    with pytest.raises(ConfigError, match=r"^my\.yaml:4: tag\.taggers: no such thing$"), at(recipe, "tag.taggers"):
        raise UsageError("tag.taggers: no such thing")
    with pytest.raises(ConfigError, match=r"^my\.yaml:4: tag\.taggers: bad$"), at(recipe, "tag.taggers"):
        raise ConfigError("my.yaml:4: tag.taggers: bad")
    with pytest.raises(ZeroDivisionError), at(recipe, "tag.taggers"):
        raise ZeroDivisionError


def test_a_stage_writes_out_what_follows_from_other_keys(registry: dict[str, Stage]) -> None:
    """Ours first; only of those stages whose sections the recipe has."""

    class Second(Toy):
        def resolved(self, recipe: Recipe) -> Recipe:
            assert recipe.mix is not None
            section = MixConfig(documents=not recipe.mix.documents)
            return dataclasses.replace(recipe, sections={**recipe.sections, self.name: section})

    register(Second("second"))
    register(Second("third"))
    text = "output: a\nsources: {web: {documents: x}}\nmix: {}\nsecond: {}\n"
    found = resolved_recipe(recipe_from_text(text, sections={"second": MixConfig, "third": MixConfig}))
    assert found.mix == MixConfig(documents=True)
    assert found.sections == {"second": MixConfig(documents=False)}
    assert resolved_recipe(found) == found
