"""The shipped presets on labelled texts: every rule fires where it must, and nowhere it must not."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dolma_pipeline import assets
from dolma_pipeline.config.presets import preset_names, read_preset
from dolma_pipeline.documents import Batch, Document, is_spans
from dolma_pipeline.registry import load_tagger
from dolma_pipeline.sql import Rules
from dolma_pipeline.sql.columns import rule_schema

RULE_OF = {
    "gopher.min_words": "gopher.words",
    "gopher.max_words": "gopher.words",
    "gopher.mean_word_length_low": "gopher.word_length",
    "gopher.mean_word_length_high": "gopher.word_length",
    "gopher.symbol_to_word_hash": "gopher.symbols",
    "gopher.symbol_to_word_ellipsis": "gopher.symbols",
    "gopher.bullet_lines": "gopher.bullets",
    "gopher.ellipsis_lines": "gopher.ellipses",
    "gopher.alpha_words": "gopher.letters",
    "gopher.stop_words": "gopher.stop_words",
    "gopher_rep.dup_lines": "gopher.duplicate_lines",
    "gopher_rep.dup_line_chars": "gopher.duplicate_line_chars",
    "gopher_rep.dup_paras": "gopher.duplicate_paragraphs",
    "gopher_rep.dup_para_chars": "gopher.duplicate_paragraph_chars",
    **{f"gopher_rep.top_{n}gram": f"gopher.top_{n}grams" for n in (2, 3, 4)},
    **{f"gopher_rep.dup_{n}gram": f"gopher.duplicate_{n}grams" for n in range(5, 11)},
    "c4.lorem_ipsum": "c4.lorem_ipsum",
    "c4.curly_bracket": "c4.curly_bracket",
    "c4.min_sentences": "c4.sentences",
}
"""Rule of the labelled data -> ours. Two of theirs may be one of ours, which fires if either does."""

SPANS_OF = {"c4.javascript_line": "lines_with_javascript", "c4.policy_line": "lines_with_policy"}
"""Rule of the labelled data -> field of c4_v1 with the lines that `c4.lines` cuts out."""

FINEWEB_DROPS = {"nav_menu": 28, "number_table": 30, "repeated_lines": 15, "bullet_list": 11, "truncated_lines": 0}
"""Of 30, 30, 15, 17 and 30 bad texts of these kinds; of 212 good ones 4 go, which repeat lines."""


@pytest.fixture(scope="module")
def labelled(data: Path) -> list[dict[str, Any]]:
    with gzip.open(data / "quality" / "quality.jsonl.gz") as file:
        return [json.loads(line) for line in file]


def tagged(preset: str, texts: Sequence[str | Document]) -> pa.Table:
    """What the preset's taggers say of texts, one column a tagger."""
    batch = Batch.of(texts)
    uses = read_preset(preset).config.taggers
    return pa.table({use.name: load_tagger(use.tagger, **use.parameters).attributes(batch)[0] for use in uses})


def fired(preset: str, table: pa.Table) -> Mapping[str, list[bool]]:
    """Which texts each condition of a preset drops, by the SQL of the preset."""
    config = read_preset(preset).config
    schema = rule_schema({name: table.schema.field(name).type for name in table.column_names})
    rules = Rules({f"{preset}.{rule}": sql for rule, sql in config.where.items()}, schema)
    true, _ = rules.evaluate(table)
    return dict(zip(rules.names, (~true).tolist(), strict=True))


@pytest.mark.parametrize(("preset", "asked"), [("gopher", 11_000), ("c4", 1_700)])
def test_conditions_fire_where_they_must_and_nowhere_they_must_not(
    preset: str, asked: int, labelled: list[dict[str, Any]]
) -> None:
    drops = fired(preset, tagged(preset, [row["text"] for row in labelled]))
    wrong, checked = [], 0
    for i, row in enumerate(labelled):
        says = {verdict: {RULE_OF.get(rule) for rule in row[verdict]} for verdict in ("must_fire", "borderline")}
        for rule in {*RULE_OF.values()} & {*drops}:
            if rule in says["must_fire"] or rule not in says["borderline"]:
                checked += 1
                if drops[rule][i] != (rule in says["must_fire"]):
                    wrong.append((row["id"], rule))
    assert wrong == []
    assert checked > asked
    assert {*RULE_OF.values()} >= {*drops}


def test_lines_are_cut_out_where_they_must_be_and_nowhere_else(labelled: list[dict[str, Any]]) -> None:
    table = tagged("c4", [row["text"] for row in labelled])
    removed = read_preset("c4").config.remove["lines"]
    for rule, field in SPANS_OF.items():
        assert f"c4_v1.{field}" in removed
        found = [bool(spans) for spans in table.column("c4_v1").combine_chunks().field(field).to_pylist()]
        wrong = [
            row["id"]
            for row, fires in zip(labelled, found, strict=True)
            if (rule in row["must_fire"] and not fires) or (rule in row["must_not_fire"] and fires)
        ]
        assert wrong == []


