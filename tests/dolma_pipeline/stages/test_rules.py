"""Rules of a source, and their counts against a slow count of the same."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.config.recipe import MixConfig, MixSourceConfig
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.sql import count_bits, pack
from dolma_pipeline.stages.rules import SourceRules, Verdict, count_rules, no_counts, where_of

NAMES = ("a", "b", "c")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from("pfn")] * 3), max_size=30), st.integers(0, 3))
def test_counts(rows: list[tuple[str, ...]], num_rules: int) -> None:
    """p: passes; f: fails; n: is NULL."""
    failed = np.array([[row[i] != "p" for row in rows] for i in range(num_rules)], bool).reshape(num_rules, len(rows))
    null = np.array([[row[i] == "n" for row in rows] for i in range(num_rules)], bool).reshape(num_rules, len(rows))
    counts = count_rules(Verdict(~failed.any(axis=0), NAMES[:num_rules], failed, null))
    slow = {name: {"first": 0, "any": 0, "alone": 0, "null": 0} for name in NAMES[:num_rules]}
    for row in rows:
        reasons = [name for name, one in zip(NAMES[:num_rules], row, strict=False) if one != "p"]
        for name, one in zip(NAMES[:num_rules], row, strict=False):
            slow[name]["any"] += one != "p"
            slow[name]["null"] += one == "n"
            slow[name]["alone"] += reasons == [name]
            slow[name]["first"] += reasons[:1] == [name]
    assert counts == slow
    assert count_bits(pack(list(failed), len(rows)), pack(list(null), len(rows)), NAMES[:num_rules]) == slow
    assert set(no_counts(NAMES)) == set(NAMES)


def test_rules_of_a_source() -> None:
    own = MixSourceConfig(skip_rules=("short",), where={"stars": "id <> 'x'"})
    mix = MixConfig(where={"short": "length(text) > 3", "has": "text <> ''"}, sources={"code": own})
    assert where_of(mix, "web") == {"short": "length(text) > 3", "has": "text <> ''"}
    assert where_of(mix, "code") == {"has": "text <> ''", "stars": "id <> 'x'"}


def test_one_string_is_split_into_rules_named_by_their_text() -> None:
    found = where_of(MixConfig(where={"where": "length(text) > 3 AND (id = 'a' OR id = 'b')"}), "web")
    assert list(found) == list(found.values()) or len(found) == 2
    assert len(found) == 2


def test_a_rule_of_the_same_name_twice() -> None:
    mix = MixConfig(where={"has": "text <> ''"}, sources={"code": MixSourceConfig(where={"has": "id <> ''"})})
    with pytest.raises(
        ConfigError, match=r"^mix\.sources\.code\.where\.has: there is a rule 'has' in mix\.where already"
    ):
        where_of(mix, "code")


def test_min_chars_is_a_rule_about_the_edited_text() -> None:
    rules = SourceRules.__new__(SourceRules)
    from dolma_pipeline.sql import Rules

    rules.rules, rules.min_chars, rules.edits = Rules({}, pa.schema([("text", pa.string())])), 3, []
    table = pa.table({"text": ["abcdef", "日本語", "ab", ""]})
    edited = pa.array(["ab", "日本語", "abc", ""])
    verdict = rules.judge(table, edited)
    assert verdict.passed.tolist() == [False, True, True, False]
    assert (verdict.rules, verdict.null.any()) == (("min_chars",), False)
