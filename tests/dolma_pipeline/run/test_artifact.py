"""Digests: what they depend on, what is kept apart, and when made work counts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.run.artifact import EARLIER, Artifact, made_for

INDEX = Artifact("index", "index", {"normalize": ["nfc"]}, {"web": {"sources.web.fields": {"id": "x"}}}, growing=True,
                 sources=("web", "code"))  # fmt: skip
TAGGED = Artifact("attributes/a", "tag", {"tag.taggers.a.n": 1}, files={"lid": "1"}, needs=(INDEX,), growing=True)
MIXED = Artifact("mix", "mix", {"seed": 1}, {"code": {"mix.sources.code.weight": 2.0}}, needs=(INDEX, TAGGED))


@pytest.mark.parametrize(
    "change",
    [{"reads": {"normalize": []}}, {"files": {"a": "b"}}, {"stage": "other"}, {"reads": {}}],
)
def test_what_concerns_all_sources_changes_the_digest_of_all_that_need_it(change: dict[str, Any]) -> None:
    other = replace(INDEX, **change)
    assert other.digest != INDEX.digest
    assert other.source_digests == INDEX.source_digests
    mixed = replace(MIXED, needs=(other, replace(TAGGED, needs=(other,))))
    assert mixed.digest != MIXED.digest


def test_what_concerns_one_source_changes_the_digests_of_that_source_alone() -> None:
    other = replace(INDEX, source_reads={"web": {"sources.web.fields": {"id": "y"}}})
    assert other.digest == INDEX.digest
    assert other.source_digests["code"] == INDEX.source_digests["code"]
    assert other.source_digests["web"] != INDEX.source_digests["web"]
    mixed = replace(MIXED, needs=(other, replace(TAGGED, needs=(other,))))
    assert mixed.digest == MIXED.digest
    assert mixed.source_digests["web"] != MIXED.source_digests["web"]
    assert mixed.source_digests["code"] == MIXED.source_digests["code"]
    assert len({mixed.whole_digest, MIXED.whole_digest}) == 2


def test_a_new_source_makes_nothing_of_the_others_stale() -> None:
    more = replace(INDEX, sources=("web", "code", "forum"), source_reads={**INDEX.source_reads, "forum": {"x": 1}})
    assert more.is_like(INDEX.settings())
    assert replace(TAGGED, needs=(more,)).is_like(TAGGED.settings())
    assert more.all_sources == ("code", "forum", "web")


def test_a_source_that_is_gone_makes_nothing_stale() -> None:
    assert replace(INDEX, sources=("code",), source_reads={}).is_like(INDEX.settings())


def test_other_settings_of_a_source_are_not_like_before() -> None:
    assert not replace(INDEX, source_reads={}).is_like(INDEX.settings())
    assert not replace(INDEX, reads={}).is_like(INDEX.settings())
    assert not INDEX.is_like(None)
    assert not INDEX.is_like({})


def test_work_of_other_shards_counts_only_where_shards_are_added() -> None:
    assert INDEX.holds(INDEX.settings("sha256:1"), "sha256:2")
    assert not MIXED.holds(MIXED.settings("sha256:1"), "sha256:2")
    assert MIXED.holds(MIXED.settings("sha256:1"), "sha256:1")
    assert not MIXED.holds(None, "sha256:1")
    remembering = replace(INDEX, remembers=True)
    assert remembering.holds(INDEX.settings("sha256:1"), "sha256:2")
    assert not remembering.holds_begun(INDEX.settings("sha256:1"), "sha256:2")
    assert remembering.holds_begun(INDEX.settings("sha256:2"), "sha256:2")
    assert INDEX.holds_begun(INDEX.settings("sha256:1"), "sha256:2")
    assert (made_for(MIXED.settings("sha256:1")), made_for(MIXED.settings()), made_for(None)) == ("sha256:1", "", "")


def test_settings_are_plain_json_by_recipe_keys() -> None:
    found = Artifact("mix", "mix", {"mix.remove": ("a", "b"), "n": {1: (2,)}}, {"web": {"k": ("x",)}, "code": {}})
    settings = found.settings("sha256:0")
    assert settings["config"] == {"mix.remove": ["a", "b"], "n": {"1": [2]}}
    assert settings["source_config"] == {"web": {"k": ["x"]}}
    assert settings["needs"] == {"shards.jsonl": "sha256:0"}
    assert (settings["stage"], settings["digest"]) == ("mix", found.digest)


@given(
    st.dictionaries(st.text(max_size=5), st.integers(-(2**63), 2**63) | st.text(max_size=5) | st.booleans(), max_size=6)
)
def test_the_order_of_keys_is_no_setting_and_that_of_lists_is(reads: dict[str, Any]) -> None:
    assert Artifact("a", "s", reads).digest == Artifact("a", "s", dict(reversed(reads.items()))).digest
    values = [*reads.values()]
    same = Artifact("a", "s", {"k": values}).digest == Artifact("a", "s", {"k": values[::-1]}).digest
    assert same == (json.dumps(values) == json.dumps(values[::-1]))  # in Python False is 0, in a recipe it is not


def test_folders() -> None:
    cache = Artifact("judged", "judge", cache=True)
    assert cache.folder == f"cache/judged/{cache.whole_digest[7:19]}"
    assert cache.owned == (cache.folder, "failed/judged")
    part = Artifact("mix/verdicts", "mix", root="mix", owns=("mix/verdicts", "mix/dropped"))
    assert (part.folder, part.output_root) == ("mix/verdicts", "mix")
    assert part.owned == ("mix/verdicts", "mix/dropped", "failed/mix/verdicts")
    assert (TAGGED.folder, TAGGED.output_root) == ("attributes/a", "attributes/a")


def test_kept_verdicts_are_forgotten_where_they_are_not_to_be_remembered() -> None:
    kept = {**INDEX.settings("sha256:1"), EARLIER: {"documents": 3}}
    assert INDEX.forgets(kept)
    assert not replace(INDEX, remembers=True).forgets(kept)
    assert not INDEX.forgets(INDEX.settings("sha256:1"))
    assert not INDEX.forgets(None)
    assert replace(INDEX, remembers=True).digest == INDEX.digest
