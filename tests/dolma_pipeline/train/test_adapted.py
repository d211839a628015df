from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma_pipeline.config.recipe import TemplateConfig
from dolma_pipeline.errors import DataError, RunError
from dolma_pipeline.train.adapted import dialogues, open_examples, pack, pairs, write_examples
from dolma_pipeline.train.chat import Template
from tests.dolma_pipeline.train.letters import EOS, Letters, text_of

BARE = Template(TemplateConfig(system="{content}", user="{content}", assistant="{content}"), Letters(), EOS)


def chat(tmp_path: Path, *rows: dict[str, Any]) -> list[str]:
    (tmp_path / "chat.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return [f"{tmp_path}/chat.jsonl"]


def said(prompt: str, response: str) -> dict[str, str]:
    return {"prompt": prompt, "response": response}


@given(st.lists(st.integers(1, 20), max_size=40))
def test_every_item_is_packed_once_and_none_too_tight(lengths: list[int]) -> None:
    bins = pack(lengths, capacity=20)
    assert sorted(item for items in bins for item in items) == list(range(len(lengths)))
    assert all(sum(lengths[item] for item in items) <= 20 for items in bins)
    halves = [sum(lengths[item] for item in items) <= 10 for items in bins]
    assert sum(halves) <= 1  # two bins that are half empty would have been one


@given(st.lists(st.integers(1, 12), max_size=30))
def test_packing_is_best_fit_decreasing(lengths: list[int]) -> None:
    """Against the plain search through all bins; of equal rooms the earlier bin."""
    bins: list[list[int]] = []
    for item in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        fitting = [one for one in bins if sum(lengths[i] for i in one) + lengths[item] <= 12]
        if fitting:
            max(fitting, key=lambda one: sum(lengths[i] for i in one)).append(item)
        else:
            bins.append([item])
    assert pack(lengths, capacity=12) == bins


def test_dialogues_share_sequences_and_are_cut(tmp_path: Path) -> None:
    files = chat(
        tmp_path,
        said("ab", "cd"),  # 6 tokens, EOS at both ends
        said("a", "long enough to be cut"),
        said("the answer is cut off", "x"),
        {"messages": [{"role": "user", "content": "no answer"}]},
        said("e", "f"),  # 4
    )
    found, counts = dialogues(files, template=BARE, length=10)
    assert counts == {
        "dialogues": 5,
        "cut": 2,
        "without_answer": 2,
        "instances": 2,
        "tokens": 20,
        "scored_tokens": 8 + 3 + 2,
    }
    assert [text_of(row.tolist()) for row in found.tokens] == ["along eno", "abcdef"]
    assert found.segments.tolist() == [[1] * 10, [1] * 6 + [2] * 4]
    assert [[int(one) for one in row] for row in found.scored] == [
        [0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 1, 1, 1, 0, 0, 1, 1],
    ]


def test_pairs_are_halves(tmp_path: Path) -> None:
    rows = [
        {"prompt": "ab", "chosen": "c", "rejected": "de"},
        {"prompt": "ab", "chosen": "same", "rejected": "same"},
        {"prompt": "a long question", "chosen": "c", "rejected": "d"},
        {"prompt": "a", "chosen": "an answer that is cut", "rejected": "d"},
        {"prompt": "a", "chosen": "nothing more to tell apart", "rejected": "nothing more, honestly"},
    ]
    found, counts = pairs(chat(tmp_path, *rows), template=BARE, length=8)
    assert counts == {
        "pairs": 5,
        "cut": 3,
        "without_answer": 0,
        "equal": 3,
        "instances": 2,
        "tokens": 5 + 6 + 8 + 4,
        "scored_tokens": 2 + 3 + 6 + 2,
    }
    assert [text_of(row.tolist()) for row in found.tokens[:, :8]] == ["abc", "aan answ"[:7]]
    assert [text_of(row.tolist()) for row in found.tokens[:, 8:]] == ["abde", "ad"]
    assert found.segments[0].tolist() == [1] * 5 + [0] * 3 + [2] * 6 + [0] * 2


@pytest.mark.parametrize(
    ("make", "row", "message"),
    [
        (dialogues, said("a question that is too long", "x"), "no dialogue has an answer within 8 tokens"),
        (pairs, {"prompt": "a", "chosen": "x", "rejected": "x"}, "no pair differs within 8 tokens"),
    ],
)
def test_nothing_to_learn(tmp_path: Path, make: Any, row: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(chat(tmp_path, row), template=BARE, length=8)


def test_what_is_written_is_read_and_damage_is_found(tmp_path: Path) -> None:
    found, counts = dialogues(chat(tmp_path, said("ab", "cd")), template=BARE, length=8)
    dataset = write_examples(tmp_path / "data", found, about={"counts": counts})
    assert dataset == write_examples(tmp_path / "again", found, about={"counts": counts})
    read = open_examples(tmp_path / "data")
    assert all(np.array_equal(getattr(read, name), getattr(found, name)) for name in ("tokens", "scored", "segments"))
    assert json.loads((tmp_path / "data/examples.json").read_bytes())["counts"] == counts
    with open(tmp_path / "data/scored.npy", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    with pytest.raises(DataError, match=r"scored\.npy: not what .*examples\.json says of it"):
        open_examples(tmp_path / "data")
    with pytest.raises(RunError, match="the examples were not made"):
        open_examples(tmp_path / "nowhere")
