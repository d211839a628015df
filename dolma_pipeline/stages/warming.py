"""Which compiled kernels a run will use, so that they can be compiled before it starts."""

from __future__ import annotations

from collections.abc import Collection

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.kernels.warm import checked
from dolma_pipeline.registry import tagger_specs
from dolma_pipeline.stages.dedupe.kinds import KINDS


def kernels_of(recipe: Recipe, stages: Collection[str], *, formats: Collection[str] = ("jsonl",)) -> list[str]:
    """Names of `kernels.warm.KERNELS` that some stages of a recipe use; too few costs time, and nothing else.

    Args:
        recipe: a recipe; a user's own taggers count once they are installed.
        stages: those that will run.
        formats: of the documents that are read.
    """
    names: set[str] = set()
    mixing = {"tokenizer", "mix", "tokens", *recipe.mixes(), *recipe.token_sections()}
    if {"tag", "decontaminate", "dedupe", *mixing} & set(stages) and "jsonl" in formats:
        names.add("json_lines")
    if recipe.tag and "tag" in stages:
        used = {use.tagger for use in recipe.tag.taggers}
        names.update(kernel for spec in tagger_specs() if spec.name in used for kernel in spec.kernels)
    if recipe.decontaminate and "decontaminate" in stages:
        names |= {"folded", "ngrams", "spans"}
    if recipe.dedupe and "dedupe" in stages:
        kinds = [KINDS[step.kind] for step in recipe.dedupe.steps if step.kind in KINDS]
        names.update(kernel for kind in kinds for kernel in kind.kernels)
        if any(step.kind == "exact" and step.key == "folded" for step in recipe.dedupe.steps):
            names.add("minhash")
    if mixing & set(stages) and any(
        mix.replace or any(one.remove or one.replace for one in mix.sources.values()) for mix in recipe.mixes().values()
    ):
        names.add("edit")
    return checked(names)
