"""A recipe from YAML: read, expand, override, type, check. The one way from text to `Recipe`.

Costs about 10 ms; touches no file but the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dolma_pipeline.config.checks import check_recipe
from dolma_pipeline.config.overrides import apply_override, derive, expand
from dolma_pipeline.config.recipe import Recipe, StorageConfig
from dolma_pipeline.config.sections import check_sections
from dolma_pipeline.config.typed import build_recipe, build_value
from dolma_pipeline.config.yaml import Located, parse_yaml, read_yaml


def load_recipe(path: str, *overrides: str, sections: Mapping[str, type] | None = None) -> Recipe:
    """The recipe in a YAML file, typed, frozen and checked.

    Args:
        path: of the YAML file; paths inside it start at the working directory, not at the file.
        overrides: `key=value`, applied in order before the checks, such as `mix.target_tokens=20M`.
        sections: top-level keys that stages from outside declare, each with its frozen dataclass (see `modules_of`).

    Raises:
        ConfigError: says file:line (or the override), key, what was found, what is expected.
        UsageError: a section that is declared wrongly.
    """
    return _recipe(read_yaml(path), overrides, sections or {})


def recipe_from_text(
    text: str, *overrides: str, name: str = "recipe", sections: Mapping[str, type] | None = None
) -> Recipe:
    """Like `load_recipe`, from a YAML text; `name` stands for the file in errors."""
    return _recipe(parse_yaml(text, name), overrides, sections or {})


def modules_of(path: str, *overrides: str) -> tuple[str, ...]:
    """The `modules` of a recipe, before the rest of it can be checked: they may declare sections of their own.

    Args:
        path: of the YAML file. overrides: of them only those of `modules` are looked at.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or `modules` is not a list of text.
    """
    return _modules(read_yaml(path), overrides)


def storage_of(path: str, *overrides: str) -> StorageConfig | None:
    """The `storage` of a recipe, before the rest of it can be checked: modules may be on an object store.

    Raises:
        ConfigError: as `modules_of`.
    """
    tree = read_yaml(path)
    for override in overrides:
        if override.partition("=")[0].split(".")[0] == "storage":
            apply_override(tree, override)
    assert isinstance(tree.value, dict)
    located = tree.value.get("storage")
    storage: StorageConfig | None = None if located is None else build_value(Recipe, "storage", located)
    return storage


def _modules(tree: Located, overrides: Sequence[str]) -> tuple[str, ...]:
    for override in overrides:
        if override.partition("=")[0].split(".")[0] == "modules":
            apply_override(tree, override)
    assert isinstance(tree.value, dict)
    located = tree.value.get("modules")
    modules: tuple[str, ...] = () if located is None else build_value(Recipe, "modules", located)
    return modules


def _recipe(tree: Located, overrides: Sequence[str], sections: Mapping[str, type]) -> Recipe:
    check_sections(sections)
    tree.key_place = tree.key_place or tree.place
    _expand(tree, sections)
    for override in overrides:
        apply_override(tree, override)
        _expand(tree, sections)
    derive(tree)
    recipe = build_recipe(tree, sections)
    check_recipe(recipe)
    return recipe


def _expand(tree: Located, sections: Mapping[str, type]) -> None:
    expand(tree, Recipe)
    for name, section in sections.items():
        if isinstance(tree.value, dict) and name in tree.value:
            expand(tree.value[name], section)
