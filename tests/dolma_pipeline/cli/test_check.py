"""`check`: taggers of a file, of a module and of the library; what is broken, what was typed wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolma_pipeline import registry
from dolma_pipeline.cli import main
from dolma_pipeline.tagging import DECLARED

GOOD = '''\
import dolma_pipeline as dp

@dp.tagger("shouting_v1", fields={"share": float})
def shouting(doc, *, min_letters: int = 2):
    """Words written in capitals."""
    words = doc.text.split()
    return {"share": sum(w.isupper() and len(w) >= min_letters for w in words) / max(1, len(words))}
'''
HASTY = '''

@dp.tagger("hasty_v1", fields={"mean": float})
def hasty(doc):
    """Forgets that a text may be empty."""
    return {"mean": len(doc.text) / len(doc.text.split())}
'''
HASHES = '''
from dataclasses import dataclass

@dp.tagger("hashes_v1")
@dataclass
class Hashes:
    """Hangs on the seed of hashes."""
    fields = {"n": int}

    def tag(self, batch):
        return {"n": [hash(text) % 1000 for text in batch.strings]}
'''
FILES = """
from pathlib import Path
WORDS = Path("words.txt").read_text().split()
"""
LISTED = """\
from dataclasses import dataclass
from pathlib import Path

import dolma_pipeline as dp
from dolma_pipeline import assets

@dp.tagger("listed_v1")
@dataclass
class Listed:
    \"\"\"Counts the words of a list.\"\"\"
    words: str = "none.txt"
    fields = {"n": int}

    @property
    def assets(self):
        return (self.words,)

    def setup(self):
        self._words = PATH.read_text().split()

    def tag(self, batch):
        return {"n": [sum(map(text.count, self._words)) for text in batch.strings]}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory; what is declared in it is gone after a test."""
    monkeypatch.chdir(tmp_path)
    registry.tagger_specs()
    before = dict(DECLARED)
    yield tmp_path
    for name in [*registry._installed]:
        registry._forget(name)
    DECLARED.clear()
    DECLARED.update(before)


def test_all_taggers_of_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "my_taggers.py").write_text(GOOD + HASTY + HASHES)
    assert main(["check", "my_taggers.py"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("hasty_v1  breaks a promise: raised ZeroDivisionError: division by zero on the text ''")
    assert lines[0].startswith(
        "hashes_v1  breaks a promise: gave another answer in another process, folder and hash seed: field 'n' was int"
    )
    assert lines[2:] == ["shouting_v1  ok"]


def test_one_of_them_with_parameters_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "my_taggers.py").write_text(GOOD + HASTY)
    assert main(["check", "my_taggers.py", "shouting_v1", "min_letters=3", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == [{"tagger": "shouting_v1", "keeps_promises": True, "broken": ""}]


def test_what_a_file_reads_beside_itself_does_not_travel(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "words.txt").write_text("a b")
    (folder / "my_taggers.py").write_text(GOOD + FILES)
    assert main(["check", "my_taggers.py"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: in another process and folder: my_taggers.py:10: FileNotFoundError: ")


@pytest.mark.parametrize(
    ("text", "typed", "message"),
    [
        (GOOD + "1 / 0\n", [], "my_taggers.py:8: ZeroDivisionError: division by zero"),
        ("def x(:\n", [], "my_taggers.py:1: invalid syntax"),
        (
            "import not_there\n",
            [],
            "my_taggers.py:1: my_taggers.py needs the module 'not_there', which is not installed",
        ),
        ("x = 1\n", [], "my_taggers.py declares no tagger; one begins with @dp.tagger(…)"),
        (GOOD, ["shoting_v1"], "no tagger of my_taggers.py named 'shoting_v1'. Did you mean 'shouting_v1'?"),
        (GOOD, ["least=3"], "no parameter of tagger 'shouting_v1' named 'least'."),
        (GOOD, ["min_letters=x"], "tagger 'shouting_v1': parameter 'min_letters' is int (default 2), not str 'x'"),
        (GOOD + HASTY, ["min_letters=3"], "parameters are for one tagger, and there are 2: hasty_v1, shouting_v1."),
    ],
)
def test_what_cannot_be_tested(
    folder: Path, text: str, typed: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "my_taggers.py").write_text(text)
    assert main(["check", "my_taggers.py", *typed]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ([], "'check' needs a file, a module or a tagger: dolma-pipeline check my_taggers.py"),
        (["./nowhere.py"], "no file ./nowhere.py (modules), looked for at "),
        (["gofer_v1"], "no tagger named 'gofer_v1'. Did you mean 'gopher_v1'? Nor is it a module: no module named"),
    ],
)
def test_what_is_not_there(typed: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *typed]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_a_tagger_of_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "length_v1"]) == 0
    assert capsys.readouterr().out == "length_v1  ok\n"


def test_files_that_a_tagger_names_travel_in_lists_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text(f"{name[0]}.example\n")
    assert main(["check", "url_v1", "domains=[./a.txt, ./b.txt]"]) == 0
    assert capsys.readouterr().out == "url_v1  ok\n"


@pytest.mark.parametrize("where", ["words.txt", "lists/words.txt"])
def test_files_that_travel_are_found_by_their_name_as_an_asset_only(
    folder: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / where).parent.mkdir(exist_ok=True)
    (folder / where).write_text("a e\n")
    (folder / "my_taggers.py").write_text(LISTED.replace("PATH", "assets.asset(self.words)"))
    assert main(["check", "my_taggers.py", f"words=./{where}"]) == 0
    assert capsys.readouterr().out == "listed_v1  ok\n"
    (folder / "my_taggers.py").write_text(LISTED.replace("PATH", "Path(self.words)"))
    assert main(["check", "my_taggers.py", f"words=./{where}"]) == 1
    assert "in another process: setup() raised FileNotFoundError" in capsys.readouterr().out


def test_files_of_one_name_are_refused_as_in_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "list.txt").write_text(f"{name}.example\n")
    assert main(["check", "url_v1", "domains=[./a/list.txt, ./b/list.txt]"]) == 1
    assert "./b/list.txt and ./a/list.txt have one file name" in capsys.readouterr().err
