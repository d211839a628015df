"""hf://: listing, versions and commits, tokens, what the hub refuses; on a hub of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolma_pipeline.engines import Here
from dolma_pipeline.errors import UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.runner import run
from dolma_pipeline.storage.inputs import open_random, open_stream
from tests.dolma_pipeline.storage.fake_hub import COMMIT, TOKEN, HubHandler
from tests.dolma_pipeline.storage.fake_web import WebServer, web_serving
from tests.pipeline.tiny import engine, files, recipe

SET = "hf://datasets/me/set"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WebServer]:
    with web_serving(HubHandler) as one:
        monkeypatch.setenv("HF_ENDPOINT", one.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        for name in ("data/a.jsonl", "data/b c+é.jsonl", "data/deep/c.jsonl", "README.md"):
            one.files[f"/{name}"] = json.dumps({"text": f"a text of {name} with words"}).encode() + b"\n"
        yield one


def test_files_are_listed_with_sizes_versions_and_commit(hub: WebServer) -> None:
    found = paths.find([f"{SET}/data/*.jsonl"])
    assert [one.relative for one in found] == ["a.jsonl", "b c+é.jsonl"]
    assert [one.size for one in found] == [len(hub.files["/data/a.jsonl"]), len(hub.files["/data/b c+é.jsonl"])]
    assert {one.entry.commit for one in found if one.entry} == {COMMIT}
    assert len({one.entry.version for one in found if one.entry}) == 2
    assert [one.relative for one in paths.find([f"{SET}@v1/**/*.jsonl"])] == [
        "data/a.jsonl", "data/b c+é.jsonl", "data/deep/c.jsonl"
    ]  # fmt: skip
    (one,) = paths.find([f"{SET}/data/a.jsonl"])
    assert (one.base, one.entry and one.entry.commit) == (f"{SET}/data", COMMIT)


def test_patterns_may_find_nothing_where_files_are_gone(hub: WebServer) -> None:
    gone = [f"{SET}/none/*.jsonl", f"{SET}/data/x.jsonl"]
    assert paths.find(gone, gone=gone) == []
    assert [one.relative for one in paths.find([*gone, f"{SET}/data/a.jsonl"], gone=gone)] == ["a.jsonl"]


def test_files_are_read_whole_and_in_parts(hub: WebServer) -> None:
    for name in ("data/a.jsonl", "data/b c+é.jsonl"):
        with open_stream(f"{SET}@v1/{name}") as file:
            assert file.read() == hub.files[f"/{name}"]
        with open_random(f"{SET}/{name}") as file:
            file.seek(5)
            assert file.read() == hub.files[f"/{name}"][5:]


def test_what_is_not_there(hub: WebServer) -> None:
    for url, words in (
        (
            f"{SET}/data/*.parquet",
            r"no such file\. In hf://datasets/me/set/data/ there is: a\.jsonl, b c\+é\.jsonl",
        ),
        (f"{SET}/data/aa.jsonl", r"no such file\. In hf://datasets/me/set/data/ there is: a\.jsonl"),
        (f"{SET}@v9/data/*", r"me/set has no revision 'v9'\.$"),
        ("hf://datasets/me/other/x.jsonl", r"has no hf://datasets/me/other, or it is private\. .* set HF_TOKEN"),
        ("hf://datasets/me", r"names no dataset: write hf://datasets/OWNER/NAME/path"),
    ):
        with pytest.raises(UsageError, match=words):
            paths.find([url])


def test_an_unreachable_hub(hub: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"http://127\.0\.0\.1:9 cannot be reached .* Look at HF_ENDPOINT"):
        paths.find([f"{SET}/data/a.jsonl"])


def test_a_token_of_the_environment_is_used_and_kept_nowhere(
    hub: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And a run over the hub makes the same bytes as one over the same files on a disk."""
    hub.moved["private"] = "yes"
    with pytest.raises(UsageError, match="it is private"):
        paths.find([f"{SET}/data/*"])
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    changes = {
        "tag": {"taggers": ["length_v1"]}, "dedupe": None, "tokenizer": None, "tokens": None,
        "mix": {"where": {"words": "length_v1.words > 3"}},
    }  # fmt: skip
    for name, content in hub.files.items():
        (tmp_path / "in" / name[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name[1:]).write_bytes(content)
    with engine(Here()):
        run(recipe(tmp_path / "run", sources={"s": {"documents": f"{SET}/data/**"}}, **changes), quiet=True)
        local = {"s": {"documents": f"{tmp_path}/in/data/**"}}
        run(recipe(tmp_path / "local", sources=local, **changes), quiet=True)
    assert files(tmp_path / "run") == files(tmp_path / "local")
    assert (tmp_path / "run/log/versions.jsonl").read_text().count(f'"commit":"{COMMIT}"') == 3
    made = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not [content for content in made if TOKEN.encode() in content]
