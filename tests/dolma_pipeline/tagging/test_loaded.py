from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dolma_pipeline.documents import SPANS_TYPE, Attributes, Batch, Document, Span
from dolma_pipeline.errors import AssetError, TaggerError, UnknownNameError, UsageError
from dolma_pipeline.tagging import DECLARED, LoadedTagger, RowFailure, tagger


@pytest.fixture
def shouting() -> LoadedTagger:
    @tagger("shouting_v1", fields={"share": float, "shouts": list[Span]})
    def shouting(doc: Document, *, min_letters: int = 2) -> Attributes:
        if "boom" in doc.text:
            raise ValueError(f"cannot read {doc.text}")
        found = [m for m in re.finditer(r"\w+", doc.text) if m[0].isupper() and len(m[0]) >= min_letters]
        return {"share": len(found) / max(1, len(doc.text.split())), "shouts": [Span(*m.span()) for m in found]}

    return LoadedTagger(DECLARED["shouting_v1"])


@dataclass
class Length:
    """Code points, or words."""

    unit: str = "chars"
    calls: list[int] = field(default_factory=list, init=False)
    ready: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.unit not in ("chars", "words"):
            raise ValueError(f"unit {self.unit!r} is neither chars nor words")

    @property
    def fields(self) -> Mapping[str, Any]:
        return {f"num_{self.unit}": int}

    @property
    def assets(self) -> tuple[str, ...]:
        return (f"{self.unit}.txt",)

    def setup(self) -> None:
        self.ready += 1

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        assert self.ready == 1
        self.calls.append(len(batch))
        if any("boom" in text for text in batch.strings):
            raise KeyError("boom")
        count = len if self.unit == "chars" else lambda text: len(text.split())
        return {f"num_{self.unit}": np.array([count(text) for text in batch.strings])}


@pytest.fixture
def length() -> LoadedTagger:
    tagger("length_v1")(Length)
    return LoadedTagger(DECLARED["length_v1"])


def test_a_function_makes_a_column(shouting: LoadedTagger) -> None:
    column, failures = shouting.attributes(Batch.of(["HELLO you", "", "ÄÖÜ 😀 OK"]))
    assert failures == []
    assert column.type == shouting.type == pa.struct([("share", pa.float64()), ("shouts", SPANS_TYPE)])
    assert column.to_pylist() == [
        {"share": 0.5, "shouts": [{"start": 0, "end": 5, "score": 1.0}]},
        {"share": 0.0, "shouts": []},
        {"share": 2 / 3, "shouts": [{"start": 0, "end": 3, "score": 1.0}, {"start": 6, "end": 8, "score": 1.0}]},
    ]


def test_a_class_makes_a_column_and_fields_follow_parameters(length: LoadedTagger) -> None:
    assert length.type == pa.struct([("num_chars", pa.int64())])
    assert length.assets == ("chars.txt",)
    column, failures = length.attributes(Batch.of(["ab c", "", "😀"]))
    assert (column.to_pylist(), failures) == ([{"num_chars": 4}, {"num_chars": 0}, {"num_chars": 1}], [])
    words = LoadedTagger(DECLARED["length_v1"], {"unit": "words"}, label="num_words")
    assert (words.label, words.spec.name, words.assets) == ("num_words", "length_v1", ("words.txt",))
    assert words.attributes(Batch.of(["ab c"]))[0].to_pylist() == [{"num_words": 2}]
    assert words.parameters == {"unit": "words"}
    assert repr(words) == "LoadedTagger('num_words', unit='words')"


def test_calling_gives_one_documents_attributes(shouting: LoadedTagger, length: LoadedTagger) -> None:
    assert shouting("HI there") == {"share": 0.5, "shouts": [Span(0, 2, 1.0)]}
    assert type(shouting("HI")["shouts"][0]) is Span  # type: ignore[index]
    assert shouting(Document("hi")) == {"share": 0.0, "shouts": []}
    assert length(Document("abc")) == {"num_chars": 3}
    with pytest.raises(ValueError, match="cannot read boom"):
        shouting("boom")
    with pytest.raises(KeyError, match="boom"):
        length("boom")


def test_a_document_sees_its_parameters_and_metadata() -> None:
    @tagger("stars_v1", fields={"stars": int})
    def stars(doc: Document, *, plus: int = 0) -> Attributes:
        return {"stars": doc.metadata.get("stars", 0) + plus}

    loaded = LoadedTagger(DECLARED["stars_v1"], {"plus": 1})
    column, _ = loaded.attributes(Batch.of([Document("", metadata={"stars": 5}), Document("")]))
    assert column.to_pylist() == [{"stars": 6}, {"stars": 1}]


def test_setup_runs_once_and_late(length: LoadedTagger) -> None:
    assert length._instance.ready == 0
    length.attributes(Batch.of(["a"]))
    length.setup()
    length("b")
    assert length._instance.ready == 1


