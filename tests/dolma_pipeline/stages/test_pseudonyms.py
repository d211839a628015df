"""`with: hash`: the same pseudonym for the same value everywhere, and a key that is nowhere in the run."""

from __future__ import annotations

import hashlib
import hmac
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

import dolma_pipeline as dp
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.errors import ConfigError, SettingsChangedError
from dolma_pipeline.kernels.edit import Edits, edit_texts
from dolma_pipeline.run.process import Process
from dolma_pipeline.stages.edits import Edit, edited_lengths
from dolma_pipeline.stages.pseudonyms import Key, blank_pseudonym, key_marks, key_of
from tests.dolma_pipeline.stages.small import small_run, write_shards

SECRET = "0123456789abcdef0123456789abcdef"
MAIL = {"spans": "pii_v1.email", "with": "hash", "key": "env:PII_KEY"}
TEXTS = ["Ask é@b.org, or a@b.org.", "none here at all", "(a@b.org) 😀 10.0.0.1!"]


def pseudonym(field: str, value: str, secret: str = SECRET) -> str:
    return f"<{field}_{hmac.new(secret.encode(), value.encode(), hashlib.sha256).hexdigest()[:16]}>"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_pseudonym_is_a_keyed_hash_as_long_as_any_other(value: str) -> None:
    made = Key(SECRET.encode()).pseudonym("credit_card", value)
    assert made.decode() == pseudonym("CREDIT_CARD", value)
    assert len(made) == len(blank_pseudonym("credit_card"))


def test_a_key_is_not_shown_and_goes_nowhere() -> None:
    key = Key(SECRET.encode())
    assert SECRET not in repr(key)
    assert key.mark != Key(SECRET[1:].encode()).mark
    with pytest.raises(TypeError, match="not sent anywhere"):
        pickle.dumps(key)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6))
def test_lengths_are_known_without_texts(places: list[tuple[int, int]]) -> None:
    texts = pa.array(["aé漢 b@c.org 😀", "", None])
    spans = sorted((min(p), max(p)) for p in places)
    column = pa.array([[{"start": a, "end": b, "score": 1.0} for a, b in spans], [], None], SPANS_TYPE)
    edit = Edit("pii_v1", "email", blank_pseudonym("email"), key=Key(SECRET.encode()))
    edited, _ = edit_texts(texts, Edits.of(3, [edit.part(pa.StructArray.from_arrays([column], ["email"]), texts)]))
    chars = np.array([13, 0, 0], np.int64)
    assert edited_lengths(chars, [(column, edit.replacement)]).tolist() == [len(t or "") for t in edited.to_pylist()]
    united: list[list[int]] = []
    for start, end in sorted((a, b) for a, b in spans if b > a):
        if united and start < united[-1][1]:
            united[-1][1] = max(united[-1][1], end)
        else:
            united.append([start, end])
    assert edited.to_pylist()[0].count("<EMAIL_") == len(united)


def recipe(folder: Path, *edits: dict[str, Any], **more: Any) -> Path:
    path = folder / "r.yaml"
    mix = {"replace": list(edits), "documents": True, **more}
    tree = {"output": str(folder / "run"), "sources": {"web": {"documents": str(folder / "in/web/*.jsonl")}},
            "tag": {"taggers": ["pii_v1"]}, "mix": mix}  # fmt: skip
    path.write_text(json.dumps(tree))
    return path


def mixed(folder: Path) -> list[str]:
    files = sorted((folder / "run" / "mix" / "documents").rglob("*.zst"))
    lines = [
        line
        for file in files
        for line in zstandard.ZstdDecompressor().stream_reader(file.open("rb")).read().splitlines()
    ]
    return sorted(json.loads(line)["text"] for line in lines)


def test_a_run_holds_pseudonyms_and_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PII_KEY", f"{SECRET}\n")
    write_shards(tmp_path, {"web/a": TEXTS})
    address = {"spans": "pii_v1.ip", "with": "|||IP_ADDRESS|||"}
    path = recipe(tmp_path, MAIL, address, sources={"web": {"min_chars": 20}})
    dp.run(str(path))
    one, other = pseudonym("EMAIL", "é@b.org"), pseudonym("EMAIL", "a@b.org")
    assert mixed(tmp_path) == sorted([f"Ask {one}, or {other}.", f"({other}) 😀 |||IP_ADDRESS|||!"])
    for file in (tmp_path / "run").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file

    monkeypatch.setenv("PII_KEY", SECRET[::-1])
    with pytest.raises(SettingsChangedError, match=r"mix\.replace"):
        dp.run(str(path))
    monkeypatch.delenv("PII_KEY")
    with pytest.raises(ConfigError, match=r"mix\.replace\.0\.key.*variable PII_KEY is not set here"):
        dp.run(str(path))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"with": "hash"}, r"mix\.replace\.0\.with.*pseudonyms need a key: add `key: env:NAME` or `key: file:PATH`"),
        ({"with": "x", "key": "env:A"}, r"mix\.replace\.0\.key.*has no effect here; leave it out"),
        ({"with": "hash", "key": SECRET}, r"mix\.replace\.0\.key.*expected env:NAME .* or file:PATH"),
        ({"with": "hash", "key": "env:a b"}, r"mix\.replace\.0\.key.*expected env:NAME"),
    ],
)
def test_what_is_wrong_in_a_recipe(edit: dict[str, str], message: str) -> None:
    tree = {"output": "run", "sources": {"web": {"documents": "x.jsonl"}}, "tag": {"taggers": ["pii_v1"]},
            "mix": {"replace": [{"spans": "pii_v1.email", **edit}]}}  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        recipe_from_text(json.dumps(tree))


def process_of(folder: Path, key: str) -> Process:
    run = small_run(folder, {"web/a": TEXTS}, tag={"taggers": ["pii_v1"]}, mix={"replace": [{**MAIL, "key": key}]})
    return Process.of(run)


def key_in(process: Process) -> Key | None:
    return key_of(process, process.run.recipe.mixes()["mix"].replace[0], "mix.replace.0")


def test_a_key_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    process = process_of(tmp_path, f"file:{tmp_path}/key")
    key = key_in(process)
    assert key is not None
    assert key.mark == Key(SECRET.encode()).mark
    assert key_marks(process) == ((f"file:{tmp_path}/key", key.mark),)


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*/none here\. .*openssl rand -hex 32"):
        key_in(process_of(tmp_path, f"file:{tmp_path}/none"))
    (tmp_path / "short").write_text("0123456789\n")
    with pytest.raises(ConfigError, match="the key is 10 bytes long, expected at least 16"):
        key_in(process_of(tmp_path, f"file:{tmp_path}/short"))


def test_a_worker_with_another_key_stops(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    given_key = f"file:{tmp_path}/key"
    run = process_of(tmp_path, given_key).run
    Process.leave()
    elsewhere = Process.of(replace(run, key_marks=((given_key, "0" * 16),)))
    with pytest.raises(ConfigError, match="holds another key here than where the run was started"):
        key_in(elsewhere)
