"""Sections of a recipe that stages from outside declare: what such a declaration must be.

A stage that `modules` bring has a frozen dataclass whose fields carry a `Key`, as ours do (`config.keys`); the loader
checks the section by it, with the same errors. A recipe's modules are read first (`loader.modules_of`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from dolma_pipeline.config.keys import fields_of, rest_of
from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def check_sections(sections: Mapping[str, type]) -> None:
    """Raises UsageError if a name is taken or cannot be a key, or a type does not describe its keys.

    Args:
        sections: top-level key -> dataclass.
    """
    ours = {field.yaml_name for field in fields_of(Recipe)}
    for name, section in sections.items():
        what = f"section '{name}' ({section.__module__}.{section.__qualname__})"
        if name in ours:
            raise UsageError(f"{what}: a recipe has a key of that name already; give the stage another name")
        if not _NAME.fullmatch(name):
            raise UsageError(f"{what}: a section's name has small letters, digits and _, a letter first")
        if not dataclasses.is_dataclass(section) or not section.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise UsageError(f"{what}: write it as a frozen dataclass: @dataclass(frozen=True, kw_only=True)")
        described = {field.name for field in fields_of(section)} | {rest_of(section)}
        for field in dataclasses.fields(section):
            if field.name not in described:
                raise UsageError(f"{what}: field '{field.name}' has no Key: write Annotated[TYPE, Key(purpose=...)]")
