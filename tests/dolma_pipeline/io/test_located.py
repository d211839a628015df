"""A file of several patterns is located where its own pattern finds it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dolma_pipeline.io import paths
from tests.dolma_pipeline.storage.fake_store import serving
from tests.dolma_pipeline.storage.fake_web import web_serving

TREE = [
    "d/a.jsonl",
    "d/x/a.jsonl",
    "d/x/b.jsonl",
    "d/x/y/a.jsonl",
    "d/x/.h.jsonl",
    "d/.x/a.jsonl",
    "e/b.jsonl",
    "l.txt",
]


@pytest.mark.parametrize(
    "patterns",
    [
        ["d/*/b.jsonl", "d/x/a.jsonl"],  # below the first one's folder there is another a.jsonl
        ["d/**/b.jsonl", "d/x/y/*"],
        ["d/x/**", "e/*"],
        ["d/x/**/*.jsonl", "d/*.jsonl"],
        ["@l.txt", "d/x/*.jsonl"],
        ["d/.x/*", "d/x/.*", "e/b.jsonl"],
        ["d/[x]/*", "d/?.jsonl", "e/**/*"],
    ],
)
def test_a_file_is_located_where_its_own_pattern_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patterns: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in TREE:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("e/b.jsonl\n")
    found = [one for one in paths.find(patterns) if os.path.basename(one.path) != "l.txt"]
    assert len(found) > 1
    by_name = {one.relative: one.path for one in found}
    unique = [one for one in found if sum(other.relative == one.relative for other in found) == 1]
    assert {one.relative: paths.located(patterns, one.relative) for one in unique} == {
        one.relative: by_name[one.relative] for one in unique
    }
    for one in found:  # a neighbour that a pattern does not find is never taken for one that it does
        assert paths.located(patterns, one.relative) in {other.path for other in found}


def test_urls_of_several_folders_are_where_they_are_named() -> None:
    with web_serving() as web, serving() as store:
        web.files |= {"/a/one.jsonl": b"1", "/b/two.jsonl": b"2"}
        for key in ("a/x/three.jsonl", "b/four.jsonl", "b/x/four.jsonl", "a/four.jsonl"):
            store.objects.put("bucket", key, b"3", {})
        settings = {"endpoint": store.endpoint}
        patterns = [f"{web.url}/a/one.jsonl", f"{web.url}/b/two.jsonl", "s3://bucket/a/*/*.jsonl", "s3://bucket/b/*"]
        found = paths.find(patterns, settings=settings)
        urls = [*patterns[:2], "s3://bucket/a/x/three.jsonl", "s3://bucket/b/four.jsonl"]
        assert [one.path for one in found] == urls
        locate = paths.Locator(patterns, settings)
        assert [locate(one.relative) for one in found] == urls
