"""Documents of a finished run, chosen by rules, against the documents themselves."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.config import Recipe
from dolma_pipeline.errors import ConfigError, DataError, UnknownNameError, UsageError
from dolma_pipeline.fit.run_set import RunSet
from dolma_pipeline.look.folder import Finished, begun
from dolma_pipeline.run.process import Process
from tests.dolma_pipeline.look.conftest import made
from tests.pipeline import tiny
from tests.pipeline.tiny import corpus  # noqa: F401 a fixture

DOCUMENTS = tiny.make_documents()
WEB = [one["text"] for name in ("web/a", "web/b") for one in DOCUMENTS[name]]
SMALL = ("--dim", "8", "--buckets", "2000", "--min-count", "1", "--out", "q.bin", "--replace", "--format", "json")


def recipe(output: str = "fitted", **changes: Any) -> Recipe:
    plain = {"tokenizer": None, "tokens": None, "mix__replace": None, "mix__held_out": None, "mix__documents": None}
    return tiny.recipe(output, **{**plain, **changes})


@pytest.fixture(scope="module")
def place(corpus: Path) -> Path:  # noqa: F811
    """A run as far as the verdicts of its rules."""
    with contextlib.chdir(corpus):
        made(recipe())
        Path("fitted.yaml").write_text(
            json.dumps({"output": "fitted", **tiny.tree(tokenizer=None, tokens=None, mix__replace=None)})
            .replace(', "held_out": {"share": 0.1, "max_tokens": 100000}', "")
            .replace(', "documents": true', "")
        )
    return corpus


@pytest.fixture(autouse=True)
def found(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Finished]:
    monkeypatch.chdir(place)
    yield begun(recipe())
    Process.leave()


def texts(one: RunSet) -> list[str]:
    """All texts of a set, in order."""
    every = list(one.texts(lambda chunk: np.arange(len(chunk.hashes))))
    for chunk, some in every:
        assert [len(text.encode()) for text in some.to_pylist()] == chunk.sizes.tolist()
    assert sum(len(chunk.hashes) for chunk, _ in every) == sum(len(chunk.hashes) for chunk in one.look())
    return [text for _, some in every for text in some.to_pylist()]


def test_all_documents_of_a_source(found: Finished) -> None:
    assert texts(RunSet(found, "web")) == WEB
    assert texts(RunSet(found, "code")) == [one["text"] for one in DOCUMENTS["code/c"]]


def test_those_of_a_rule(found: Finished) -> None:
    expected = [text for text in WEB if len(text.split()) > 20]
    assert texts(RunSet(found, "web", "length_v1.words > 20")) == expected
    stars = [one["text"] for one in DOCUMENTS["forum/d"] if one["metadata"]["stars"] >= 5]
    assert texts(RunSet(found, "forum", "(metadata->>'$.stars')::INT >= 5 AND source = 'forum'")) == stars


def test_those_that_pass_the_rules_of_the_run(found: Finished) -> None:
    keep = {}
    for step in ("exact", "minhash"):
        parts = [pq.read_table(f"fitted/attributes/{step}/web/{shard}.parquet").column(step) for shard in "ab"]
        keep[step] = [value["keep"] for part in parts for value in part.to_pylist()]
    expected = [text for text, *kept in zip(WEB, *keep.values(), strict=True) if len(text.split()) >= 10 and all(kept)]
    assert 0 < len(expected) < len(WEB)
    assert texts(RunSet(found, "web", "passes")) == expected
    rest = texts(RunSet(found, "web", "NOT passes"))
    assert sorted(rest + expected) == sorted(WEB)


def test_near_copies_are_one_unit(found: Finished) -> None:
    one = RunSet(found, "web")
    assert one.unit == "group of minhash"
    units = [unit for chunk in one.look() for unit in chunk.units]
    assert [units[40 + i] == units[70 + 40 + i] for i in range(6)] == [True] * 6  # `a` and `b`, with one word more
    assert units[0] == units[70 + 10]  # an exact copy
    assert len(set(units)) > 100


def test_without_the_step_the_texts_are_units(found: Finished) -> None:
    plain = RunSet(begun(recipe(dedupe=None, mix__where=None)), "web", "length_v1.words > 20")
    assert plain.unit == "text"
    chunks = list(plain.look())
    assert [unit for chunk in chunks for unit in chunk.units] == [
        f"{value:016x}" for chunk in chunks for value in chunk.hashes.tolist()
    ]


def test_the_record_names_what_was_read(found: Finished) -> None:
    record = RunSet(found, "web", "length_v1.words > 20").record()
    assert [*record["artifacts"]] == ["attributes/length_v1", "attributes/minhash", "index"]
    assert record["digest"].startswith("sha256:") or len(record["digest"]) >= 16
    assert [*RunSet(found, "web", "passes").record()["artifacts"]] == ["attributes/minhash", "index", "mix/verdicts"]


def test_what_cannot_be_chosen(found: Finished) -> None:
    with pytest.raises(UnknownNameError, match=r"no source named 'webb'\. Did you mean 'web'\?"):
        RunSet(found, "webb")
    with pytest.raises(UsageError, match="reads the text, and documents are chosen by columns alone"):
        RunSet(found, "web", "contains(text, 'river')")
    with pytest.raises(ConfigError, match="--positive-source 'web: wordz > 1'"):
        RunSet(found, "web", "wordz > 1", option="--positive-source 'web: wordz > 1'")
    other = begun(recipe(tag__taggers=["length_v1", "marks_v1", "gopher_v1"]))
    with pytest.raises(
        UsageError, match=r"not all that is asked for has been made there yet; left to do: attributes/g"
    ):
        RunSet(other, "web", "gopher_v1.word_count > 5")


def test_texts_that_were_changed_since_are_an_error(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write_corpus(tmp_path)
    monkeypatch.chdir(tmp_path)
    made(recipe("other"), stages=("tag",))
    lines = Path("in/web/b.jsonl").read_text()
    Path("in/web/b.jsonl").write_text(lines.replace("river", "rover"))
    with pytest.raises(DataError, match=r"b\.jsonl: the texts are not those that the run has read"):
        texts(RunSet(begun(recipe("other")), "web"))


def test_fit_takes_them(capsys: pytest.CaptureFixture[str]) -> None:
    rules = ["--positive-source", "*: passes AND length_v1.words >= 30", "--negative-source", "*: length_v1.words < 30"]
    arguments = ["fit", "fitted.yaml", *rules, *SMALL, "--lr", "0.5", "--held-out", "0.3"]
    assert main(arguments) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["units"] == ["group of minhash"]
    expected = sum(0 < len(one["text"].split()) < 30 for rows in DOCUMENTS.values() for one in rows)
    assert 0 < card["data"]["negative"]["taken"] <= expected  # some are copies of others
    assert {one["source"] for one in card["scores"]["within_source"]} == {"web", "code", "forum"}
    content = Path("q.bin").read_bytes()
    assert main([*arguments[:2], *arguments[4:6], *arguments[2:4], *arguments[6:]]) == 0  # the options turned round
    assert Path("q.bin").read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--positive-source", "web"], "--positive-source names a source of a recipe, and none is given"),
        (["fitted.yaml", "--positive", "in/web/*"], "by --positive-source and --negative-source; found 'fitted.yaml'."),
        (
            ["fitted.yaml", "--positive-source", "web:"],
            "nothing follows the colon. Give 'SOURCE: SQL', or SOURCE alone",
        ),
        (
            ["fitted.yaml", "--positive-source", "web"],
            "there is no negative one: give --negative FILES, or of a recipe",
        ),
        (["fitted.yaml", "output=nowhere", "--positive-source", "web"], "nowhere: no run has begun there."),
    ],
)
def test_requests_that_make_no_sense(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *arguments, *SMALL]) == 2
    assert words in capsys.readouterr().err
