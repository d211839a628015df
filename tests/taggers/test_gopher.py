"""`gopher_v1` on labelled texts: numbers are as measured."""

from __future__ import annotations

import gzip
import json
import re
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dolma_pipeline.documents import Batch
from taggers.gopher import Gopher

MEASURED = {
    "word_count": "n_words",
    "mean_word_length": "mean_word_len",
    "bullet_line_share": "bullet_line_frac",
    "ellipsis_line_share": "ellipsis_line_frac",
    "alpha_word_share": "alpha_word_frac",
    "stop_word_kinds": "stop_words",
    "duplicate_line_share": "dup_line_frac",
    "duplicate_paragraph_share": "dup_para_frac",
    **{f"top_{n}gram_chars": f"top_{n}gram_char_frac" for n in (2, 3, 4)},
    **{f"duplicate_{n}gram_chars": f"dup_{n}gram_char_frac" for n in range(5, 11)},
}
"""Our field -> the independent measurement that it equals; not given (0 here) where a text is too short."""

FIELDS = [
    *("word_count", "mean_word_length", "median_word_length", "symbol_ratio", "bullet_line_share"),
    *("ellipsis_line_share", "alpha_word_share", "stop_word_kinds", "stop_word_count"),
    *("duplicate_line_share", "duplicate_line_chars", "duplicate_paragraph_share", "duplicate_paragraph_chars"),
    *(f"top_{n}gram_chars" for n in (2, 3, 4)),
    *(f"duplicate_{n}gram_chars" for n in range(5, 11)),
]


@pytest.fixture(scope="module")
def labelled(data: Path) -> list[dict[str, Any]]:
    with gzip.open(data / "quality" / "quality.jsonl.gz") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def columns(labelled: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(Gopher().tag(Batch.of([row["text"] for row in labelled])))


def test_numbers_equal_an_independent_measurement(labelled: list[dict[str, Any]], columns: dict[str, Any]) -> None:
    for field, name in MEASURED.items():
        measured = [row["measured"].get(name, 0.0) for row in labelled]
        np.testing.assert_allclose(columns[field], measured, rtol=0, atol=5.001e-5, err_msg=field)
    either = [max(row["measured"]["hash_to_word"], row["measured"]["ellipsis_to_word"]) for row in labelled]
    np.testing.assert_allclose(columns["symbol_ratio"], either, rtol=0, atol=5.001e-5)


def test_characters_of_lines_are_of_words_where_the_measurement_also_counts_spaces(
    labelled: list[dict[str, Any]], columns: dict[str, Any]
) -> None:
    for field, name in (
        ("duplicate_line_chars", "dup_line_char_frac"),
        ("duplicate_paragraph_chars", "dup_para_char_frac"),
    ):
        measured = np.array([row["measured"][name] for row in labelled])
        assert np.abs(columns[field] - measured).max() < 0.06
        assert np.array_equal(columns[field] > 0, measured > 0)


def test_fields_and_their_types() -> None:
    assert list(Gopher.fields) == FIELDS
    found = Gopher().tag(Batch.of(["", "a text", "\n"]))
    assert list(found) == FIELDS
    for name, kind in Gopher.fields.items():
        assert found[name].dtype == (np.int64 if kind is int else np.float64), name
        assert np.isfinite(found[name]).all()
        assert (found[name][[0, 2]] == 0).all()


def test_setup_is_not_needed_for_a_result() -> None:
    warmed = Gopher()
    warmed.setup()
    batch = Batch.of(["some text here"])
    assert {k: v.tolist() for k, v in warmed.tag(batch).items()} == {
        k: v.tolist() for k, v in Gopher().tag(Batch.of(["some text here"])).items()
    }


def plain_gopher(text: str) -> list[float]:
    """The paper's numbers, as plainly as Python can say them."""
    words = text.split()
    if not words:
        return [0.0] * len(FIELDS)
    total = sum(map(len, words))
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    cores = [re.sub(r"^\W+|\W+$", "", word).lower() for word in words]
    stops = [core for core in cores if core in ("the", "be", "to", "of", "and", "that", "have", "with")]
    numbers = [
        len(words),
        total / len(words),
        statistics.median(map(len, words)),
        max(text.count("#"), text.count("...") + text.count("…")) / len(words),
        sum(line.startswith(("•", "*", "-")) for line in lines) / len(lines),
        sum(line.endswith(("...", "…")) for line in lines) / len(lines),
        sum(any(map(str.isalpha, word)) for word in words) / len(words),
        len(set(stops)),
        len(stops),
    ]
    for pieces in (lines, [piece.strip() for piece in text.split("\n\n") if piece.strip()]):
        seen: set[str] = set()
        again = [piece for piece in pieces if piece in seen or seen.add(piece)]
        numbers += [len(again) / len(pieces), sum(len("".join(piece.split())) for piece in again) / total]
    for n in range(2, 11):
        places = defaultdict(list)
        for i, gram in enumerate(zip(*(words[k:] for k in range(n)), strict=False)):
            places[gram].append(i)
        repeated = {gram: at for gram, at in places.items() if len(at) > 1}
        if n <= 4:
            most = max((len(at) * sum(map(len, gram)) for gram, at in repeated.items()), default=0)
            numbers.append(min(1.0, most / total))
        else:
            covered = {j for at in repeated.values() for i in at[1:] for j in range(i, i + n)}
            numbers.append(sum(len(words[j]) for j in covered) / total)
    return numbers


def check(texts: list[str]) -> None:
    for first in range(0, len(texts), 1000):
        part = texts[first : first + 1000]
        found = Gopher().tag(Batch.of(part))
        expected = np.array([plain_gopher(text) for text in part])
        np.testing.assert_allclose(np.array([found[name] for name in FIELDS]).T, expected, rtol=0, atol=1e-9)


def test_a_sample_of_real_documents_equals_plain_python(all_texts: list[str]) -> None:
    check(all_texts[::25])


@pytest.mark.slow
def test_all_real_documents_equal_plain_python(all_texts: list[str]) -> None:
    check(all_texts)
