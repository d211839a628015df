"""Sections that stages from outside declare: read, checked and written like ours."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from dolma_pipeline.config import load_recipe, modules_of, recipe_from_text, resolved_yaml
from dolma_pipeline.config.keys import Key, rows_of
from dolma_pipeline.errors import ConfigError, UsageError

BASE = "output: a\nsources: {web: {documents: x}}\n"


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """One step of the toy."""

    name: Annotated[str, Key(purpose="of the step", at_least=1)]
    size: Annotated[int, Key(purpose="how much", unit="bytes", at_least=1)] = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """A stage from outside."""

    model: Annotated[Literal["small", "large"], Key(purpose="which")] = "small"
    share: Annotated[float, Key(purpose="of it", above=0, at_most=1)]
    steps: Annotated[tuple[StepConfig, ...], Key(purpose="what to do", shorthand="name")] = ()
    labels: Annotated[Mapping[str, str], Key(purpose="by name")] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.model == "large" and self.share > 0.5:
            raise ValueError(f"a large model takes a share up to 0.5, found {self.share}")


@dataclass(frozen=True, kw_only=True)
class OtherConfig:
    """Another one."""

    parameters: Mapping[str, Any] = field(default_factory=dict)


SECTIONS: dict[str, type] = {"toy": ToyConfig, "other": OtherConfig}


def error(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        recipe_from_text(BASE + text, *overrides, name="my.yaml", sections=SECTIONS)
    return str(caught.value)


def test_a_section_becomes_its_dataclass_and_its_stage_comes_last() -> None:
    text = "toy: {share: 0.5, steps: [one, {name: two, size: 2MB}]}\ntag: {taggers: [t]}\nother: {a: [1, 2]}\n"
    recipe = recipe_from_text(BASE + text, sections=SECTIONS, name="my.yaml")
    steps = (StepConfig(name="one"), StepConfig(name="two", size=2_000_000))
    assert recipe.sections == {"toy": ToyConfig(share=0.5, steps=steps), "other": OtherConfig(parameters={"a": (1, 2)})}
    assert recipe.stages() == ("tag", "toy", "other")
    assert recipe.place("toy.steps.1.size") == "my.yaml:3: toy.steps.1.size"
    swapped = recipe_from_text(f"{BASE}other: {{}}\ntoy: {{share: 1}}\n", sections=SECTIONS)
    assert swapped.stages() == ("toy", "other")  # in the order of their declaration
    assert pickle.loads(pickle.dumps(recipe)) == recipe


def test_overrides_reach_it_and_null_takes_it_out() -> None:
    text = f"{BASE}tag: {{taggers: [t]}}\ntoy: {{share: 0.5}}\n"
    changed = recipe_from_text(text, "toy.steps=[a]", "toy.steps.a.size=3k", sections=SECTIONS)
    assert changed.sections["toy"] == ToyConfig(share=0.5, steps=(StepConfig(name="a", size=3000),))
    assert recipe_from_text(text, "toy=null", sections=SECTIONS).sections == {}
    assert recipe_from_text(text.replace("{share: 0.5}", "null"), sections=SECTIONS).stages() == ("tag",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("toy: {}", "my.yaml:3: toy.share: is missing; expected a number: of it"),
        ("toy: {share: 2}", "my.yaml:3: toy.share: found the number 2, expected at most 1; of it"),
        ("toy: {shar: 1}", "my.yaml:3: toy.shar: no key named 'shar'. Did you mean 'share'?"),
        ("toy: {share: 1, model: smal}", "toy.model: found text 'smal', expected one of small, large; did you mean"),
        ("toy: {share: 1, steps: [{size: 1}]}", "toy.steps.0.name: is missing; expected text: of the step"),
        ("toy: {share: 1, model: large}", "my.yaml:3: toy: a large model takes a share up to 0.5, found 1.0"),
        ("toy:", "my.yaml:3: toy: found nothing, expected a mapping with the keys model, share, steps, labels"),
        ("toi: {share: 1}", "my.yaml:3: toi: no key named 'toi'. Did you mean 'toy'?"),
        ("toy: 3", "toy: found the number 3, expected a mapping with the keys model"),
    ],
)
def test_its_errors_are_those_of_ours(text: str, message: str) -> None:
    assert message in error(text + "\n")


def test_without_the_declaration_it_is_an_unknown_key() -> None:
    with pytest.raises(ConfigError, match=r"^recipe:3: toy: no key named 'toy'\."):
        recipe_from_text(f"{BASE}toy: {{share: 1}}\n")


def test_written_and_read_again() -> None:
    text = "toy: {share: 0.5, steps: [one]}\nother: {b: x}\nbeam: {runner: r}\n"
    recipe = recipe_from_text(BASE + text, sections=SECTIONS)
    written = resolved_yaml(recipe)
    again = recipe_from_text(written, sections=SECTIONS)
    assert again == recipe
    assert resolved_yaml(again) == written
    assert written.endswith(
        "beam:\n  runner: r\n  shared_disk: false\n"
        "toy:\n  model: small\n  share: 0.5\n  steps:\n    - {name: one, size: 1000000}\n  labels: {}\n"
        "other:\n  b: x\n"
    )


def test_its_keys_describe_themselves() -> None:
    assert [row.path for row in rows_of(ToyConfig, "toy.")] == [
        "toy.model", "toy.share", "toy.steps", "toy.steps[].name", "toy.steps[].size", "toy.labels"
    ]  # fmt: skip


def test_a_declaration_that_is_wrong_is_the_authors_error() -> None:
    class Plain:
        pass

    @dataclass
    class Warm:
        a: Annotated[int, Key(purpose="x")] = 1

    @dataclass(frozen=True)
    class Bare:
        a: int = 1

    for name, section, words in (
        ("mix", ToyConfig, "a recipe has a key of that name already; give the stage another name"),
        ("sources", ToyConfig, "a recipe has a key of that name already"),
        ("My-Toy", ToyConfig, "a section's name has small letters, digits and _, a letter first"),
        ("toy", Plain, "write it as a frozen dataclass: @dataclass(frozen=True, kw_only=True)"),
        ("toy", Warm, "write it as a frozen dataclass"),
        ("toy", Bare, "field 'a' has no Key: write Annotated[TYPE, Key(purpose=...)]"),
    ):
        with pytest.raises(UsageError) as caught:
            recipe_from_text(BASE, sections={name: section})
        assert str(caught.value).startswith(f"section '{name}' ({__name__}.{section.__qualname__}): {words}")


def test_modules_are_read_before_the_rest_can_be_checked(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("modules: [./toy.py, mine.other]\ntoy: {share: 7}\nnonsense: 1\n", encoding="utf-8")
    assert modules_of(str(path)) == ("./toy.py", "mine.other")
    assert modules_of(str(path), "modules=[x]", "nonsense.a.b=3", "not an override") == ("x",)
    assert modules_of(str(path), "modules.1=y") == ("./toy.py", "y")
    assert modules_of(str(path), "modules=null") == ()
    path.write_text("output: a\n", encoding="utf-8")
    assert modules_of(str(path)) == ()
    path.write_text("output: a\nmodules: toy.py\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        modules_of(str(path))
    assert str(caught.value) == f"{path}:2: modules: found text 'toy.py', expected a list; write [toy.py]"
    with pytest.raises(ConfigError, match="No such file or directory"):
        modules_of(str(tmp_path / "none.yaml"))


def test_a_file_with_sections_and_overrides(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(f"{BASE}toy: {{share: 0.5}}\n", encoding="utf-8")
    recipe = load_recipe(str(path), "toy.share=0.25", sections=SECTIONS)
    assert recipe.sections == {"toy": ToyConfig(share=0.25)}
    assert dataclasses.replace(recipe, sections={}).stages() == ()
