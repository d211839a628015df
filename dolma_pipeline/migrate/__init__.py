"""From other tools to this one: Dolma's mixer configs as recipes, their filters as SQL."""

from dolma_pipeline.migrate.mixer import recipe_of

__all__ = ["recipe_of"]
