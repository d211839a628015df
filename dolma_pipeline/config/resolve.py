"""What keys mean where that follows from elsewhere: presets become their rules, `None` becomes a value.

A run begins with `resolved(recipe)`, and so does `resolved_yaml`; a `Recipe` as it is loaded keeps `None`, so that one
changed in Python (`dataclasses.replace`) means the same as its YAML would.
"""

from __future__ import annotations

import dataclasses

from dolma_pipeline.config.preset_rules import with_presets
from dolma_pipeline.config.recipe import HeldOutConfig, MixConfig, Recipe

HELD_OUT_TOKENS = 1_000_000
HELD_OUT_BYTES = 4_000_000
"""Most of one source that is held out, where the recipe sets no bound; a token is about four bytes."""


def resolved(recipe: Recipe) -> Recipe:
    """The same recipe with the rules of presets, `mix.documents` and the bound of `mix.held_out` written out, and
    the length of a training in stages.

    Again, it changes nothing. Sections of stages from outside, other mixes among them, are left to these stages
    (`run.stage.resolved_recipe`), but for their presets.

    Raises:
        ConfigError: a preset that is not there or does not fit; a recipe that was checked has none.
    """
    recipe = with_presets(recipe)
    if recipe.train is not None and recipe.train.stages:
        total = sum(stage.max_tokens for stage in recipe.train.stages)
        recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, max_tokens=total))
    if recipe.mix is None:
        return recipe
    mix = resolved_mix(recipe.mix, tokens=recipe.tokens is not None, tokenizer=recipe.tokenizer is not None)
    return dataclasses.replace(recipe, mix=mix)


def resolved_mix(mix: MixConfig, *, tokens: bool, tokenizer: bool) -> MixConfig:
    """The section of a mix with `documents` and the bound of `held_out` written out.

    Args:
        tokens: whether the recipe makes token parts of it. tokenizer: whether documents are counted in tokens.
    """
    documents = not tokens if mix.documents is None else mix.documents
    held_out = None if mix.held_out is None else _bounded(mix.held_out, tokens=tokenizer)
    return dataclasses.replace(mix, documents=documents, held_out=held_out)


def _bounded(held_out: HeldOutConfig, *, tokens: bool) -> HeldOutConfig:
    if held_out.max_tokens is not None or held_out.max_bytes is not None:
        return held_out
    if tokens:
        return dataclasses.replace(held_out, max_tokens=HELD_OUT_TOKENS)
    return dataclasses.replace(held_out, max_bytes=HELD_OUT_BYTES)
