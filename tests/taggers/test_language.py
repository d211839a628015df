"""language_v1 on texts whose language is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import AssetError, TaggerError, UnknownNameError
from dolma_pipeline.kernels import fasttext
from dolma_pipeline.testing import check_tagger
from taggers.language import Language
from tests.taggers.language_accuracy import accuracy


@pytest.fixture(scope="module", autouse=True)
def model() -> None:
    try:
        assets.fetch("lid.176.ftz")
    except AssetError as error:
        pytest.skip(f"lid.176.ftz cannot be had: {error}")


def tagged(texts: list[str], **parameters: Any) -> list[dict[str, Any]]:
    tagger = Language(**parameters)
    tagger.setup()
    columns = tagger.tag(Batch.of(texts))
    assert set(columns) == set(tagger.fields)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_fields_parameters_and_assets_are_known_without_setup() -> None:
    assert dict(Language().fields) == {"lang": str, "score": float, "en": float}
    assert (Language().max_chars, Language().model) == (2000, "lid.176.ftz")
    assert Language().assets == ("lid.176.ftz",)


def test_languages_and_scores() -> None:
    english, german, chinese = tagged(
        [
            "The quick brown fox jumps over the lazy dog.",
            "Der schnelle Fuchs springt über den Hund.",
            "今天天气很好，我们去公园。",
        ]
    )
    assert (english["lang"], german["lang"], chinese["lang"]) == ("en", "de", "zh")
    assert english["en"] == english["score"]
    assert float(str(english["score"])) > 0.5
    assert float(str(german["en"])) < 0.1


@pytest.mark.parametrize("text", ["", " \n\t ", "\0"])
def test_no_word_is_undetermined(text: str) -> None:
    assert tagged([text]) == [{"lang": "und", "score": 0.0, "en": 0.0}]


def test_only_the_first_characters_are_read() -> None:
    text = "Ceci est une phrase en français. " * 10 + "This is a long English sentence. " * 200
    (start,) = tagged([text], max_chars=300)
    (whole,) = tagged([text], max_chars=0)
    assert (start["lang"], whole["lang"]) == ("fr", "en")
    assert tagged([text], max_chars=300) == tagged([text[:300]], max_chars=0)


def test_slices() -> None:
    batch = Batch.of(["Hallo liebe Leute, wie geht es euch?", "The weather is nice today.", "Bonjour tout le monde."])
    tagger = Language()
    tagger.setup()
    part = tagger.tag(Batch(batch.table.slice(1, 1)))
    assert part["lang"] == [tagger.tag(batch)["lang"][1]]
    assert part["score"][0] == tagger.tag(batch)["score"][1]


CODE = """\
    def __init__(self, items: Iterable[T], *, key=None):
        self._items, self._key = list(items), key or (lambda x: x)
        for i, item in enumerate(self._items):
            self._by_key.setdefault(self._key(item), []).append((i, item))
