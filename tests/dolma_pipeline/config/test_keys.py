"""Every field of every section describes itself, and the docs hold the same description."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dolma_pipeline.config import recipe as recipe_module
from dolma_pipeline.config import training as training_module
from dolma_pipeline.config.keys import Row, fields_of, rest_of, rows_of, section_of, shape_of, words_for
from dolma_pipeline.config.recipe import MixConfig, Recipe, SftConfig, TagConfig, TrainConfig

ROWS = list(rows_of(Recipe))
ALLOWED_WITHOUT_KEY = {"origin", "sections", "parameters", "options"}
FOLLOWS = {"model", "shape", "max_tokens", "warmup_steps", "stages", "extend", "loss_by_source", "eval_every_steps"}
"""Of `train`, and no keys of sft and dpo: they follow from the model and the data."""


def test_every_section_is_a_frozen_keyword_dataclass_whose_fields_have_keys() -> None:
    sections = [
        one
        for module in (recipe_module, training_module)
        for one in vars(module).values()
        if dataclasses.is_dataclass(one) and isinstance(one, type) and one.__module__ == module.__name__
    ]
    reached = {Recipe} | {section_of(field.type) for one in sections for field in fields_of(one)} - {None}
    assert set(sections) == reached
    for section in sections:
        described = {field.name for field in fields_of(section)}
        every = {field.name for field in dataclasses.fields(section)}
        follows = FOLLOWS if issubclass(section, SftConfig) else set()
        assert every - described <= ALLOWED_WITHOUT_KEY | follows
        assert section.__doc__
        assert not section.__doc__.startswith(section.__name__ + "(")


def test_every_purpose_is_one_line() -> None:
    for row in ROWS:
        assert row.purpose, row.path
        assert "\n" not in row.purpose
        assert not row.purpose.endswith(".")
        assert len(row.purpose) < 90


@pytest.mark.parametrize(
    "row",
    [
        Row("seed", "whole number", "1", "", "of everything that is drawn"),
        Row("max_memory", "size", "4GB", "bytes", "of one process"),
        Row("name", "text", "last part of output", "", "in reports"),
        Row("mix.target_tokens", "whole number", "none", "tokens", "budget; none: everything that passes"),
        Row("mix.target_bytes", "size", "none", "bytes", "the budget in bytes of text as read"),
        Row("mix.documents", "true or false", "true without `tokens`, else false", "", "write the edited documents"),
        Row("mix.held_out.max_tokens", "whole number", "1M with a tokenizer", "tokens", "most of one source"),
        Row(
            "max_failed_files",
            "whole number",
            "0",
            "files",
            "files that could not be read to their end; above it: exit 3",
        ),
        Row("tag.taggers[].KEY", "anything", "its own", "", "all other keys are parameters"),
        Row("mix.sources.NAME.weight", "number", "none", "", "relative share of the budget; none: by its size"),
    ],
)
def test_rows(row: Row) -> None:
    assert row in ROWS


def test_the_docs_have_every_key_as_it_is() -> None:
    text = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    expected = [
        "| `{}` | {} | {} | {} | {} |".format(row.path, *(cell.replace("|", "\\|") for cell in row[1:])) for row in ROWS
    ]
    assert sorted(lines) == sorted(expected)


def test_types_in_words() -> None:
    assert [words_for(field.type, field.key.unit) for field in fields_of(TagConfig)] == [
        "list of mappings",
        "parquet or jsonl",
    ]
    processes = next(field for field in fields_of(TrainConfig) if field.name == "processes")
    assert words_for(processes.type) == "whole number or auto"


def test_shapes_and_sections() -> None:
    by_name = {field.yaml_name: field for field in fields_of(MixConfig)}
    assert shape_of(by_name["replace"].type) == "list"
    assert shape_of(by_name["sources"].type) == "mapping"
    assert shape_of(by_name["held_out"].type) == "value"
    assert section_of(by_name["replace"].type) is recipe_module.ReplaceConfig
    assert section_of(by_name["held_out"].type) is recipe_module.HeldOutConfig
    assert section_of(by_name["where"].type) is None
    assert [field.yaml_name for field in fields_of(recipe_module.ReplaceConfig)] == [
        "spans",
        "with",
        "min_score",
        "max_score",
        "key",
    ]
    assert rest_of(recipe_module.MixerConfig) == "parameters"
    assert rest_of(recipe_module.BeamConfig) == "options"
    assert rest_of(MixConfig) is None