def test_a_document_that_raises_is_a_null_row_of_its_own(shouting: LoadedTagger, length: LoadedTagger) -> None:
    batch = Batch.of(["AB", "boom", "", "boom too"])
    column, failures = shouting.attributes(batch)
    assert [row is None for row in column.to_pylist()] == [False, True, False, True]
    assert failures == [
        RowFailure(1, "ValueError: cannot read boom"),
        RowFailure(3, "ValueError: cannot read boom too"),
    ]
    column, failures = length.attributes(batch)
    assert column.to_pylist() == [{"num_chars": 2}, None, {"num_chars": 0}, None]
    assert column.type == length.type
    assert failures == [RowFailure(1, "KeyError: 'boom'"), RowFailure(3, "KeyError: 'boom'")]
    assert length._instance.calls == [4, 1, 1, 1, 1]  # once whole, then row by row


def test_rows_that_are_asked_singly_know_their_place() -> None:
    seen: list[tuple[list[str], list[int]]] = []

    @tagger("place_v1")
    @dataclass
    class Place:
        fields = {"n": int}

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            if len(batch) > 1:
                raise RuntimeError
            seen.append((batch.origins(), batch.locs.tolist()))
            return {"n": [0]}

    table = Batch.of(["a", "b"]).table
    batch = Batch(table, shard="web/part-1", first_row=10, locs=np.array([21, 23]))
    column, failures = LoadedTagger(DECLARED["place_v1"]).attributes(batch)
    assert seen == [(["web/part-1#10"], [21]), (["web/part-1#11"], [23])]
    assert (column.null_count, failures) == (0, [])


def test_a_reason_is_one_short_line() -> None:
    @tagger("long_v1", fields={"n": int})
    def long(doc: Document) -> Attributes:
        if doc.text == "silent":
            raise RuntimeError
        raise RuntimeError("secret text\n" * 1000)

    failures = LoadedTagger(DECLARED["long_v1"]).attributes(Batch.of(["x", "silent"]))[1]
    assert len(failures[0].reason) == 200
    assert "\n" not in failures[0].reason
    assert failures[0].reason.endswith("…")
    assert failures[1].reason == "RuntimeError"


@pytest.mark.parametrize("error", [KeyboardInterrupt, partial(AssetError, "no lid.176.ftz")])
def test_what_is_not_the_documents_fault_passes(error: Any) -> None:
    @tagger("stop_v1", fields={"n": int})
    def stop(doc: Document) -> Attributes:
        raise error()

    @tagger("halt_v1")
    @dataclass
    class Halt:
        fields = {"n": int}

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            raise error()

    for name in ("stop_v1", "halt_v1"):
        with pytest.raises((KeyboardInterrupt, AssetError)):
            LoadedTagger(DECLARED[name]).attributes(Batch.of(["a", "b"]))


def test_an_exit_is_told_with_its_line() -> None:
    @tagger("stop_v1", fields={"n": int})
    def stop(doc: Document) -> Attributes:
        raise SystemExit("no licence")

    @tagger("halt_v1")
    @dataclass
    class Halt:
        fields = {"n": int}

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            raise SystemExit("no licence")

    @tagger("unready_v1")
    @dataclass
    class Unready:
        fields = {"n": int}

        def setup(self) -> None:
            raise SystemExit("no licence")

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {"n": [0] * len(batch)}

    batch = Batch(Batch.of(["a", "b"]).table, shard="web/a", first_row=7)
    said = {}
    for name in ("stop_v1", "halt_v1", "unready_v1"):
        with pytest.raises(TaggerError) as raised:
            LoadedTagger(DECLARED[name]).attributes(batch)
        said[name] = re.sub(r"\(\S*test_loaded\.py:\d+\)", "(HERE)", str(raised.value))
    behind = "ended the process: SystemExit: no licence (HERE) (document web/a#7, or behind it in its batch)"
    assert said == {
        "stop_v1": f"tagger 'stop_v1' {behind}",
        "halt_v1": f"tagger 'halt_v1' {behind}",
        "unready_v1": "tagger 'unready_v1': setup() raised SystemExit: no licence (HERE)",
    }


def test_what_its_making_and_its_check_raise_is_told_with_its_line() -> None:
    @tagger("odd_v1")
    @dataclass
    class Odd:
        n: int = 1
        fields = {"n": int}

        def __post_init__(self) -> None:
            if self.n < 1:
                raise KeyError("n")

        def check(self, *, max_memory: int) -> None:
            raise RuntimeError("no disk")

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {"n": [self.n] * len(batch)}

    here = r"\(\S*test_loaded\.py:\d+\)"
    with pytest.raises(TaggerError, match=rf"^tagger 'odd_v1' raised KeyError: 'n' {here} when it got its parameters"):
        LoadedTagger(DECLARED["odd_v1"], {"n": 0})
    with pytest.raises(TaggerError, match=rf"^tagger 'odd_v1': check\(\) raised RuntimeError: no disk {here}$"):
        LoadedTagger(DECLARED["odd_v1"]).check(max_memory=1)


