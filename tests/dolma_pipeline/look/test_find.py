"""`index` and `find` on a tiny run, on its copy in memory, and on parts of others; counts by searching the ids."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.config import recipe_from_text
from dolma_pipeline.errors import DataError, MisalignedError, UsageError
from dolma_pipeline.look.find import Form, Index
from dolma_pipeline.look.find_text import forms_text
from dolma_pipeline.look.index import make_index
from dolma_pipeline.storage.folder import run_folder
from dolma_pipeline.tokens.encode import TokenizersEncoder
from dolma_pipeline.tokens.tokenizer import load_tokenizer
from tests.dolma_pipeline.look.conftest import made
from tests.pipeline import tiny

DOCUMENTS = tiny.make_documents()


@pytest.fixture(scope="session")
def run(corpus: Path) -> Path:
    """A run with token parts, to look at only."""
    with contextlib.chdir(corpus):
        made(tiny.recipe("parts"), stages=("tag", "dedupe", "tokenizer", "mix", "tokens"))
    return corpus / "parts"


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.fixture
def others(run: Path, tmp_path: Path) -> Path:
    """Its parts as others would have them: ids alone."""
    folder = tmp_path / "others"
    folder.mkdir()
    for path in sorted((run / "tokens/train").glob("*.npy")):
        shutil.copyfile(path, folder / path.name)
    return folder


corpus = tiny.corpus


def ids_of(run: Path) -> list[tuple[str, list[int]]]:
    """The ids of each part."""
    dtype = json.loads((run / "tokens/manifest.json").read_text())["dtype"]
    paths = sorted((run / "tokens/train").glob("*.npy"))
    return [(f"tokens/train/{path.name}", np.fromfile(path, dtype).tolist()) for path in paths]


def encode(run: Path, text: str) -> list[int]:
    encoder = TokenizersEncoder(load_tokenizer(run / "tokenizer/tokenizer.json", engine="tokenizers"))
    return list(encoder.encode(pa.array([text])).to_pylist()[0])


def test_every_place_and_its_document(own: Path) -> None:
    manifest, is_new = make_index(str(own), piece_bytes=3000)
    assert is_new
    assert len(manifest["pieces"]) > len(ids_of(own))
    rows = {path.stem: pq.read_table(path).to_pylist() for path in (own / "tokens/train").glob("*.parquet")}
    with Index(str(own)) as index:
        for word in ("river", "stone bridge", "東京", "winter"):
            for form, text in zip(index.find(word, number=10_000), (word, f" {word}"), strict=True):
                assert list(form.ids) == encode(own, text)
                wanted = [
                    (part, i)
                    for part, ids in ids_of(own)
                    for i in range(len(ids))
                    if ids[i : i + len(form.ids)] == list(form.ids)
                ]
                assert form.count == len(wanted)
                assert [(one.part, one.first) for one in form.occurrences] == wanted
                for one in form.occurrences:
                    row = next(r for r in rows[Path(one.part).stem] if r["start"] <= one.first < r["end"])
                    shard, number = row["origin"].split("#")
                    document = DOCUMENTS[shard][int(number)]
                    assert one.document["origin"] == row["origin"]
                    assert one.document["source"] == row["source"]
                    assert one.document["id"] == document["id"]
                    assert one.document["loc"] == int(number) + 1 + (shard == "web/a" and int(number) >= 30)
                    assert one.document["attributes"]["length_v1.words"] == row["length_v1.words"]
                    assert one.text == text
                    assert "<|" not in one.after
        forms = [form for form in index.find("winter", number=1) if form.count]
        assert forms
        assert all(len(form.occurrences) == 1 < form.count for form in forms)


def test_the_runs_of_a_model_s_output(own: Path) -> None:
    make_index(str(own))
    row = next(
        r for r in pq.read_table(own / "tokens/train/part-00000.parquet").to_pylist() if r["end"] - r["start"] > 90
    )
    dtype = json.loads((own / "tokens/manifest.json").read_text())["dtype"]
    ids = np.fromfile(own / "tokens/train/part-00000.npy", dtype)[row["start"] : row["end"] - 1]
    info = load_tokenizer(own / "tokenizer/tokenizer.json", engine="tokenizers")
    taken = TokenizersEncoder(info).decode(ids[10:70])
    text = f"qqqq zzzz{taken} zzzz qqqq"
    with Index(str(own)) as index:
        trace = index.trace(text, at_least=20, number=5)
        first = trace.spans[0]
        assert first.text in text
        assert len(first.text) >= len(taken) - 12
        assert first.last - first.first >= 50
        assert first.occurrences[0].document["origin"] == row["origin"]
        assert [one.last - one.first for one in trace.spans] == sorted(
            (one.last - one.first for one in trace.spans), reverse=True
        )
        assert trace.covered <= trace.num_ids == len(encode(own, text))
        assert index.trace("qqqq zzzz qqqq", at_least=20, number=5).spans == ()
        with pytest.raises(UsageError, match="nothing to look for"):
            index.trace("", at_least=1, number=1)


def test_made_again_only_where_it_must_be_and_of_the_same_bytes(own: Path, tmp_path: Path) -> None:
    before = {path for path in own.rglob("*") if path.is_file()}
    make_index(str(own))
    find = own / "tokens/find"
    files = {path.name: path.read_bytes() for path in find.iterdir()}
    assert not make_index(str(own))[1]
    assert {path for path in own.rglob("*") if path.is_file()} - before == set(find.iterdir())
    (find / "manifest.json").unlink()
    (find / "table.99").write_bytes(b"of an earlier one")
    assert make_index(str(own))[1]
    assert {path.name: path.read_bytes() for path in find.iterdir()} == files


def test_what_is_first_where_there_are_no_parts(own: Path, tmp_path: Path) -> None:
    """Not an index, which could not be made."""
    shutil.rmtree(own / "tokens")
    with pytest.raises(UsageError, match=r"no finished token parts\. First: dolma-pipeline tokens"):
        Index(str(own))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("nothing")
    with pytest.raises(UsageError, match="neither a run's folder"):
        Index(str(tmp_path / "other"))


def test_clean_removes_an_index_that_is_named(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_index(str(own))
    files = list((own / "tokens/find").iterdir())
    others = [path for path in (own / "tokens").rglob("*") if path.is_file() and path not in files]
    main(["clean", str(own), "--yes"])
    assert all(path.exists() for path in files)
    main(["clean", str(own), "index", "--yes"])
    assert "removed from" in capsys.readouterr().out
    assert not (own / "tokens/find").exists()
    assert all(path.exists() for path in others)


def test_an_index_that_was_stopped_keeps_its_parts(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dolma_pipeline.look import index as module

    read = list[str]()

    class Documents(module.PartDocuments):
        def __init__(self, parts, part, ids) -> None:  # type: ignore[no-untyped-def]
            read.append(part.name)
            if len(read) == 3:
                raise KeyboardInterrupt
            super().__init__(parts, part, ids)

    monkeypatch.setattr(module, "PartDocuments", Documents)
    with pytest.raises(KeyboardInterrupt):
        make_index(str(own))
    with pytest.raises(UsageError, match=r"have no index yet\. First: dolma-pipeline index"):
        Index(str(own))
    make_index(str(own))
    assert sorted(read) == sorted([name for name, _ in ids_of(own)] + [read[2]])


def test_an_index_of_other_parts_or_of_another_tokenizer_is_refused(own: Path) -> None:
    make_index(str(own))
    path = own / "tokens/manifest.json"
    tokens = json.loads(path.read_text())
    path.write_text(json.dumps({**tokens, "warnings": ["made again"]}))
    with pytest.raises(
        UsageError, match=r"of other token parts than those that are there now\. Make it again: dolma-pipeline index"
    ):
        Index(str(own))
    path.write_text(json.dumps({**tokens, "tokenizer": "sha256:" + "0" * 64}))
    with pytest.raises(UsageError, match="its index is of another tokenizer"):
        Index(str(own))
    with pytest.raises(DataError, match="not the tokenizer that the token parts were made with"):
        make_index(str(own))
    path.unlink()
    with pytest.raises(UsageError, match=r"has no finished token parts\. First: dolma-pipeline tokens RECIPE"):
        make_index(str(own))


def test_a_file_that_is_cut_or_gone_is_told(own: Path) -> None:
    make_index(str(own))
    table = own / "tokens/find/table.0"
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"table\.0: \d+ bytes, and its manifest says"):
        Index(str(own))
    table.unlink()
    with pytest.raises(DataError, match=r"table\.0: gone"):
        Index(str(own))


def test_parts_of_others(own: Path, others: Path) -> None:
    tokenizer = str(own / "tokenizer/tokenizer.json")
    eos = next(iter(load_tokenizer(tokenizer, engine="tokenizers").special_ids))
    with pytest.raises(UsageError, match="its tokenizer is not known: give --tokenizer FILE"):
        make_index(str(others))
    with pytest.raises(UsageError, match="nothing says where a document ends: give --eos TOKEN"):
        make_index(str(others), tokenizer=tokenizer)
    first = sorted(others.glob("*.npy"))[0]
    np.save(others / "a.npy", np.fromfile(first, "<u2"))  # with numpy's header
    first.unlink()
    make_index(str(others), tokenizer=tokenizer, eos=eos)
    make_index(str(own))
    with Index(str(others)) as index, Index(str(own)) as same:
        found, wanted = (one.find("river", number=500) for one in (index, same))
        assert [form.count for form in found] == [form.count for form in wanted] != [0, 0]
        assert [(o.before, o.after) for f in found for o in f.occurrences] == [
            (o.before, o.after) for f in wanted for o in f.occurrences
        ]
        assert found[0].occurrences[0].document == {}
    for ending in (".parquet", ".csv.gz"):  # Dolma's table, and one that does not fit
        shutil.copyfile(own / f"tokens/train/part-00001{ending}", others / f"part-00001{ending}")
        (others / "find/manifest.json").unlink()
        make_index(str(others), tokenizer=tokenizer, eos=eos)
    shutil.copyfile(own / "tokens/train/part-00002.parquet", others / "part-00001.parquet")
    shutil.rmtree(others / "find")
    with pytest.raises(MisalignedError, match="do not lie one behind the other"):
        make_index(str(others), tokenizer=tokenizer, eos=eos)
    (others / "part-00001.parquet").unlink()
    np.full(9, 60_000, "<u2").tofile(others / "b.npy")
    with pytest.raises(DataError, match="id 60000 at place 0, but this tokenizer's are below"):
        make_index(str(others), tokenizer=tokenizer, eos=eos)
    (others / "b.npy").write_bytes(b"odd")
    with pytest.raises(DataError, match="3 bytes are not a whole number of uint16 ids"):
        make_index(str(others), tokenizer=tokenizer, eos=eos)


def test_a_run_that_is_elsewhere(own: Path) -> None:
    folder = run_folder("memory://found")
    for path in own.rglob("*"):
        if path.is_file() and path.relative_to(own).parts[0] in ("tokens", "tokenizer", "shards.jsonl"):
            folder.write(path.relative_to(own).as_posix(), path.read_bytes())
    make_index("memory://found")
    make_index(str(own))
    assert {one.name: folder.read(one.name) for one in folder.list("tokens/find")} == {
        f"tokens/find/{path.name}": path.read_bytes() for path in (own / "tokens/find").iterdir()
    }
    with Index("memory://found") as index, Index(str(own)) as same:
        assert index.find("river", number=3) == same.find("river", number=3)


def test_the_commands(own: Path, others: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(own)
    assert main(["find", "river", "--run", place]) == 2
    assert "its token parts have no index yet" in capsys.readouterr().err
    assert main(["find", "--file", str(tmp_path), "--run", place]) == 1
    assert f"{tmp_path}: a folder; --file names one file" in capsys.readouterr().err
    assert main(["index", place]) == 0
    assert f"{place}: indexed; " in capsys.readouterr().out
    assert main(["index", place, "--format", "json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["made_now"] is False
    assert main(["find", "river", "--run", place, "--number", "2"]) == 0
    said = capsys.readouterr().out
    assert "'river': " in said
    assert "[river]" in said
    assert ", the first 2" in said
    assert "source " in said
    output = tmp_path / "output.txt"
    output.write_text(DOCUMENTS["code/c"][30]["text"], encoding="utf-8")
    assert main(["find", "--file", str(output), "--run", place, "--format", "json"]) == 0
    record = orjson.loads(capsys.readouterr().out)
    assert record["spans"][0]["occurrences"][0]["document"]["origin"] == "code/c#30"
    assert main(["find", "--file", str(output), "--run", place, "--at-least", "12"]) == 0
    assert "of at least 12 that stand in the documents word for word" in capsys.readouterr().out
    for typed, words in (
        (["find", "river"], "'find' needs a run"),
        (["find", "--run", place], "found neither"),
        (["find", "a", "b", "--run", place], "found 'a' and 'b'"),
        (["find", "", "--run", place], "the text to find is empty"),
        (["find", "a", "--run", place, "--at-least", "3"], "--at-least is for --file"),
        (["find", "a", "--run", place, "--number", "0"], "--number takes a whole number from 1 on, found '0'"),
        (["index"], "'index' takes one folder"),
        (["index", place, "--eos", "x"], "is a run's folder, which knows that itself; leave out --eos"),
        (["index", str(tmp_path / "none")], "nothing is there"),
    ):
        assert main(typed) == 2
        assert words in capsys.readouterr().err
    assert main(["find", "--file", "nowhere.txt", "--run", place]) == 1
    assert "nowhere.txt: no such file" in capsys.readouterr().err


def test_a_text_is_looked_for_as_the_run_has_normalized_its_documents(tmp_path: Path) -> None:
    """Letters that are composed in the run, and decomposed where one copies them from."""
    decomposed = "the cafe\u0301 at the river"
    lines = [json.dumps({"id": str(i), "text": f"page {i}: {decomposed} {i * i}"}) for i in range(60)]
    (tmp_path / "web.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tree = {
        "output": str(tmp_path / "run"),
        "normalize": ["nfc"],
        "sources": {"web": {"documents": f"{tmp_path}/web.jsonl"}},
        "tokenizer": {"train": "bpe", "vocab_size": 300},
        "mix": {},
        "tokens": {},
    }
    made(recipe_from_text(json.dumps(tree)), stages=("tokenizer", "mix", "tokens"))
    make_index(str(tmp_path / "run"))
    with Index(str(tmp_path / "run")) as index:
        assert max(form.count for form in index.find(decomposed, number=1)) > 40
        assert index.trace(f"page 7: {decomposed}", at_least=3, number=1).spans[0].text.endswith("river")


def test_of_a_form_that_stands_nowhere_no_more_is_said() -> None:
    assert forms_text([Form("a", (1,), 0, ()), Form(" a", (2, 1), 0, ())]) == "'a': nowhere\n' a': nowhere\n"
    assert "' a': once, which is among those of 'a'" in forms_text([Form("a", (1,), 2, ()), Form(" a", (2, 1), 1, ())])


def test_parts_of_others_that_were_written_over_are_indexed_anew(own: Path, tmp_path: Path) -> None:
    place, tokenizer = tmp_path / "over", str(own / "tokenizer/tokenizer.json")
    shutil.copytree(own / "tokens/train", place)
    assert make_index(str(place), tokenizer=tokenizer)[1]
    assert not make_index(str(place), tokenizer=tokenizer)[1]
    part = next(place.glob("*.npy"))
    content = part.read_bytes()
    part.write_bytes(content[:2] + content[:2] + content[4:])  # as long as before
    assert make_index(str(place), tokenizer=tokenizer)[1]
