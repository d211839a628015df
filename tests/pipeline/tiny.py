"""A corpus of a few hundred short documents and a recipe over it, for tests of whole runs.

Three sources in four shards (gz, plain, zst): exact copies and near copies within and across sources, empty texts,
many scripts, one line that does not parse. `MARKS` is a tagger of a user's own file: two span fields and a number.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import hashlib
import json
import random
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard

from dolma_pipeline.config import Recipe
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.engines import Engine, Here
from dolma_pipeline.run import layout
from dolma_pipeline.runner import launcher, run

WORDS = """\
river stone winter letter garden market silver window morning harbour engine paper velvet thunder copper
lantern meadow pocket signal ladder orchard candle mirror bridge carpet feather hammer island jacket kettle
Straße naïve Жизнь вода 東京 水 नदी مدينة 😀 🇩🇪 e\u0301cole
""".split()  # noqa: SIM905

MARKS = '''\
"""Names (@somebody), asides ([in brackets]) and how many digits."""
import re

import dolma_pipeline as dp


@dp.tagger("marks_v1", fields={"names": list[dp.Span], "asides": list[dp.Span], "digits": float})
def marks(doc: dp.Document) -> dp.Attributes:
    """Spans of names and asides."""
    return {
        "names": [dp.Span(m.start(), m.end()) for m in re.finditer(r"@\\w+", doc.text)],
        "asides": [dp.Span(m.start(), m.end()) for m in re.finditer(r" *\\[[^\\]]*\\]", doc.text)],
        "digits": float(sum(c.isdigit() for c in doc.text)),
    }
'''

BAD_LINE = '{"id": "broken", "text": "secret words that no log may hold"'
BAD_PLACE = ("web/a", 31)
"""Shard and 1-based line of the line that does not parse."""


def sentence(rng: random.Random, num_words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(num_words))


def document(rng: random.Random, id_: str) -> dict[str, Any]:
    text = sentence(rng, rng.randrange(8, 60))
    if rng.random() < 0.3:
        text += f" @{rng.choice(WORDS)} {sentence(rng, 3)}"
    if rng.random() < 0.3:
        text = f"{sentence(rng, 2)} [{rng.choice(WORDS)} 😀] {text}"
    return {"id": id_, "text": text, "metadata": {"stars": rng.randrange(10), "url": f"http://x/{id_}"}}


def make_documents() -> dict[str, list[dict[str, Any]]]:
    """Documents of each shard, always the same."""
    rng = random.Random(5)
    shards = {
        name: [document(rng, f"{name[-1]}{i}") for i in range(70)] for name in ("web/a", "web/b", "code/c", "forum/d")
    }
    a, b, c, d = shards.values()
    for i in range(6):  # exact copies, across shards and sources
        b[10 + i]["text"] = a[i]["text"]
        c[10 + i]["text"] = a[i]["text"]
    for i in range(6):  # near copies: long texts, one word added
        long = sentence(rng, 150)
        a[40 + i]["text"], b[40 + i]["text"], d[40 + i]["text"] = long, f"{long} {rng.choice(WORDS)}", f"wind {long}"
    for shard in (a, b, d):
        shard[60]["text"] = ""
    d[61]["text"], d[62]["text"] = " \n\t ", "… !"
    return shards


def write_lines(path: Path, lines: Iterable[str]) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    elif path.suffix == ".zst":
        data = zstandard.compress(data)
    path.write_bytes(data)


def write_documents(path: Path, documents: Iterable[Mapping[str, Any]]) -> None:
    """Documents as JSON lines, compressed as the name says."""
    write_lines(path, (json.dumps(one, ensure_ascii=False) for one in documents))


FILES = {"web/a": "web/a.jsonl.gz", "web/b": "web/b.jsonl", "code/c": "code/c.jsonl.zst", "forum/d": "forum/d.jsonl"}


def write_corpus(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The corpus below `folder/in`, and the user's tagger; returns the documents of each shard."""
    shards = make_documents()
    for name, documents in shards.items():
        lines = [json.dumps(one, ensure_ascii=False) for one in documents]
        if name == BAD_PLACE[0]:
            lines.insert(BAD_PLACE[1] - 1, BAD_LINE)
        write_lines(folder / "in" / FILES[name], lines)
    (folder / "marks.py").write_text(MARKS, encoding="utf-8")
    return shards


