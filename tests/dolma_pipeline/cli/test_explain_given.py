"""`explain -`: a text on standard input, taggers and modules by options."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dolma_pipeline import registry
from dolma_pipeline.cli import main
from dolma_pipeline.tagging import DECLARED

SHOUTING = """\
import dolma_pipeline as dp

@dp.tagger("shouting_v1", fields={"shouts": list[dp.Span]})
def shouting(doc, *, min_letters: int = 2):
    at = doc.text.find("HELLO")
    return {"shouts": [dp.Span(at, at + min_letters)] if at >= 0 else []}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with a file of taggers; what it declares is gone after a test."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_taggers.py").write_text(SHOUTING)
    registry.tagger_specs()
    before = dict(DECLARED)
    yield tmp_path
    for name in [*registry._installed]:
        registry._forget(name)
    DECLARED.clear()
    DECLARED.update(before)


def typed(monkeypatch: pytest.MonkeyPatch, text: bytes, *words: str) -> int:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    return main(["explain", "-", *words])


def test_the_taggers_of_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(monkeypatch, "Oh, HELLO Zoë".encode(), "--module", "my_taggers.py") == 0
    out = capsys.readouterr().out
    assert out.startswith("13 characters\n\nattribute            value\n")
    assert out.endswith("\ntext               |Oh, HELLO Zoë\nshouting_v1.shouts |    <>\n")


def test_named_taggers_with_parameters(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    long = "{tagger: shouting_v1, name: long, min_letters: 5}"
    options = ["--module=my_taggers.py", "--tagger", long, "--tagger", "length_v1", "--format", "json"]
    assert typed(monkeypatch, b"HELLO", *options) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["attributes"]) == ["long", "length_v1"]
    assert found["attributes"]["long"]["shouts"] == [{"start": 0, "end": 5, "score": 1.0, "text": "HELLO"}]
    assert found["attributes"]["length_v1"]["words"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "'explain -' needs taggers: dolma-pipeline explain - --tagger gopher_v1"),
        (["--tagger", "gofer_v1"], "no tagger named 'gofer_v1'. Did you mean 'gopher_v1'?"),
        (["--tagger", "[length_v1]"], "--tagger takes a name or a mapping with the key 'tagger', as '{tagger: pii_v1"),
        (["--tagger", "{name: a}"], "--tagger takes a name or a mapping with the key 'tagger'"),
        (["--tagger", "length_v1", "a=b"], "'explain -' reads no recipe, so 'a=b' sets nothing"),
        (["--module", "none.py"], "no file none.py (modules), looked for at "),
    ],
)
def test_errors(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, b"text", *words) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_what_is_not_utf8(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(monkeypatch, b"\xff", "--tagger", "length_v1") == 1
    assert capsys.readouterr().err.startswith("error: standard input is not a text in UTF-8: ")


def test_the_options_are_for_a_text_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "my.yaml", "web/a#1", "--tagger", "length_v1"]) == 2
    error = "error: --tagger is for a text on standard input: dolma-pipeline explain -\n"
    assert capsys.readouterr().err == error
