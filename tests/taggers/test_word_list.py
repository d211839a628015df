"""`word_list_v1` finds what a regular expression finds; the list is an asset, here a made-up one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.testing import check_tagger
from taggers.word_list import WordList

NAME = "made_up_words.txt"
ENGLISH = ["darn", "holy moly", "moly", "heck-no"]
WORDS = [*ENGLISH, "zut", "schön", "x", "ばか", "чёрт"]


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a list of this text an asset, and gives its name."""

    def put(text: str, *, encoding: str = "utf-8") -> str:
        content = text.encode(encoding)
        sha256 = hashlib.sha256(content).hexdigest()
        known = assets.Asset(NAME, "words.txt", sha256, len(content), "CC0-1.0", "words", ())
        monkeypatch.setitem(assets.ASSETS, NAME, known)
        (tmp_path / "given.txt").write_bytes(content)
        assets.fetch(NAME, path=tmp_path / "given.txt")
        return NAME

    monkeypatch.setenv(assets.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.delenv(assets.FOLDER_VARIABLE, raising=False)
    return put


def tagger(name: str) -> WordList:
    made = WordList(words=name)
    made.setup()
    return made


def found(made: WordList, texts: list[str]) -> list[list[str]]:
    rows = made.tag(Batch.of(texts))["words"].to_pylist()
    return [[text[span["start"] : span["end"]] for span in row] for text, row in zip(texts, rows, strict=True)]


def plain(text: str) -> list[str]:
    spans = [
        (match.start(), match.start() + len(word))
        for word in WORDS
        for match in re.finditer(
            f"(?={re.escape(word)})" if word == "ばか" else rf"(?<!\w)(?={re.escape(word)}(?!\w))",
            text,
            re.IGNORECASE,
        )
    ]
    return [text[a:b] for a, b in sorted(spans)]


TEXT = st.lists(
    st.sampled_from([*WORDS, "DARN", "Holy Moly", "SCHÖN", "ЧЁРТ", *" \n.,_-aé1語", "ばかばか", "darning"]), max_size=14
).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXT, min_size=1, max_size=4))
def test_equal_to_a_regular_expression(texts: list[str], listed: Callable[[str], str]) -> None:
    made = tagger(listed("\n".join(WORDS)))
    assert found(made, texts) == [*map(plain, texts)]
    batch = Batch(Batch.of(texts).table.slice(1))
    assert [len(row) for row in made.tag(batch)["words"].to_pylist()] == [len(plain(text)) for text in texts[1:]]


def test_lines_of_a_list(listed: Callable[[str], str]) -> None:
    made = tagger(listed("\n  Darn \r\n\nholy   moly\ndarn\n"))
    assert found(made, ["Holy moly, darn!"]) == [["Holy moly", "darn"]]
    assert made.assets == (NAME,)


def test_lists_that_cannot_be_used(listed: Callable[..., str]) -> None:
    with pytest.raises(TaggerError, match=r"word_list_v1: made_up_words\.txt has no words; it is a text file"):
        tagger(listed("\n \n"))
    with pytest.raises(TaggerError, match=r"made_up_words\.txt is not UTF-8"):
        tagger(listed("schön", encoding="latin-1"))


def test_it_keeps_the_contract_of_a_tagger(listed: Callable[[str], str]) -> None:
    check_tagger("word_list_v1", words=listed("\n".join(WORDS)))


def test_setup_loads_its_kernels(listed: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr("dolma_pipeline.kernels.warm.warm", loaded.extend)
    tagger(listed("darn"))
    assert loaded == ["phrases", "spans"]
