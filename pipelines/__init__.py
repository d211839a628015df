"""Whole recipes, to run and to start from. See docs/recipes.md."""
