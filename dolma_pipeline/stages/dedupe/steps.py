"""The dedupe steps of a recipe: those that elect documents, and those that mark stretches of text in what stays."""

from __future__ import annotations

from dolma_pipeline.config.recipe import DedupeStepConfig, Recipe
from dolma_pipeline.stages.dedupe.kinds import TextKind, known_kind


def all_steps(recipe: Recipe) -> list[DedupeStepConfig]:
    """All steps, in order."""
    return list(recipe.dedupe.steps) if recipe.dedupe else []


def electing_steps(recipe: Recipe) -> list[DedupeStepConfig]:
    """The steps that say which documents stay, in order: rules on `keep`, held-out groups and copies are of these."""
    return [step for step in all_steps(recipe) if known_kind(step).elects]


def span_steps(recipe: Recipe) -> list[DedupeStepConfig]:
    """The steps that mark repeated stretches of text and take no document away, in order."""
    return [
        step for step in all_steps(recipe) if not known_kind(step).elects and not isinstance(known_kind(step), TextKind)
    ]


def text_steps(recipe: Recipe) -> list[DedupeStepConfig]:
    """The steps that mark what is told by a text alone, in order."""
    return [step for step in all_steps(recipe) if isinstance(known_kind(step), TextKind)]


def electing_before(recipe: Recipe, name: str) -> list[DedupeStepConfig]:
    """The steps before the one of this name that say which documents stay."""
    names = [step.name for step in all_steps(recipe)]
    before = set(names[: names.index(name)])
    return [step for step in electing_steps(recipe) if step.name in before]
