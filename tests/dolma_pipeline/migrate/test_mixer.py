"""Mixer configs as recipes: names, folders, notes, and errors that name a line."""

from __future__ import annotations

import json

import pytest

from dolma_pipeline.config import recipe_from_text
from dolma_pipeline.config.yaml import parse_yaml
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.migrate.mixer import Converted, recipe_of

STREAM = """\
streams:
- name: web
  documents: [data/documents/web/2024*/*.gz, s3://b/v1/documents/web/a.gz]
  attributes: [quality, dups]
  output: {path: out}
  filter:
    exclude: ["$.attributes[?(@.a__words[0][2] > 5)]"]
"""


def converted(text: str) -> Converted:
    return recipe_of(parse_yaml(text, "mixer.yaml"), output="runs/x")


def changed(old: str, new: str) -> str:
    assert old in STREAM
    return STREAM.replace(old, new)


def test_attributes_lie_beside_documents() -> None:
    recipe = recipe_from_text(converted(STREAM).recipe)
    assert (recipe.output, recipe.mix is not None and recipe.mix.documents) == ("runs/x", True)
    assert recipe.sources["web"].documents == ("data/documents/web/2024*/*.gz", "s3://b/v1/documents/web/a.gz")
    assert recipe.sources["web"].attributes == (
        "data/attributes/quality/web",
        "s3://b/v1/attributes/quality/web",
        "data/attributes/dups/web",
        "s3://b/v1/attributes/dups/web",
    )


def rules(include: list[str], exclude: list[str]) -> dict[str, str]:
    text = f"include: {json.dumps(include)}\n    exclude: {json.dumps(exclude)}"
    recipe = recipe_from_text(converted(changed('exclude: ["$.attributes[?(@.a__words[0][2] > 5)]"]', text)).recipe)
    assert recipe.mix is not None
    return dict(recipe.mix.sources["web"].where)


def test_rules_have_names_and_all_must_be_true() -> None:
    asked = "$.attributes[?(@.a__x__words[0][2] > {})]"
    found = rules([asked.format(1), "$.metadata.url"], [asked.format(8), asked.format(9), "$.metadata.b.c_d"])
    assert found == {
        "include": "score(a.x__words) > 1 OR (metadata->'$.url') IS NOT NULL",
        "words": "NOT (score(a.x__words) > 8)",
        "words_2": "NOT (score(a.x__words) > 9)",
        "c_d": "NOT ((metadata->'$.b.c_d') IS NOT NULL)",
    }


def test_replacements() -> None:
    text = STREAM + (
        "  span_replacement:\n"
        "  - {span: $.attributes.pii__IP, min_score: 0.5, replacement: ' |||IP||| '}\n"
        "  - {span: .attributes.dups, syntax: jq, max_score: 1, replacement: ''}\n"
        "  - {span: $.attributes.dups, min_score: 1}\n"
        "  - {span: $.attributes.dups, min_score: 1, replacement: 7}\n"
    )
    recipe = recipe_from_text(converted(text).recipe)
    assert recipe.mix is not None
    edits = [(one.spans, one.with_, one.min_score, one.max_score) for one in recipe.mix.sources["web"].replace]
    assert edits == [
        ("pii.IP", " |||IP||| ", 0.5, None),
        ("dups.dups", "", None, 1.0),
        ("dups.dups", "", 1.0, None),
        ("dups.dups", "7", 1.0, None),
    ]


def test_what_has_no_counterpart_is_said_once() -> None:
    text = changed("{path: out}", "{path: out, max_size_in_bytes: 5, discard_fields: [attributes, metadata]}")
    text += "processes: 4\nwork_dir: {input: a, output: b}\n"
    keys = [note.partition(":")[0] for note in converted(text).notes]
    assert keys == ["work_dir", "processes", "output.path out", "output.max_size_in_bytes"]
    with_more = converted(changed("{path: out}", "{min_text_length: 20}"))
    assert [note.partition(":")[0] for note in with_more.notes] == ["metadata", "output.min_text_length"]
    assert "min_chars: 20" in with_more.recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stream: []\n", "mixer.yaml:1: no key of a mixer config in Dolma named 'stream'. Did you mean 'streams'?"),
        ("processes: 2\n", "mixer.yaml:1: `streams` is missing"),
        (changed("- name", "- nome"), "mixer.yaml:2: no key of a stream in Dolma named 'nome'"),
        (changed("> 5", "~ 5"), "mixer.yaml:7: exclude: '$.attributes[?(@.a__words[0][2] ~ 5)]' cannot be said in "),
        (changed("exclude:", "excluded:"), "mixer.yaml:7: no key of `filter` in Dolma named 'excluded'."),
        (changed("data/documents/", "data/pages/"), "mixer.yaml:3: 'data/pages/web/2024*/*.gz' has no folder '"),
        (changed("name: web", "name: ${oc.env:NAME}"), "mixer.yaml:2: `name`: ${oc.env:NAME} is worked out by Dolma"),
        (changed("{path: out}", "{discard_fields: [source]}"), "mixer.yaml:5: discard_fields: 'source' cannot be"),
        (changed("{path: out}", "{min_text_length: x}"), "mixer.yaml:5: min_text_length is a number of bytes; "),
        (STREAM + STREAM.removeprefix("streams:\n"), "mixer.yaml:8: two streams are called 'web'"),
        (STREAM.partition("  filter")[0], "mixer.yaml:2: a stream has `filter` or `span_replacement`"),
        (changed("exclude: [", "syntax: xpath\n    exclude: ["), "mixer.yaml:7: syntax is jsonpath or jq; found"),
        (STREAM + "  span_replacement: [{span: $.attributes.a}]\n", "mixer.yaml:8: a span_replacement has min_score"),
        (STREAM + "  span_replacement: [{min_score: 1}]\n", "mixer.yaml:8: a span_replacement needs `span`"),
        (
            STREAM + "  span_replacement: [{span: $.attributes.a, min_score: 1, replacement: '<{}>'}]\n",
            "mixer.yaml:8: the replacement '<{}>' is worked out for each span in Dolma",
        ),
    ],
)  # fmt: skip
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        converted(text)
    assert str(caught.value).startswith(message)
