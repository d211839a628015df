"""Kind against: what of documents stands in a fixed set of texts, held against plain Python."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.dedup.bloom import Bloom, ExactSet
from dolma_pipeline.documents import Batch
from dolma_pipeline.engines import Here
from dolma_pipeline.errors import ConfigError, DataError, UsageError
from dolma_pipeline.run import layout
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.stage import STAGES
from dolma_pipeline.stages.dedupe.against_units import batch_column, cut_texts
from tests.dolma_pipeline.stages.small import artifacts_of, jsonl, made, make, promised, rows, run_of, small_run

FIXED = [
    "A licence that stands at the foot of very many pages of the web.\n\n"
    "And a second paragraph of it, as long as that.",
    "short",
]
TEXTS = [
    FIXED[0],
    "First an own paragraph of more than forty characters.\n\nAnd a second paragraph of it, as long as that.",
    "a Licence that stands, at the foot of very many pages of the web; so it ends here",
    "Nothing in common with any of them, and long enough to be a paragraph.",
    "short",
    "",
]


def step(folder: Path, **own: Any) -> dict[str, Any]:
    """A recipe's `dedupe` with one step."""
    path = folder / "fixed.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in FIXED))
    return {"steps": [{"name": "known", "kind": "against", "texts": str(path), **own}]}


def marks(run: Run, shard: str = "web/a") -> list[dict[str, Any]]:
    return [row["known"] for row in rows(run, layout.attributes("known", shard))]


def found(folder: Path, **own: Any) -> list[tuple[bool, list[str]]]:
    run = made(folder, {"web/a": TEXTS}, dedupe=step(folder, **own))
    return [
        (row["keep"], [text[span["start"] : span["end"]] for span in row["spans"]])
        for text, row in zip(TEXTS, marks(run), strict=True)
    ]


@pytest.mark.parametrize("filter_", ["exact", "bloom"])
def test_what_is_found_of_each_unit(tmp_path: Path, filter_: str) -> None:
    first, second = FIXED[0].split("\n\n")
    nothing = (True, [])
    own = {"filter": filter_}
    assert found(tmp_path, unit="text", **own) == [
        (False, [FIXED[0]]), nothing, nothing, nothing, (False, ["short"]), nothing
    ]  # fmt: skip
    paragraphs = [(False, [first, second]), (False, [second]), nothing, nothing, nothing, nothing]
    assert found(tmp_path, unit="paragraph", **own) == paragraphs
    assert found(tmp_path, unit="line", **own) == paragraphs
    assert found(tmp_path, unit="line", min_unit_chars=5, **own)[4] == (False, ["short"])
    whole = FIXED[0].rstrip(".")
    assert found(tmp_path, unit="ngram", ngram=8, **own) == [
        (False, [whole]), (False, [second.rstrip(".")]),
        (False, ["a Licence that stands, at the foot of very many pages of the web"]), nothing, nothing, nothing,
    ]  # fmt: skip


def test_coverage_is_a_share_of_words_or_of_characters(tmp_path: Path) -> None:
    by_words = marks(made(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path, unit="ngram", ngram=8)))
    assert [row["coverage"] for row in by_words] == [1.0, pytest.approx(10 / 19), pytest.approx(14 / 18), 0, 0, 0]
    by_chars = marks(made(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path, unit="paragraph")))
    sizes = [len(one) for one in TEXTS[1].split("\n\n")]
    assert [row["coverage"] for row in by_chars] == [1.0, pytest.approx(sizes[1] / sum(sizes)), 0, 0, 0, 0]


@pytest.mark.parametrize("filter_", ["exact", "bloom"])
@pytest.mark.parametrize("unit", ["text", "line", "ngram"])
def test_texts_are_normalized_as_documents_are(tmp_path: Path, unit: str, filter_: str) -> None:
    text = "Cafe\u0301 one   two three four five six seven eight nine ten eleven twelve"
    own = step(tmp_path, unit=unit, filter=filter_)
    (tmp_path / "fixed.jsonl").write_text(json.dumps({"text": text}) + "\n")
    run = made(tmp_path, {"web/a": [text]}, dedupe=own, normalize=["nfc", "whitespace"])
    assert [(row["keep"], row["coverage"]) for row in marks(run)] == [(False, 1.0)]


def test_rules_and_edits_use_the_column(tmp_path: Path) -> None:
    cut = {"where": {"new": "known.coverage < 1"}, "sources": {"web": {"remove": ["known.spans"]}}}
    run = made(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path), mix=cut)
    kept = jsonl(run, layout.documents("web/a"))
    assert [one["text"] for one in kept] == ["First an own paragraph of more than forty characters.\n\n", *TEXTS[2:]]
    dropped = made(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path, unit="text"), mix={"where": {"new": "known.keep"}})
    assert [one["text"] for one in jsonl(dropped, layout.documents("web/a"))] == [*TEXTS[1:4], ""]


def test_steps_that_elect_documents_stand_beside_it(tmp_path: Path) -> None:
    own = step(tmp_path)["steps"]
    steps = [{"name": "same", "kind": "exact"}, *own, {"name": "near", "kind": "minhash"}]
    run = made(tmp_path, {"web/a": [*TEXTS, TEXTS[3]]}, dedupe={"steps": steps}, mix={"where": {"new": "known.keep"}})
    assert [row["keep"] for row in marks(run)] == [False, False, True, True, True, True, True]
    assert [row["same"]["keep"] for row in rows(run, layout.attributes("same", "web/a"))] == [*[True] * 6, False]


