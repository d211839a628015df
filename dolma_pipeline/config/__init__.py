"""Recipes: from YAML and `key=value` to frozen dataclasses, and back. See docs/recipes.md for every key."""

from dolma_pipeline.config.checks import check_recipe
from dolma_pipeline.config.loader import load_recipe, modules_of, recipe_from_text, storage_of
from dolma_pipeline.config.recipe import STAGES, Recipe
from dolma_pipeline.config.resolve import resolved
from dolma_pipeline.config.sizes import parse_size
from dolma_pipeline.config.write import resolved_yaml

__all__ = [
    "STAGES",
    "Recipe",
    "check_recipe",
    "load_recipe",
    "modules_of",
    "parse_size",
    "recipe_from_text",
    "resolved",
    "resolved_yaml",
    "storage_of",
]