def test_a_broken_contract_is_an_error_not_a_failed_row() -> None:
    @tagger("typo_v1", fields={"share": float})
    def typo(doc: Document) -> Attributes:
        return {"shaer": 0.0}

    @tagger("half_v1")
    @dataclass
    class Half:
        fields = {"share": float}

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {"share": np.ones(len(batch), int) / 0}

    with pytest.raises(TaggerError, match="tagger 'typo_v1' left out share and returned shaer, undeclared"):
        LoadedTagger(DECLARED["typo_v1"]).attributes(Batch.of(["a"]))
    with (
        np.errstate(divide="ignore"),
        pytest.raises(TaggerError, match="tagger 'half_v1': field 'share' is inf in row 0"),
    ):
        LoadedTagger(DECLARED["half_v1"]).attributes(Batch.of(["a"]))


def test_a_broken_contract_names_the_document_of_a_shard() -> None:
    @tagger("behind_v1", fields={"spans": list[Span]})
    def behind(doc: Document) -> Attributes:
        return {"spans": [Span(0, 3)]}

    @tagger("bytes_v1")
    @dataclass
    class Bytes:
        fields = {"spans": list[Span]}

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {"spans": batch.spans(np.array([1]), np.array([0]), np.array([1]), np.ones(1))}

    batch = Batch(Batch.of(["abc", "de"]).table, shard="web/a", first_row=1000)
    with pytest.raises(TaggerError, match=r"in a text of 2 code points: .* \(document web/a#1001\)$"):
        LoadedTagger(DECLARED["behind_v1"]).attributes(batch)
    with pytest.raises(
        TaggerError, match=r"^span 0:1 of document 1 of the batch .* starts with document web/a#1000\.$"
    ):
        LoadedTagger(DECLARED["bytes_v1"]).attributes(batch)


def test_an_empty_batch_has_the_schema_and_is_never_shown(shouting: LoadedTagger, length: LoadedTagger) -> None:
    for loaded in (shouting, length):
        column, failures = loaded.attributes(Batch.of([]))
        assert (len(column), column.type, failures) == (0, loaded.type, [])
    assert length._instance.calls == []


def test_parameters_are_checked_when_loaded(length: LoadedTagger) -> None:
    spec = DECLARED["length_v1"]
    with pytest.raises(
        UnknownNameError, match=r"no parameter of tagger 'length_v1' named 'unti'\. Did you mean 'unit'"
    ):
        LoadedTagger(spec, {"unti": "words"})
    with pytest.raises(TaggerError, match=r"parameter 'unit' is str \(default 'chars'\), not int 3"):
        LoadedTagger(spec, {"unit": 3})
    with pytest.raises(
        TaggerError, match=r"'length_v1' refuses its parameters \{'unit': 'pages'\}: unit 'pages' is neither"
    ):
        LoadedTagger(spec, {"unit": "pages"})


def test_a_label_is_a_name(length: LoadedTagger) -> None:
    assert length.named("short").label == "short"
    with pytest.raises(TaggerError, match="the column of tagger 'length_v1' cannot be named 'a-b'"):
        length.named("a-b")


def test_fields_must_be_known_before_setup() -> None:
    @tagger("late_v1")
    @dataclass
    class Late:
        @property
        def fields(self) -> Mapping[str, Any]:
            return self.model.labels  # type: ignore[attr-defined, no-any-return]

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {}

    with pytest.raises(
        TaggerError, match=r"tagger 'late_v1': `fields` is not known before setup\(\): 'Late' object has"
    ):
        LoadedTagger(DECLARED["late_v1"])


def test_assets_are_a_tuple_of_names() -> None:
    @tagger("model_v1")
    @dataclass
    class Model:
        fields = {"n": int}
        assets = "lid.176.ftz"

        def tag(self, batch: Batch) -> Mapping[str, Any]:
            return {}

    with pytest.raises(TaggerError, match=r"assets is str 'lid\.176\.ftz'; it is a tuple of asset names"):
        LoadedTagger(DECLARED["model_v1"])


@pytest.mark.parametrize("given", [5, None, ["a"], b"a"])
def test_only_a_document_or_a_text_can_be_tagged(length: LoadedTagger, given: Any) -> None:
    with pytest.raises(UsageError) as caught:
        length(given)
    said = str(caught.value)
    assert said.startswith("tagger 'length_v1' is called with a Document or a text, not with ")
    assert f"{given!r}. For a Batch: attributes(batch)." in said
