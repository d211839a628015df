"""The user's modules: read and run before anything else, because stages, formats and taggers of a recipe are theirs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from dolma_pipeline.config import load_recipe, modules_of, storage_of
from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.registry import UserModule, install_modules, read_modules
from dolma_pipeline.run.stage import STAGES, at

_said: set[tuple[str, ...]] = set()


def open_recipe(path: str, *overrides: str) -> Recipe:
    """The recipe in a YAML file; its modules are loaded first, so that sections of their stages are known.

    Raises:
        ConfigError: anything wrong in it. UsageError: a module that cannot be read. TaggerError: one that does not run.
    """
    modules = modules_of(path, *overrides)
    if modules:
        storage = storage_of(path, *overrides)
        _load(modules, storage.settings() if storage else {})
    sections = {name: stage.section for name, stage in STAGES.items() if stage.section is not None}
    return load_recipe(path, *overrides, sections=sections)


def user_modules(recipe: Recipe) -> tuple[UserModule, ...]:
    """The recipe's modules, read and loaded."""
    if not recipe.modules:
        return ()
    with at(recipe, "modules"):
        return _load(recipe.modules, recipe.input_settings())


def _load(names: Sequence[str], settings: Mapping[str, str]) -> tuple[UserModule, ...]:
    """Read and run modules; they are named first, because loading runs their code."""
    if tuple(names) not in _said:
        print(f"loading modules: {', '.join(names)}", file=sys.stderr)
        _said.add(tuple(names))
    modules = read_modules(names, settings=settings)
    install_modules(modules)
    return modules