def test_a_file_of_other_content_makes_the_column_anew_and_another_limit_does_not(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path, filter="bloom", max_bytes=1000))
    before = {name: one.digest for name, one in artifacts_of(run).items()}
    more = small_run(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path, filter="bloom", max_bytes=2000))
    assert {name: one.digest for name, one in artifacts_of(more).items()} == before
    with (tmp_path / "fixed.jsonl").open("a") as file:
        file.write('{"text": "another"}\n')
    Process.leave()
    after = {name: one.digest for name, one in artifacts_of(run).items()}
    assert {name for name in before if before[name] != after[name]} == {"dedupe/known", "attributes/known"}
    assert artifacts_of(run)["attributes/known"].grows


def test_the_same_bytes_for_any_order_of_tasks_and_repeats(tmp_path: Path) -> None:
    shards = {"web/a": TEXTS[:3], "web/b": TEXTS[3:]}
    plain = made(tmp_path, shards, dedupe=step(tmp_path, unit="ngram", filter="bloom"))
    run = small_run(tmp_path, shards, dedupe=step(tmp_path, unit="ngram", filter="bloom"))
    make(run, engine=Here(seed=1, repeated=0.5, again=True))
    assert promised(run) == promised(plain)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"texts": []}, "kind against needs `texts`"),
        ({"ngram": 5}, "`ngram` has no effect with unit paragraph"),
        ({"unit": "text", "min_unit_chars": 5}, "`min_unit_chars` has no effect with unit text"),
        ({"max_bytes": 100}, "`max_bytes` is of a Bloom filter"),
        ({"false_positive_rate": 0.1}, "`false_positive_rate` is of a Bloom filter"),
        ({"texts": "nowhere/*.jsonl"}, "no such file"),
        ({"bands": 3}, "bands: is of kind minhash, and this step is of kind against"),
    ],
)
def test_keys_that_cannot_be_or_have_no_effect_are_errors(tmp_path: Path, own: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run = small_run(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path, **own))
        STAGES["dedupe"].check(Process.of(run))
        artifacts_of(run)


def test_a_filter_too_small_says_what_it_needs(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path, unit="ngram", filter="bloom", max_bytes=8))
    with pytest.raises(UsageError, match=r"of 12 entries with a rate of 1e-06 needs 48 bytes, and 8 are allowed"):
        make(run)


def test_a_filter_is_bounded_where_it_is_read_and_by_max_memory(tmp_path: Path) -> None:
    """A lower limit than the filter was made with, and no limit of its own."""
    bloom = {"unit": "ngram", "filter": "bloom"}
    run = small_run(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path, **bloom))
    make(run, until="dedupe/set/known")
    lower = run_of(small_run(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path, **bloom, max_bytes=8)).recipe,
                   run.folder)  # fmt: skip
    with pytest.raises(UsageError, match=r"a Bloom filter that was made before needs 48 bytes, and 8 are allowed"):
        make(lower)
    little = small_run(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path, **bloom))
    with pytest.raises(UsageError, match=r"needs 48 bytes, and 40 are allowed"):
        make(replace(little, recipe=replace(little.recipe, max_memory=40)))


def test_texts_without_a_unit_and_broken_ones(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path, unit="ngram", ngram=60))
    with pytest.raises(ConfigError, match=r"dedupe.steps.known.texts: there is no text of 60 words"):
        make(run)
    run = small_run(tmp_path, {"web/a": TEXTS}, dedupe=step(tmp_path))
    (tmp_path / "fixed.jsonl").write_text('{"text": "a"}\nbroken\n')
    Process.leave()
    with pytest.raises(DataError, match=r"fixed.jsonl:2: .*The texts of a step are read whole, or not at all"):
        make(run)


def test_kind_paragraphs_has_fewer_units(tmp_path: Path) -> None:
    run = small_run(tmp_path, {"web/a": TEXTS}, dedupe={"steps": [{"name": "p", "kind": "paragraphs", "unit": "text"}]})
    with pytest.raises(ConfigError, match="kind paragraphs has the units paragraph and line, and `unit` is text"):
        STAGES["dedupe"].check(Process.of(run))


PROSE = st.lists(st.sampled_from(["a", "b", "The", "the", "漢", ",", "\n"]), max_size=25).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(PROSE, min_size=1, max_size=4), st.lists(PROSE, min_size=1, max_size=3), st.sampled_from([1, 2, 4]))
def test_ngrams_equal_a_plain_twin(texts: list[str], fixed: list[str], n: int) -> None:
    config = DedupeStepConfig(name="known", kind="against", unit="ngram", ngram=n)
    units = cut_texts(Batch.of(fixed), config)
    exact = ExactSet.of(units.hi, units.lo)
    bloom = Bloom.empty(max(1, len(units.hi)), 1e-9)
    bloom.add(units.hi, units.lo)

    def words_of(text: str) -> list[str]:
        return [word.lower() for word in text.split() if word != ","]

    known = {tuple(words[i : i + n]) for words in map(words_of, fixed) for i in range(len(words) - n + 1)}
    for known_set in (exact, bloom):
        column = batch_column(Batch.of(texts), config, known_set).to_pylist()
        for text, row in zip(texts, column, strict=True):
            words = words_of(text)
            under = {
                word for i in range(len(words) - n + 1) if tuple(words[i : i + n]) in known for word in range(i, i + n)
            }
            assert row["coverage"] == len(under) / max(1, len(words))
            assert row["keep"] == (not under)
            assert [word for span in row["spans"] for word in words_of(text[span["start"] : span["end"]])] == [
                words[i] for i in sorted(under)
            ]
