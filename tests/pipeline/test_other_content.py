"""Files that get another content, and lists of others: nothing stands on what was, whatever ran in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.runner import Result, run
from tests.pipeline.tiny import files, read_jsonl, recipe, write_documents

pytestmark = pytest.mark.usefixtures("plain")

OLD = [f"{'old ' * (i % 12 + 1)}text {i}" for i in range(60)]
NEW = [text.replace("old", "new") for text in OLD[::-1]]
SMALL: dict[str, Any] = {
    "modules": None,
    "tag__taggers": ["length_v1"],
    "dedupe": None,
    "tokenizer": None,
    "tokens": None,
    "mix": {"where": {"words": "length_v1.words >= 5"}},
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, texts: list[str]) -> None:
    write_documents(path, ({"id": str(i), "text": text} for i, text in enumerate(texts)))


def work(folder: str = "run", *, redo: bool = False, stages: tuple[str, ...] = (), **changes: Any) -> Result:
    settings = {**SMALL, "sources": {"s": {"documents": "in/*"}}, **changes}
    return run(recipe(folder, **settings), quiet=True, redo=redo, stages=stages)


def another_rule(least: int) -> dict[str, Any]:
    return {"mix": {"where": {"words": f"length_v1.words >= {least}"}}}


def nothing_passes() -> None:
    with pytest.raises(DataError, match="no document passes the rules"):
        work(redo=True, **another_rule(500))


def one_stage_with_another_rule() -> None:
    work(redo=True, stages=("tag",), **another_rule(8))


def no_mix_in_between() -> None:
    work(redo=True, mix=None)


def other_taggers_in_between() -> None:
    work(redo=True, tag__taggers=["c4_v1"], mix={"where": {"long": "chars > 0"}})


@pytest.mark.parametrize("texts", [NEW, NEW[:-5]])
@pytest.mark.parametrize(
    "between", [nothing_passes, one_stage_with_another_rule, no_mix_in_between, other_taggers_in_between]
)
def test_nothing_of_the_old_content_is_taken_for_work_of_the_new(
    mine: Path, between: Callable[[], None], texts: list[str]
) -> None:
    """What another run left aside, because it was of other settings or was not asked for, does not come back."""
    write(mine / "in/a.jsonl", OLD)
    write(mine / "in/b.jsonl", OLD[:7])
    work()
    write(mine / "in/a.jsonl", texts)
    between()
    work(redo=True)
    work("fresh")
    found = files(mine / "run")
    assert {name: found[name] for name in found if not name.startswith("attributes/c4_v1/")} == files(mine / "fresh")
    assert work().nothing_to_do


@pytest.mark.parametrize("without_step", [True, False])
def test_a_file_that_goes_and_comes_back_with_other_content(mine: Path, without_step: bool) -> None:
    """While the recipe had no such step, or while a run did not ask for it."""
    steps = {"steps": [{"name": "exact", "kind": "exact"}, {"name": "near", "kind": "minhash"}]}
    near = {"dedupe": steps, "mix": {"where": {"near": "near.keep"}}}
    for name, texts in (("a", OLD), ("b", OLD[:20])):
        write(mine / f"in/{name}.jsonl", texts)
    work(**near)
    (mine / "in/b.jsonl").unlink()
    if without_step:
        work(redo=True)
    else:
        work(redo=True, stages=("tag",), **near)
    write(mine / "in/b.jsonl", NEW[:20])
    work(redo=True, **near)
    work("fresh", **near)
    assert files(mine / "run") == files(mine / "fresh")


@pytest.mark.parametrize("rules", [["words", "long"], ["words", "long", "x", "y"], ["x", "words", "late", "y"]])
def test_rules_in_another_order(mine: Path, rules: list[str]) -> None:
    """Answers are kept by the place of a rule among its like: early ones, and those that read the text."""
    sql = {
        "words": "length_v1.words >= 5",
        "long": "chars > 30",
        "x": "text LIKE '%1%'",
        "y": "text LIKE '%2%' OR text LIKE '%3%'",
        "late": "exact.keep OR text LIKE '%4%'",
    }
    write(mine / "in/a.jsonl", OLD)
    exact = {"steps": [{"name": "exact", "kind": "exact"}]}
    for number, order in enumerate((rules, rules[::-1])):
        where = {"where": {name: sql[name] for name in order}}
        work(redo=True, dedupe=exact, mix=where)
        work(f"fresh{number}", dedupe=exact, mix=where)
        assert files(mine / "run") == files(mine / f"fresh{number}")


LATE = {
    "dedupe": {"steps": [{"name": "exact", "kind": "exact"}]},
    "tag": None,
    "mix": {"where": {"u": "exact.keep OR text LIKE '%zzz%'"}},
}


def test_answers_about_the_election_are_asked_anew_when_files_come_and_go(mine: Path) -> None:
    """A rule that names a dedupe step and reads the text: who stays of old documents, new files decide, too."""
    settings = {name: value for name, value in SMALL.items() if name != "tag__taggers"} | LATE
    for name in ("c", "b", "a"):  # a new file comes before the others, and has the same texts
        write(mine / f"in/{name}.jsonl", OLD[:4])
        run(recipe("run", **settings, sources={"s": {"documents": "in/*"}}), quiet=True)
    rows = [row for path in (mine / "run/mix/documents").rglob("*.zst") for row in read_jsonl(path)]
    assert [row["origin"] for row in rows] == [f"s/a#{i}" for i in range(4)]
    (mine / "in/a.jsonl").unlink()
    for folder in ("run", "fresh"):
        run(recipe(folder, **settings, sources={"s": {"documents": "in/*"}}), quiet=True, redo=True)
    assert files(mine / "run") == files(mine / "fresh")


def test_a_tagger_that_edits_alone_use_may_change_without_a_tokenizer(mine: Path) -> None:
    """Who is edited is known from its files: no reading waits for what it makes itself."""
    write(mine / "in/a.jsonl", [*OLD, "Call 030 901820 or write to a@b.org"])
    mix = {"where": {"u": "chars > 2"}, "replace": [{"spans": "pii_v1.phone", "with": " <P> "}]}
    for regions in (["US"], ["DE"]):
        work(redo=True, tag__taggers=[{"tagger": "pii_v1", "phone_regions": regions}], mix=mix)
    work("fresh", tag__taggers=[{"tagger": "pii_v1", "phone_regions": ["DE"]}], mix=mix)
    assert files(mine / "run") == files(mine / "fresh")


def test_a_list_of_shards_that_is_gone_is_written_again(mine: Path) -> None:
    write(mine / "in/a.jsonl", OLD)
    work()
    before = files(mine / "run")
    (mine / "run/shards.jsonl").unlink()
    work()
    assert files(mine / "run") == before


def test_what_an_earlier_recipe_made_is_told(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(mine / "in/a.jsonl", OLD)
    work(tag__taggers=["length_v1", "c4_v1"])
    assert "earlier recipe" not in capsys.readouterr().err
    work(redo=True, **another_rule(6))
    said = capsys.readouterr().err
    assert "run holds attributes/c4_v1 of an earlier recipe, which this one does not have. No result" in said
    work(redo=True, tag__taggers=["length_v1", "c4_v1"], **another_rule(7))
    assert "earlier recipe" not in capsys.readouterr().err


WRITES = '''
import pathlib

import dolma_pipeline as dp


@dp.tagger("writes_v1", fields={"letters": int})
def writes(doc: dp.Document) -> dp.Attributes:
    """The length of a text; whoever reads the last file writes the first one anew, or takes it away."""
    first = pathlib.Path("in/a.jsonl")
    if doc.text.startswith("last") and first.exists():
        HOW
    return {"letters": len(doc.text)}
'''


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("first.write_text(first.read_text().replace('old', 'new'))", True),
        ("first.write_text(first.read_text())", False),  # the same content, at another time
        ("first.unlink()", False),  # it was read before
    ],
)
def test_a_file_that_is_written_anew_while_a_run_reads_it_is_told(mine: Path, how: str, told: bool) -> None:
    write(mine / "in/a.jsonl", OLD)
    write(mine / "in/b.jsonl", ["last"])
    (mine / "writes.py").write_text(WRITES.replace("HOW", how))
    changes: dict[str, Any] = {"modules": ["./writes.py"], "tag__taggers": ["writes_v1"], "mix": None}
    if not told:
        work(**changes)
        return
    with pytest.raises(DataError, match=r"in/a\.jsonl: the file was changed .* since this run indexed it"):
        work(**changes)
    work(redo=True, **changes)
    work("fresh", **changes)
    assert files(mine / "run") == files(mine / "fresh")