"""


@pytest.mark.parametrize(
    "text",
    [
        CODE,
        "-30.083 55.641 52.903 -50.532 47.51",
        "https://example.org/a/b?c=d https://www.example.com/1234",
        "31eea2b051ea44f4f09cd922caee3fa6",
        ",[!{.+-&/){.(%;?},,@&/.~+]-/__%[[;</[+.,])$?[*~:",
        "👍😀😀🎉👩\u200d💻😀❤️🎉",
    ],
    ids=["code", "numbers", "addresses", "hex", "signs", "emoji"],
)
def test_what_is_in_no_language(text: str) -> None:
    (row,) = tagged([text])
    assert (row["lang"], row["score"]) == ("und", 0.0)


def test_the_models_numbers_stand_whatever_lang_is() -> None:
    (row,) = tagged([CODE])
    (said,) = fasttext.load(assets.asset("lid.176.ftz")).predict(Batch.of([CODE]).text, labels=("en",)).wanted
    assert row["en"] == said[0] > 0.05


def test_prose_with_some_signs_keeps_its_language() -> None:
    texts = [
        "Call foo(bar) first; then the file /etc/passwd is read again.",
        "Это было 3 мая 2021 года (№ 15).",
        "第1章 概要。",
    ]
    assert [row["lang"] for row in tagged(texts)] == ["en", "ru", "ja"]


def test_chinese_without_a_japanese_letter_is_not_japanese() -> None:
    text = "人人有權享受法律保護。"
    model = fasttext.load(assets.asset("lid.176.ftz"))
    said = model.predict(Batch.of([text]).text, labels=("zh",))
    assert model.labels[said.labels[0]] == "ja", "a text that the model takes for Japanese"
    (row,) = tagged([text])
    assert (row["lang"], row["score"]) == ("zh", said.wanted[0, 0])
    (short,) = tagged([text[:9]])  # too little to say
    assert short["lang"] == model.labels[model.predict(Batch.of([text[:9]]).text).labels[0]] == "ja"


def test_languages_as_fields() -> None:
    tagger = Language(languages=("de", "zh"))
    assert dict(tagger.fields) == {"lang": str, "score": float, "de": float, "zh": float}
    german, chinese = tagged(
        ["Der schnelle Fuchs springt über den Hund.", "今天天气很好，我们去公园。"], languages=("de", "zh")
    )
    assert german["de"] == german["score"]
    assert chinese["zh"] == chinese["score"]
    assert float(str(german["zh"])) < 0.01


PARTS = [
    "The committee met in the morning and discussed the plan for the new library in some detail.",
    "Der Ausschuss trat am Morgen zusammen und besprach den Plan für die neue Bücherei.",
    "x[i] = y[j] + z(k, 2) / 3.5; // 0x1f",
    "Afterwards they walked down to the river, where the boats are kept during the winter months.",
]


@pytest.mark.parametrize(("unit", "join"), [("paragraph", "\n\n"), ("line", "\n")])
def test_mixed_languages(unit: str, join: str) -> None:
    text = join.join(PARTS)
    first, second, code, third = tagged(PARTS)
    (row,) = tagged([text], unit=unit)
    assert [one["lang"] for one in (first, second, code, third)] == ["en", "de", "und", "en"]
    lengths = [len(part) for part in PARTS]
    own = lengths[0] + lengths[3]
    assert row["lang"] == "en"
    assert row["mixed"] == pytest.approx(lengths[1] / (own + lengths[1]))
    scores = [float(str(one["score"])) for one in (first, third)]
    assert row["score"] == pytest.approx((scores[0] * lengths[0] + scores[1] * lengths[3]) / own)
    en = sum(
        float(str(one["en"])) * len(part)
        for one, part in zip((first, second, third), (*PARTS[:2], PARTS[3]), strict=True)
    )
    assert row["en"] == pytest.approx(en / (own + lengths[1]))
    (span,) = row["other"].as_py()
    assert text[span["start"] : span["end"]] == PARTS[1]
    assert span["score"] == pytest.approx(second["score"])


def test_nothing_is_mixed_in_nothing() -> None:
    (row,) = tagged(["\n\n1 2 3\n\n"], unit="paragraph")
    assert (row["lang"], row["score"], row["en"], row["mixed"]) == ("und", 0.0, 0.0, 0.0)


@pytest.mark.parametrize("parameters", [{}, {"unit": "paragraph"}, {"unit": "line", "languages": ("zh",)}])
def test_the_contract(parameters: dict[str, Any]) -> None:
    check_tagger("language_v1", **parameters)


def test_accuracy_on_the_language_set(data: Path) -> None:
    """As good as lid.176 itself: 0.9842 on the whole set, 0.9691 on short texts, 1.0 on long ones."""
    table = accuracy(data)
    assert table["long"] == 1.0
    assert table["medium"] > 0.995
    assert table["short"] > 0.971
    assert table["all"] > 0.9845
    assert table["und"] >= 0.92
    assert table["mixed: error"] < 0.01


def test_wrong_parameters() -> None:
    with pytest.raises(TaggerError, match="max_chars is a number of characters, or 0 for all; got -1"):
        Language(max_chars=-1)
    with pytest.raises(TaggerError, match=r"language_v1: lid\.176\.ftz has no label 'eng'\. It has: af, als, am"):
        Language(languages=("eng",)).setup()
    with pytest.raises(UnknownNameError, match=r"no asset named 'lid\.167\.ftz'\. Did you mean 'lid\.176\.ftz'"):
        Language(model="lid.167.ftz").setup()


def test_a_model_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(assets.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(AssetError, match=r"not in the run's assets .* Run: dolma-pipeline fetch lid\.176\.ftz"):
        Language().setup()
