"""`explain`: a document as the run has it, and a copy with its likeness counted again by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.errors import UnknownNameError, UsageError
from dolma_pipeline.look.explain import explain
from tests.dolma_pipeline.look.conftest import loaded, made
from tests.pipeline import tiny

DOCUMENTS = tiny.make_documents()


@pytest.fixture(autouse=True)
def _here(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.parent)


def jaccard(one: str, other: str) -> float:
    sets = []
    for text in (one, other):
        words = re.findall(r"\w+", text.lower())
        sets.append({tuple(words[i : i + 5]) for i in range(len(words) - 4)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def ascii_pair() -> tuple[str, str]:
    """A near copy and what stays for it; likeness by hand is that of words that are set off by blanks."""
    column = pq.read_table("loaded/attributes/minhash/web/b.parquet").column("minhash").to_pylist()
    row = next(i for i in range(40, 46) if not column[i]["keep"])
    return f"web/b#{row}", column[row]["cluster"]


def test_a_near_copy() -> None:
    goes, stays = ascii_pair()
    found = explain(loaded("loaded"), goes)
    copy = found.copy
    assert copy is not None
    assert (copy.step, copy.kind, copy.origin) == ("minhash", "minhash", stays)
    assert copy.jaccard == copy.stored
    shard, row = stays.split("#")
    assert copy.texts == (DOCUMENTS[shard][int(row)]["text"], DOCUMENTS["web/b"][int(goes.split("#")[1])]["text"])
    assert copy.jaccard == pytest.approx(jaccard(*copy.texts), abs=0.1)  # letters without blanks are words of their own
    assert copy.contained is not None
    assert copy.jaccard <= copy.contained <= 1.0
    signatures = [
        pq.read_table(f"loaded/dedupe/minhash/signatures/{one.split('#')[0]}.parquet") for one in (stays, goes)
    ]
    keys = [
        [
            dict(zip(table.column(f"row_{b:02}").to_pylist(), table.column(f"key_{b:02}").to_pylist(), strict=True))[
                int(one.split("#")[1])
            ]
            for b in range(14)
        ]
        for table, one in zip(signatures, (stays, goes), strict=True)
    ]
    assert copy.bands == tuple(b for b in range(14) if keys[0][b] == keys[1][b])
    assert copy.num_bands == 14
    assert len(copy.bands) > 0
    assert copy.same_words is False


def test_what_is_known_of_a_document_that_stays() -> None:
    found = explain(loaded("loaded"), "web/a#1")
    assert found.copy is None
    assert found.passes
    assert found.index["id"] == "a1"
    assert found.index["metadata"]["url"] == "http://x/a1"
    assert found.attributes["length_v1"]["words"] == len(DOCUMENTS["web/a"][1]["text"].split())  # type: ignore[index]
    assert found.rules["words"] == {"sql": "length_v1.words >= 10", "says": "passed"}
    assert found.dedupe["exact"]["keep"]
    assert found.dedupe["exact"]["size"] == 3
    assert explain(loaded("loaded"), "a1") == found


def test_as_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    goes, stays = ascii_pair()
    Path("explain.yaml").write_text(
        json.dumps({"output": "elsewhere", **tiny.tree(tokenizer={"load": "tokenizer.json"}, tokens=None)})
    )
    typed = ["explain", "explain.yaml", goes, "output=loaded"]
    assert main(typed) == 0
    said = capsys.readouterr().out
    assert f"minhash: a copy of {stays}, which stays" in said
    assert re.search(r"unique +failed +exact.keep AND minhash.keep", said)
    assert re.search(r"bands that met: [\d, ]+ of 14", said)
    assert "equal words)…" in said
    assert "{+" in said
    assert "is dropped" in said
    assert main([*typed, "--full"]) == 0
    assert "equal words)…" not in capsys.readouterr().out
    assert main([*typed, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["copy"]["origin"] == stays
    assert main(["explain", "explain.yaml", "web/b#10", "output=loaded"]) == 0
    assert capsys.readouterr().out.endswith(
        "exact: a copy of web/a#0, which stays; 3 documents in its cluster\nthe texts are equal\n"
    )
    assert main(["explain", "explain.yaml", goes]) == 2
    assert "elsewhere: no run has begun there. First: dolma-pipeline mix RECIPE." in capsys.readouterr().err
    assert main(["explain", "explain.yaml"]) == 2
    assert "'explain' takes a recipe and a document; found 1" in capsys.readouterr().err


def test_steps_that_elect_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = tmp_path / "fixed.jsonl"
    fixed.write_text(json.dumps({"text": DOCUMENTS["web/a"][1]["text"]}) + "\n")
    steps = [
        {"name": "minhash", "kind": "minhash"},
        {"name": "par", "kind": "paragraphs"},
        {"name": "fixed", "kind": "against", "unit": "text", "texts": [str(fixed)]},
    ]
    where = {"unique": "minhash.keep AND fixed.keep"}
    tree = tiny.tree(tokenizer={"load": "tokenizer.json"}, tokens=None, dedupe__steps=steps, mix__where=where)
    (tmp_path / "spans.yaml").write_text(json.dumps({"output": str(tmp_path / "spans"), **tree}))
    made(loaded(tmp_path / "spans", dedupe__steps=steps, mix__where=where))
    assert main(["explain", str(tmp_path / "spans.yaml"), "web/a#1"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"par.spans +\d+ span", said)
    assert re.search(r"fixed.keep +False", said)
    assert re.search(r"minhash +kept +web/a#1", said)
    assert main(["explain", str(tmp_path / "spans.yaml"), ascii_pair()[0]]) == 0
    assert "minhash: a copy of web/" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("web/x#1", r"no shard named 'web/x'\. Did you mean 'web/b' or 'web/a'"),
        ("web/a#70", r"web/a#70: no such document; web/a has rows 0 to 69\."),
        ("nobody", r"'nobody' is neither an origin, such as code/c#0, nor the id of a document"),
    ],
)
def test_names_of_nothing(name: str, words: str) -> None:
    with pytest.raises((UsageError, UnknownNameError), match=words):
        explain(loaded("loaded"), name)