RECIPE: dict[str, Any] = {
    "seed": 3,
    "workers": 1,
    "sources": {name: {"documents": f"in/{name}/*"} for name in ("web", "code", "forum")},
    "modules": ["./marks.py"],
    "tag": {"taggers": ["length_v1", "marks_v1"]},
    "dedupe": {"steps": [{"name": "exact", "kind": "exact"}, {"name": "minhash", "kind": "minhash"}]},
    "tokenizer": {"train": "bpe", "vocab_size": 400, "added_tokens": ["|||NAME|||"]},
    "mix": {
        "where": {"words": "length_v1.words >= 10", "unique": "exact.keep AND minhash.keep"},
        "replace": [{"spans": "marks_v1.names", "with": " |||NAME||| "}],
        "sources": {"web": {"remove": ["marks_v1.asides"]}},
        "held_out": {"share": 0.1, "max_tokens": 100000},
        "documents": True,
        "keep_metadata": ["stars"],
    },
    "tokens": {"max_shard_tokens": 4000, "keep_attributes": ["length_v1.words", "marks_v1.digits"]},
}


def tree(**changes: Any) -> dict[str, Any]:
    """The recipe as a tree. A change is `mix__where={…}`; None takes the key away.

    Another `tag` has no module, unless `modules` says so: only the tagger of the user's file needs it.
    """
    found = copy.deepcopy(RECIPE)
    if "tag" in changes:
        found.pop("modules")
    for key, value in changes.items():
        *path, last = key.split("__")
        inner = found
        for name in path:
            inner = inner.setdefault(name, {})
        if value is None:
            inner.pop(last, None)
        else:
            inner[last] = copy.deepcopy(value)  # a later change goes into it, not into what was given
    return found


def recipe(output: str | Path, **changes: Any) -> Recipe:
    """The recipe, changed; paths in it start at the working directory."""
    return recipe_from_text(json.dumps({"output": str(output), **tree(**changes)}))


def promised(name: str) -> bool:
    """Whether a file of a run is the same in equal runs: recipe.yaml names folder and workers, logs have times."""
    return not name.startswith((f"{layout.LOG}/", f"{layout.CACHE}/")) and name not in (layout.RECIPE, layout.LOCK)


def files(folder: Path) -> dict[str, str]:
    """sha256 of every file of a run that must not differ between equal runs; work that was left lying is one, too."""
    names = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items() if promised(name)}


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Lines of a plain, gz or zst file."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return [json.loads(line) for line in data.decode().split("\n") if line]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the corpus below `in/`. Never changed: tests that change inputs write a corpus of their own."""
    folder = tmp_path_factory.mktemp("tiny")
    write_corpus(folder)
    return folder


@pytest.fixture
def here(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The corpus' folder as the working directory: the recipe's paths start there."""
    monkeypatch.chdir(corpus)
    return corpus


@pytest.fixture(scope="session")
def finished(corpus: Path) -> Path:
    """A finished run of the recipe, to look at only."""
    with contextlib.chdir(corpus):
        run(recipe("finished"), quiet=True)
    return corpus / "finished"


@contextlib.contextmanager
def engine(one: Engine) -> Iterator[None]:
    """Runs of the block are carried out by this engine, whatever their recipe says."""

    class Choice(contextlib.nullcontext[None]):
        runner = "local"

        def __init__(self, recipe: Recipe, **options: Any) -> None:
            super().__init__()

        def engine(self, say: object = None, *, note: object = None) -> Engine:
            return one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launcher, "EngineChoice", Choice)
        yield


@pytest.fixture
def plain() -> Iterator[None]:
    """Phases are done here, without Beam: the same bytes, sooner."""
    with engine(Here()):
        yield


@pytest.fixture
def copied(finished: Path, here: Path, tmp_path: Path) -> Path:
    """A finished run's copy, to go on with."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
