"""Rules, edits and orders of a source; lengths of edited texts against texts that are really edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.config.recipe import MixConfig, MixSourceConfig
from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.kernels.edit import Edits, edit_texts
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.stages.edits import edited_lengths
from dolma_pipeline.stages.reads import rule_reads, united
from dolma_pipeline.stages.rules import prefer_columns, rule_keys, rule_names, source_rules, split_references, where_of
from tests.dolma_pipeline.stages.small import artifacts_of, small_run

TAG = {"taggers": ["length_v1", "c4_v1", {"tagger": "pii_v1", "name": "pii"}]}
DEDUPE = {"steps": [{"name": "exact", "kind": "exact"}]}


def bound(tmp_path: Path, **recipe: Any) -> Run:
    return small_run(tmp_path, {"web/a": ["x"], "code/b": ["y"]}, **{"tag": TAG, "dedupe": DEDUPE, **recipe})


def test_rules_of_a_source() -> None:
    own = MixSourceConfig(skip_rules=("short",), where={"stars": "id <> 'x'"}, min_chars=5)
    mix = MixConfig(where={"short": "length(text) > 3", "has": "text <> ''"}, sources={"code": own})
    assert where_of(mix, "web") == {"short": "length(text) > 3", "has": "text <> ''"}
    assert where_of(mix, "code") == {"has": "text <> ''", "stars": "id <> 'x'"}
    assert rule_names(mix, "code") == ["has", "stars", "min_chars"]
    assert rule_keys(mix, "code") == {"has": "mix.where.has", "stars": "mix.sources.code.where.stars"}


def test_one_string_is_split_into_rules_named_by_their_text() -> None:
    mix = MixConfig(where={"where": "length(text) > 3 AND (id = 'a' OR id = 'b')"})
    found = where_of(mix, "web")
    assert list(found) == ['length("text") > 3', "(id = 'a') OR (id = 'b')"]
    assert [sql.strip("()") for sql in found.values()] == [name.strip("()") for name in found]
    assert set(rule_keys(mix, "web").values()) == {"mix.where"}


def test_a_rule_of_the_same_name_twice() -> None:
    mix = MixConfig(where={"has": "text <> ''"}, sources={"code": MixSourceConfig(where={"has": "id <> ''"})})
    with pytest.raises(ConfigError, match=r"^mix\.sources\.code\.where\.has: there is a rule 'has' in mix\.where alr"):
        where_of(mix, "code")


WHERE = {
    "words": "length_v1.words > 1",
    "chars": "length(text) > 3",
    "text": "text LIKE '%e%'",
    "unique": "exact.keep",
    "both": "exact.keep AND text <> 'x'",
}


def test_early_and_late_rules_and_those_that_read_text(tmp_path: Path) -> None:
    run = bound(tmp_path, mix={"where": WHERE, "sources": {"web": {"min_chars": 3}}})
    rules = source_rules(Process.of(run), "web")
    assert rules.names == ("words", "chars", "text", "unique", "both", "min_chars")
    assert rules.early == ("words", "chars", "text", "min_chars")
    assert rules.late == ("unique", "both")
    assert rules.text_rules(rules.names) == ("text", "both")
    assert list(rules.early_columns.names) == ["words", "chars"]
    assert list(rules.late_columns.names) == ["unique"]
    assert rules.columns_of(rules.names) == ["exact", "length_v1"]
    assert rules.wanted(rules.early_columns) == ({"chars"}, {"length_v1": frozenset({"words"})})
    assert source_rules(Process.of(run), "code").names == rules.names[:-1]


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        ({"where": {"a": "lenth_v1.words > 1"}}, r"mix\.where\.a: .*lenth_v1.*Did you mean 'length_v1'"),
        ({"where": {"a": "length_v1.wrds > 1"}}, r"mix\.where\.a: .*wrds"),
        ({"replace": [{"spans": "pi.email", "with": "x"}]}, r"mix\.replace\.0\.spans: no attribute named 'pi'"),
        ({"replace": [{"spans": "pii.mail", "with": "x"}]}, r"replace\.0\.spans: no span field of pii named 'mail'"),
        ({"sources": {"web": {"remove": ["length_v1.words"]}}}, r"mix\.sources\.web\.remove\.0: no span field of len"),
        ({"sources": {"web": {"where": {"b": "length_v1.wrds > 1"}}}}, r"mix\.sources\.web\.where\.b: .*wrds"),
    ],
)
def test_what_does_not_exist_is_named_with_its_place(tmp_path: Path, mix: dict[str, Any], words: str) -> None:
    run = bound(tmp_path, mix=mix)
    with pytest.raises(ConfigError, match=words):
        source_rules(Process.of(run), "web")


def test_reads_are_keys_that_a_user_would_change(tmp_path: Path) -> None:
    rules = {"words": "length_v1.words > 1", "chars": "chars > 3"}
    own = {"where": {"own": "id <> ''"}, "min_chars": 4}
    mix = {"where": rules,
           "sources": {"web": own, "code": {"skip_rules": ["chars"]}}}  # fmt: skip
    run = bound(tmp_path, mix=mix)
    process = Process.of(run)
    names = {source: source_rules(process, source).names for source in ("web", "code")}
    assert rule_reads(process, names) == (
        {"mix.where.words": "length_v1.words > 1", "mix.where.chars": "chars > 3"},
        {
            "web": {
                "mix.where: order": ["words", "chars", "own", "min_chars"],
                "mix.sources.web.where.own": "id <> ''",
                "mix.sources.web.min_chars": 4,
            },
            "code": {"mix.where: order": ["words"], "mix.sources.code.skip_rules": ["chars"]},
        },
    )
    assert united(({"a": 1}, {"web": {"b": 2}}), ({"c": 3}, {"web": {"d": 4}})) == (
        {"a": 1, "c": 3}, {"web": {"b": 2, "d": 4}}
    )  # fmt: skip


def test_a_rule_of_one_source_makes_nothing_of_another_stale(tmp_path: Path) -> None:
    plain = artifacts_of(bound(tmp_path, mix={"where": WHERE}))
    own = artifacts_of(bound(tmp_path, mix={"where": WHERE, "sources": {"code": {"where": {"own": "chars > 9"}}}}))
    for name in ("judged", "mix/verdicts"):
        assert plain[name].digest == own[name].digest
        assert plain[name].source_digests["web"] == own[name].source_digests["web"]
        assert plain[name].source_digests["code"] != own[name].source_digests["code"]


def test_references() -> None:
    found = split_references([("chars", None), ("a", "x"), ("a", "y"), ("b", None), ("b", "z")])
    assert found == ({"chars"}, {"a": frozenset({"x", "y"}), "b": None})


def test_columns_of_the_preferred_order(tmp_path: Path) -> None:
    run = bound(tmp_path, dedupe={**DEDUPE, "prefer": ["length_v1.words DESC", "chars"]})
    assert prefer_columns(Process.of(run)) == ["length_v1"]
    with pytest.raises(ConfigError, match=r"dedupe\.prefer: .*exact"):
        prefer_columns(Process.of(bound(tmp_path, dedupe={**DEDUPE, "prefer": ["exact.size"]})))


letters = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
replacements = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=4).map(str.encode)


@st.composite
def edits(draw: st.DrawFn) -> tuple[list[str], list[tuple[list[list[tuple[int, int]] | None], bytes | None]]]:
    """Texts, and span lists with what stands in their place; spans overlap, touch, are empty, are one another."""
    texts = draw(st.lists(letters, max_size=6))
    parts = []
    for _ in range(draw(st.integers(0, 3))):
        lists: list[list[tuple[int, int]] | None] = []
        for text in texts:
            bounds = st.integers(0, len(text))
            pairs = st.lists(st.tuples(bounds, bounds).map(lambda p: (min(p), max(p))), max_size=5)
            lists.append(draw(st.none() | pairs))
        parts.append((lists, draw(replacements)))
    return texts, parts


@settings(max_examples=400, deadline=None)
@given(edits())
def test_lengths_of_edited_texts_are_those_of_texts_that_are_edited(
    found: tuple[list[str], list[tuple[list[list[tuple[int, int]] | None], bytes | None]]],
) -> None:
    texts, plain = found
    parts = []
    for lists, replacement in plain:
        values = [None if one is None else [{"start": a, "end": b, "score": 1.0} for a, b in one] for one in lists]
        parts.append((pa.array(values, SPANS_TYPE), replacement))
    chars = np.array([len(text) for text in texts], np.int64)
    edited, _ = edit_texts(pa.array(texts, pa.string()), Edits.of(len(texts), parts))
    before = chars.copy()
    assert edited_lengths(chars, parts).tolist() == [len(text) for text in edited.to_pylist()]
    assert (chars == before).all(), "what was given is not changed"
