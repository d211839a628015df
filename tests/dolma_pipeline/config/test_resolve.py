"""What a key that was left out means, by what else the recipe has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dolma_pipeline.config import Recipe, recipe_from_text, resolved, resolved_yaml
from dolma_pipeline.config.recipe import HeldOutConfig, MixConfig
from dolma_pipeline.config.resolve import resolved_mix

FULL = (Path(__file__).parent / "full.yaml").read_text(encoding="utf-8")
NO_TOKENS = ("tokens=null", "train=null", "eval=null")
NO_TOKENIZER = (*NO_TOKENS, "tokenizer=null", "mix.target_tokens=null", "mix.sources={}")


def held_out(recipe: Recipe) -> HeldOutConfig:
    assert recipe.mix is not None
    assert recipe.mix.held_out is not None
    return recipe.mix.held_out


@pytest.mark.parametrize(
    ("overrides", "documents"),
    [
        ((), False),
        (NO_TOKENS, True),
        (("mix.documents=true",), True),
        ((*NO_TOKENS, "mix.documents=false"), False),
    ],
)
def test_documents_are_written_where_there_are_no_tokens(overrides: tuple[str, ...], documents: bool) -> None:
    recipe = recipe_from_text(FULL, *overrides)
    found = resolved(recipe)
    assert found.mix is not None
    assert found.mix.documents is documents
    assert f"\n  documents: {str(documents).lower()}\n" in resolved_yaml(recipe)
    assert resolved(found) == found


@pytest.mark.parametrize(
    ("overrides", "max_tokens", "max_bytes"),
    [
        ((), 1_000_000, None),
        (NO_TOKENIZER, None, 4_000_000),
        (("mix.held_out.max_tokens=5",), 5, None),
        (("mix.held_out.max_bytes=5",), None, 5),  # a bound of one's own is the only one
        (("mix.held_out.max_bytes=5", "mix.held_out.max_tokens=6"), 6, 5),
        ((*NO_TOKENIZER, "mix.held_out.max_bytes=5"), None, 5),
    ],
)
def test_what_is_held_out_is_bounded(overrides: tuple[str, ...], max_tokens: int | None, max_bytes: int | None) -> None:
    found = held_out(resolved(recipe_from_text(FULL, *overrides)))
    assert found == HeldOutConfig(share=0.02, max_tokens=max_tokens, max_bytes=max_bytes)


def test_a_recipe_changed_in_python_means_what_its_yaml_would() -> None:
    changed = dataclasses.replace(recipe_from_text(FULL), tokens=None, train=None, eval=None)
    assert resolved(changed) == resolved(recipe_from_text(FULL, *NO_TOKENS))


def test_without_a_mix_nothing_changes() -> None:
    recipe = recipe_from_text(FULL, *NO_TOKENS, "mix=null")
    assert resolved(recipe) is recipe
    assert resolved(recipe_from_text(FULL, "mix.held_out=null", "eval=null", "train=null")).mix is not None


@pytest.mark.parametrize(
    ("share", "failed", "seen", "allowed"),
    [
        ("0.01", 1, 100, True),
        ("0.01", 1, 99, False),
        ("0.29", 29, 100, True),  # 0.29 * 100 is below 29 in floating point
        ("0.29", 30, 100, False),
        ("0", 0, 10, True),
        ("0", 1, 10**9, False),
        ("1", 10, 10, True),
        ("0.07", 7, 100, True),
        ("0.01", 0, 0, True),
    ],
)
def test_the_share_of_failures_is_exact(share: str, failed: int, seen: int, allowed: bool) -> None:
    recipe = recipe_from_text(FULL, f"max_failed_share={share}")
    assert recipe.allows_failures(failed, seen) is allowed


def test_a_mix_of_another_name_means_the_same_by_what_is_beside_it() -> None:
    mix = MixConfig(held_out=HeldOutConfig(share=0.1))
    found = [
        resolved_mix(mix, tokens=tokens, tokenizer=tokenizer) for tokens, tokenizer in ((True, True), (False, False))
    ]
    assert [one.documents for one in found] == [False, True]
    assert [one.held_out for one in found] == [
        HeldOutConfig(share=0.1, max_tokens=1_000_000), HeldOutConfig(share=0.1, max_bytes=4_000_000)
    ]  # fmt: skip
    assert resolved_mix(found[0], tokens=False, tokenizer=False) == found[0]


def test_sections_of_other_mixes_are_left_to_their_stages() -> None:
    recipe = recipe_from_text(f"{FULL}\nsmall: {{held_out: {{share: 0.1}}}}\n", sections={"small": MixConfig})
    assert [*recipe.mixes()] == ["mix", "small"]
    assert resolved(recipe).sections == recipe.sections
