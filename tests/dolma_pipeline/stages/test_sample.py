"""The text that a tokenizer is trained on: the smallest keys of edited text that passes, in the order of the keys."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.engines import Here
from dolma_pipeline.errors import DataError
from dolma_pipeline.run.run import Run
from dolma_pipeline.stages import tokenizer as module
from dolma_pipeline.stages.tokenizer import SAMPLE, sample_name, smallest
from dolma_pipeline.tokens import train_bpe
from dolma_pipeline.tokens.keys import document_key
from tests.dolma_pipeline.stages.mails import MAIL, MODULE
from tests.dolma_pipeline.stages.small import artifacts_of, made, make, phases_of, promised, rows, small_run


def corpus() -> dict[str, list[str]]:
    rng = random.Random(2)
    words = "river stone winter letter garden Straße 東京".split()  # noqa: SIM905

    def text(i: int) -> str:
        found = " ".join(rng.choice(words) for _ in range(rng.randrange(1, 20)))
        return f"{found} me{i}@mail.org" if i % 3 == 0 else found

    return {name: [text(i) for i in range(25)] for name in ("web/a", "web/b", "code/c")} | {"code/empty": []}


SHARDS = corpus()


def recipe(sample_bytes: int = 20_000_000, **tokenizer: Any) -> dict[str, Any]:
    return {
        "modules": [MODULE], "tag": {"taggers": ["mails_v1", "length_v1"]},
        "tokenizer": {"train": "bpe", "vocab_size": 270, "sample_bytes": sample_bytes, **tokenizer},
        "mix": {"where": {"words": "length_v1.words > 2"}, "replace": [{"spans": "mails_v1.spans", "with": "<mail>"}]},
    }  # fmt: skip


def expected(seed: int = 3) -> list[tuple[int, str]]:
    """Key and edited text of what passes, in the order of the keys."""
    found = []
    for shard, texts in SHARDS.items():
        for row, text in enumerate(texts):
            if len(text.split()) > 2:
                key = int(document_key([f"{shard}#{row}"], seed=seed, purpose="tokenizer")[0])
                found.append((key, MAIL.sub("<mail>", text)))
    return sorted(found)


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the trainer was given."""
    found: list[list[str]] = []
    original = train_bpe.train_bpe

    def note(texts: list[str], **settings: Any) -> str:
        found.append(list(texts))
        return original(texts, **settings)

    monkeypatch.setattr(train_bpe, "train_bpe", note)
    return found


def test_the_whole_of_what_passes(tmp_path: Path, trained_on: list[list[str]]) -> None:
    run = made(tmp_path, SHARDS, **recipe(), until="tokenizer/make")
    assert trained_on == [[text for _, text in expected()]]
    artifact = artifacts_of(run)["tokenizer"]
    for shard in SHARDS:
        found = rows(run, sample_name(run, artifact, shard))
        own = {int(document_key([f"{shard}#{i}"], seed=3, purpose="tokenizer")[0]) for i in range(len(SHARDS[shard]))}
        assert [(one["key"], one["text"]) for one in found] == [one for one in expected() if one[0] in own]


@pytest.mark.parametrize("num_bytes", [1, 300, 900])
def test_at_most_the_budget_by_key_whatever_the_shards(
    tmp_path: Path, trained_on: list[list[str]], num_bytes: int
) -> None:
    made(tmp_path, SHARDS, **recipe(num_bytes), until="tokenizer/make")
    (found,) = trained_on
    texts = [text for _, text in expected()]
    assert found == texts[: len(found)]
    size = sum(len(text.encode()) for text in found)
    assert size <= num_bytes or len(found) == 1
    assert size + len(texts[len(found)].encode()) > num_bytes


def test_long_texts_give_their_beginning(tmp_path: Path, trained_on: list[list[str]], monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_SAMPLE_CHARS", 7)
    made(tmp_path, SHARDS, **recipe(), until="tokenizer/make")
    assert trained_on == [[text[:7] for _, text in expected()]]


def test_without_rules_all_text_counts(tmp_path: Path, trained_on: list[list[str]]) -> None:
    made(tmp_path, SHARDS, tokenizer={"train": "bpe", "vocab_size": 270})
    assert sorted(trained_on[0]) == sorted(text for texts in SHARDS.values() for text in texts)


def test_nothing_passes(tmp_path: Path) -> None:
    settings = recipe()
    settings["mix"]["where"] = {"none": "length_v1.words > 99"}
    run = small_run(tmp_path, SHARDS, **settings)
    with pytest.raises(DataError, match=r"no document passes mix\.where, so there is no text to train on"):
        make(run)


def test_the_same_bytes_however_tasks_are_repeated(tmp_path: Path) -> None:
    one, other = (small_run(tmp_path, SHARDS, **recipe(500)) for _ in range(2))
    make(one)
    make(other, engine=Here(seed=4, repeated=0.5, again=True))
    assert promised(one) == promised(other)


def test_a_loaded_one_reads_no_text_and_does_not_depend_on_rules(tmp_path: Path) -> None:
    run: Run = made(tmp_path, SHARDS, **recipe(), until="tokenizer/make")
    path = tmp_path / "tok.json"
    path.write_bytes(run.folder.read("tokenizer/tokenizer.json"))
    loaded = recipe()
    loaded["tokenizer"] = {"load": str(path)}
    other = small_run(tmp_path, SHARDS, **loaded)
    assert [phase.name for phase in phases_of(other)][:4] == ["tokenizer/make", "scan", "mix/judge", "mix/decide"]
    make(other)
    assert other.folder.read("tokenizer/tokenizer.json") == path.read_bytes()
    assert artifacts_of(other)["tokenizer"].needs == ()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.text(max_size=6)), max_size=12), st.integers(0, 30))
def test_smallest(documents: list[tuple[int, str]], num_bytes: int) -> None:
    columns = [pa.array([key for key, _ in documents], pa.uint64()), pa.array([text for _, text in documents])]
    table = pa.Table.from_arrays([column.cast(field.type) for column, field in zip(columns, SAMPLE, strict=True)],
                                 schema=SAMPLE)  # fmt: skip
    found = smallest(table, num_bytes).to_pylist()
    keys = sorted(key for key, _ in documents)
    assert [one["key"] for one in found] == keys[: len(found)]
    assert len(found) >= min(1, len(documents))
    assert len(found) <= 1 or sum(len(one["text"].encode()) for one in found) <= num_bytes