@pytest.fixture
def _word_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up list in the place of the one that c4_words fetches, beside the models that are in the cache."""
    content = b"darn\n"
    name, cache = "dolma_naughty_words_en.txt", assets.cache_folder()
    known = assets.Asset(name, "made_up.txt", hashlib.sha256(content).hexdigest(), len(content), "CC0-1.0", "words", ())
    monkeypatch.setitem(assets.ASSETS, name, known)
    if cache.is_dir():
        shutil.copytree(cache, tmp_path / "cache")
    monkeypatch.setenv(assets.CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "given.txt").write_bytes(content)
    assets.fetch(name, path=tmp_path / "given.txt")


@pytest.mark.usefixtures("_word_list")
@pytest.mark.parametrize("preset", preset_names())
def test_a_preset_binds_to_what_its_taggers_say_and_a_plain_page_passes(preset: str) -> None:
    """Every rule is SQL over columns that are there, every edit a list of spans."""
    rows = [
        "The harbour of the old town was built by monks who had come from the north with their boats.\n"
        "It has been restored twice since then, and fishermen still use it.\nTo reach the lighthouse you "
        "walk along the wall that keeps out the sea, and in winter the path is often closed.\n"
        "Most visitors arrive in summer, when a small market is held beside the church.\nWhat they buy "
        "is honey, bread and smoked fish, and some of them stay until the lamps are lit."
    ]
    config = read_preset(preset).config
    table = tagged(preset, rows)
    assert {rule: drops for rule, drops in fired(preset, table).items() if drops != [False]} == {}
    edits = [spans for fields in config.remove.values() for spans in fields]
    for spans in [*edits, *(one.spans for one in config.replace.values())]:
        column, field = spans.split(".")
        assert is_spans(table.schema.field(column).type.field(field).type)


def test_the_rules_of_fineweb_tell_lists_from_prose(labelled: list[dict[str, Any]]) -> None:
    """The data have no labels for these rules: what they drop of each kind is pinned."""
    drops = fired("fineweb", tagged("fineweb", [row["text"] for row in labelled]))
    dropped = dict.fromkeys(("good", *FINEWEB_DROPS), 0)
    for i, row in enumerate(labelled):
        for kind in (row["label"], row["kind"]):
            if kind in dropped:
                dropped[kind] += any(column[i] for column in drops.values())
    assert dropped == {"good": 4, **FINEWEB_DROPS}


CODE_DROPS = {
    "max_line_length": [("total = 1\n" * 100 + "word " * 201, "c")],
    "mean_line_length": [("word " * 30 + "\n" + "word " * 30, "c")],
    "alphanumeric": [("abc [](){}<>;,.=+*&^%$", "c")],
    "letters_by_token": [("a 1 2 3 4 b", "c")],
    "xml": [("<?xml version='1.0'?>\n<some><words/></some>", "xml")],
    "html": [
        ("<p>" + "word\n" * 19 + "</p>", "html"),
        ("<p class='" + "many\n" * 150 + "'>" + "word\n" * 30 + "</p>", "html"),
    ],
    "comments": [
        ("value = call(other)\n", "java"),
        ("# " + "only comments " * 9 + "\na = b", "python"),
    ],
}
"""Rule of dolma_code -> files, with their language, that it drops."""


def test_the_rules_of_dolma_for_code_fire_each_on_its_own_fault() -> None:
    good = [("# Adds two.\n" + "def add(first, second):\n    return first + second\n", "python")]
    good += [("<p>" + "word\n" * 30 + "</p>", "html"), ("value = call(other)\n", "c")]
    rows = good + [file for files in CODE_DROPS.values() for file in files]
    drops = fired("dolma_code", tagged("dolma_code", [Document(text, metadata={"lang": lang}) for text, lang in rows]))
    found = [[rule for rule, column in drops.items() if column[i]] for i in range(len(rows))]
    assert found == [[], [], [], *([f"dolma_code.{rule}"] for rule, files in CODE_DROPS.items() for _ in files)]
    assert {f"dolma_code.{rule}" for rule in CODE_DROPS} == {*drops}


def test_shares_that_dolma_drops_at_the_threshold_are_dropped() -> None:
    at_limits = [
        Document("# 8\n" + "abcd = 1;\n" * 29 + "abcdef", metadata={"lang": "python"}),  # 3 of 300 characters
        Document("<b a='" + "x" * 488 + "'>" + "w" * 125 + "</b>", metadata={"lang": "html"}),
    ]
    table = tagged("dolma_code", at_limits)
    code = table.column("code_v1").combine_chunks()
    assert code.field("comment_share")[0].as_py() == 0.01
    assert code.field("visible_share")[1].as_py() == 0.2
    drops = fired("dolma_code", table)
    assert drops["dolma_code.comments"] == [True, False]
    assert drops["dolma_code.html"] == [False, True]


def test_dolma_code_cuts_out_the_head_and_masks_the_address() -> None:
    head = "# Copyright 2020 Someone\n"
    text = head + "\nimport os\n# ask me@example.com\n"
    table = tagged("dolma_code", [Document(text, metadata={"lang": "python"})])
    config = read_preset("dolma_code").config
    assert config.remove == {"copyright": ("code_v1.copyright_header",)}
    head_spans = table.column("code_v1").combine_chunks().field("copyright_header").to_pylist()[0]
    mail_spans = table.column("pii_v1").combine_chunks().field("email").to_pylist()[0]
    assert [text[one["start"] : one["end"]].strip() for one in head_spans] == [head.strip()]
    assert [text[one["start"] : one["end"]] for one in mail_spans] == ["me@example.com"]
    assert config.replace["email"].spans == "pii_v1.email"
