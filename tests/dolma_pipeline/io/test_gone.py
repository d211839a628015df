"""Which files of a source are gone: told by names alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from dolma_pipeline.errors import UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.gone import Gone


@pytest.mark.parametrize(
    ("gone", "documents", "named"),
    [
        (["in/web/a.jsonl"], ["in/**/*.jsonl"], {"web/a.jsonl"}),
        (["in/web/*"], ["in/**/*.jsonl"], {"web/a.jsonl", "web/b.jsonl"}),
        (["in/**/b.jsonl"], ["in/**/*.jsonl"], {"web/b.jsonl", "code/b.jsonl"}),
        (["./in/web/*"], ["in/**/*.jsonl"], set()),  # as they are written, and not what they mean
        (["in/web/a.jsonl", "in/code/*"], ["in/**/*.jsonl"], {"web/a.jsonl", "code/b.jsonl"}),
        (["*/a.jsonl"], ["@files.txt"], {"web/a.jsonl"}),  # of a list the paths are those that stand there
        (["web/a.jsonl"], ["@files.txt"], {"web/a.jsonl"}),
        (["s3://b/in/web/*"], ["s3://b/in/**/*.jsonl"], {"web/a.jsonl", "web/b.jsonl"}),
        (["in/web/*"], ["in/code/*"], set()),
        ([], ["in/**/*.jsonl"], set()),
    ],
)
def test_files_that_are_named(gone: list[str], documents: list[str], named: set[str]) -> None:
    told = Gone(gone, documents)
    assert {one for one in ("web/a.jsonl", "web/b.jsonl", "code/b.jsonl") if told(one)} == named


def test_each_pattern_is_told_apart() -> None:
    assert Gone(["in/web/*", "in/code/*"], ["in/**"]).naming("web/a") == [True, False]


def test_a_pattern_that_found_what_is_gone_may_find_nothing(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/1.jsonl").touch()
    documents = [f"{tmp_path}/a/*.jsonl", f"{tmp_path}/b/*.jsonl", f"{tmp_path}/c.jsonl"]
    gone = Gone([f"{tmp_path}/a/*"], documents)
    emptied = gone.emptied(["1.jsonl", "2.jsonl"])
    assert emptied == set(documents[:2])  # both would find a file of that path below their folders
    with pytest.raises(UsageError, match=r"c\.jsonl: no such file"):
        paths.find(documents, gone=emptied)
    assert [one.relative for one in paths.find(documents[:2], gone=emptied)] == ["1.jsonl"]
    with pytest.raises(UsageError, match=r"a/\*\.jsonl: no such file"):
        paths.find(documents[:2])


def test_files_of_one_path_below_two_patterns(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
    (tmp_path / "b/1.jsonl").touch()
    documents = [f"{tmp_path}/a/*.jsonl", f"{tmp_path}/b/*.jsonl"]
    gone = Gone([f"{tmp_path}/a/*"], documents)
    found = paths.find(documents, gone=gone.emptied(["1.jsonl"]))
    with pytest.raises(UsageError, match=r"b/1\.jsonl: is not named, but its path .* different sources"):
        gone.check(found)
    Gone([f"{tmp_path}/b/*"], documents).check(found)


def test_a_list_of_files_says_nothing_of_files_that_are_not_there() -> None:
    with pytest.raises(UsageError, match=r"@gone\.txt: a list of files cannot be given here"):
        Gone(["@gone.txt"], ["in/*"])
