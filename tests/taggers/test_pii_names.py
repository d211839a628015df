"""pii_names_v1 on a blank pipeline of spaCy with a few names, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import TaggerError
from dolma_pipeline.testing import check_tagger
from taggers import pii_names
from taggers.pii_names import PiiNames, is_sampled

spacy = pytest.importorskip("spacy", reason="spaCy is not installed")
TEXT = "é😀 Ada Lovelace lived in London."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    names = {"PERSON": "Ada Lovelace", "GPE": "London", "ORG": "Acme"}
    ruler.add_patterns([{"label": label, "pattern": name} for label, name in names.items()])
    folder = tmp_path_factory.mktemp("model") / "names"
    nlp.to_disk(folder)
    return str(folder)


def tagged(model: str, texts: list[str], **parameters: Any) -> dict[str, list[Any]]:
    tagger = PiiNames(model=model, **parameters)
    tagger.setup()
    columns = tagger.tag(Batch.of(texts))
    values = {
        field: [[text[a:b] for a, b, _ in spans] for text, spans in zip(texts, columns[field], strict=True)]
        for field in ("person", "place")
    }
    return {"sampled": columns["sampled"], **values}


def test_people_and_places(model: str) -> None:
    found = tagged(model, [TEXT, "", "Acme in London, London"], share=1.0)
    assert found == {
        "sampled": [True, True, True],
        "person": [["Ada Lovelace"], [], []],
        "place": [["London"], [], ["London", "London"]],
    }
    assert tagged(model, [TEXT], share=1.0, max_chars=20)["place"] == [[]]
    check_tagger("pii_names_v1", model=model, share=0.5)


def test_the_sample_is_told_by_the_text_alone(model: str) -> None:
    texts = [f"{i} {TEXT}" for i in range(400)]
    found = tagged(model, texts, share=0.25)
    assert found["sampled"] == [is_sampled(text, 0.25) for text in texts]
    assert 70 < sum(found["sampled"]) < 130
    assert [bool(names) for names in found["person"]] == found["sampled"]
    assert all(is_sampled(text, 0.5) for text, one in zip(texts, found["sampled"], strict=True) if one)
    assert is_sampled("The same on every machine.", 0.7) is True
    assert is_sampled("The same on every machine.", 0.1) is False


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"share": 0.0}, "share is above 0 and at most 1, got 0.0"),
        ({"share": 1.5}, "share is above 0"),
        ({"max_chars": 0}, "max_chars is 1 to 1,000,000"),
    ],
)
def test_wrong_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(TaggerError, match=message):
        PiiNames(**parameters)


def test_models_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TaggerError, match=r"model 'no_such_model' is neither .* pip install 'dolma-pipeline\[names\]'"):
        PiiNames(model="no_such_model").setup()
    with pytest.raises(TaggerError, match="is no pipeline of spaCy that can be loaded"):
        PiiNames(model=str(tmp_path)).setup()
    with pytest.raises(TaggerError, match=r"the package textwrap is no model of spaCy: it has no load\(\)"):
        PiiNames(model="textwrap").setup()
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(TaggerError, match="finds no names: it has none of the labels"):
        PiiNames(model=str(tmp_path / "blank")).setup()
    monkeypatch.setattr(pii_names.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TaggerError, match=r"needs spaCy, which is not installed here\. Install the extra"):
        PiiNames().setup()
