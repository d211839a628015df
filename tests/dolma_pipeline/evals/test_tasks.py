from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from dolma_pipeline.errors import ConfigError, DataError, UsageError
from dolma_pipeline.evals.items import choice_items, read_items
from dolma_pipeline.evals.kinds import KINDS
from dolma_pipeline.evals.named import NAMED
from dolma_pipeline.evals.tasks import files_of, read_task

ITEM = '{"id": "1", "question": "Two?", "subject": "plain_sums", "choices": ["one", "two"], "answer": 1}\n'
DEV = "".join(
    f'{{"id": "d{i}", "question": "Q{i}?", "subject": "{subject}", "choices": ["x{i}", "y{i}"], "answer": {i % 2}}}\n'
    for i, subject in enumerate(["plain_sums", "law", "plain_sums", "plain_sums"])
)


def task_file(folder: Path, text: str, name: str = "sums.yaml") -> Path:
    (folder / "items.jsonl").write_text(ITEM)
    (folder / "dev.jsonl").write_text(DEV)
    (folder / name).write_text(text)
    return folder / name


def test_mmlu_by_letters_and_by_texts(tmp_path: Path) -> None:
    text = "items: items.jsonl\nshots: 2\nexamples: dev.jsonl\n"
    (item,) = read_items(task_file(tmp_path, f"preset: mmlu\n{text}"))
    before = (
        "The following are multiple choice questions (with answers) about plain sums.\n\n"
        "Q0?\nA. x0\nB. y0\nAnswer: A\n\nQ2?\nA. x2\nB. y2\nAnswer: A\n\nTwo?\nA. one\nB. two\nAnswer:"
    )
    assert item.answers == ((before, " A"), (before, " B"))
    assert (item.right, item.id, item.group) == ((1,), "1", "plain_sums")
    (item,) = read_items(task_file(tmp_path, f"preset: mmlu_cloze\n{text}"))
    before = "Question: Q0?\nAnswer: x0\n\nQuestion: Q2?\nAnswer: x2\n\nQuestion: Two?\nAnswer:"
    assert item.answers == ((before, " one"), (before, " two"))


def test_keys_of_the_file_win_over_those_of_the_preset(tmp_path: Path) -> None:
    path = task_file(tmp_path, "preset: mmlu\nitems: items.jsonl\nheader: ''\nprompt: '{question}'\nmetric: acc_norm\n")
    task = read_task(path)
    assert (task.metric, task.config.group) == ("acc_norm", "subject")
    assert choice_items(task)[0].answers == (("Two?", " A"), ("Two?", " B"))


def test_a_file_that_is_called_like_a_named_task_is_one(tmp_path: Path) -> None:
    (tmp_path / "mmlu.jsonl").write_text(ITEM)
    assert read_items(tmp_path / "mmlu.jsonl")[0].answers[0][1] == " A"
    (tmp_path / "arc_challenge.jsonl").write_text('{"context": "Q", "choices": [" a", " b"], "gold": 0}\n')
    task = read_task(tmp_path / "arc_challenge.jsonl")
    assert (task.metric, task.name) == ("acc_pmi", "arc_challenge")
    assert choice_items(task)[0].answers == (("Q", " a"), ("Q", " b"))
    (tmp_path / "other.jsonl").write_text('{"context": "Q", "choices": [" a", " b"], "gold": 0}\n')
    assert read_task(tmp_path / "other.jsonl").metric == "acc"


def test_winogrande_with_examples(tmp_path: Path) -> None:
    path = task_file(tmp_path, "items: wino.jsonl\nshots: 1\nexamples: wino.jsonl\nseparator: '|'\n", "wino.yaml")
    rows = [("Ann", "Bob", 1), ("Cy", "Di", 0)]
    (tmp_path / "wino.jsonl").write_text(
        "".join(
            f'{{"contexts": ["{a}", "{b}"], "choices": ["{a}", "{b}"], "continuation": " ran.", "gold": {gold}}}\n'
            for a, b, gold in rows
        )
    )
    first, second = read_items(path)
    assert first.answers == (("Cy ran.|Ann", " ran."), ("Cy ran.|Bob", " ran."))
    assert second.answers == (("Bob ran.|Cy", " ran."), ("Bob ran.|Di", " ran."))


def test_truthfulqa_as_it_is_published(tmp_path: Path) -> None:
    row = (
        '{"question": "Flat?", "mc1_targets": {"choices": ["No", "Yes"], "labels": [1, 0]}, '
        '"mc2_targets": {"choices": ["No", "Not", "Yes"], "labels": [1, 1, 0]}}\n'
    )
    for name in ("truthfulqa_mc1", "truthfulqa_mc2"):
        (tmp_path / f"{name}.jsonl").write_text(row)
    (one,), (several,) = (read_items(tmp_path / f"truthfulqa_mc{i}.jsonl") for i in (1, 2))
    assert (one.answers, one.right) == ((("Q: Flat?\nA:", " No"), ("Q: Flat?\nA:", " Yes")), (0,))
    assert ([text for _, text in several.answers], several.right) == ([" No", " Not", " Yes"], (0, 1))
    (tmp_path / "truthfulqa_mc1.jsonl").write_text(row.replace('"labels": [1, 0]}', '"labels": [1, 1]}'))
    with pytest.raises(DataError, match=r'truthfulqa_mc1\.jsonl:1: "labels" must have right and wrong answers; 2 of 2'):
        read_items(tmp_path / "truthfulqa_mc1.jsonl")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("[1]", '"labels" must be a list of 3 times 0 or 1, one a choice; it is \\[1\\]'),
        ("[0, 0, 0]", '"labels" must have right and wrong answers; 0 of 3 are right'),
        ("[1, 1, 0]", '"labels" has 2 right answers; mc1 is for one'),
        ('["a", 1, 0]', '"labels" must be a list'),
    ],
)
def test_labels_that_fit_nothing(tmp_path: Path, labels: str, words: str) -> None:
    path = task_file(tmp_path, "kind: mc1\nitems: mc.jsonl\n", "mc.yaml")
    (tmp_path / "mc.jsonl").write_text(f'{{"context": "Q", "choices": ["a", "b", "c"], "labels": {labels}}}\n')
    with pytest.raises(DataError, match=rf"mc\.jsonl:1: {words}"):
        read_items(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: choices\n", r"items: is missing"),
        (
            "items: items.jsonl\nkind: choise\n",
            r"sums\.yaml:2: kind: no kind named 'choise'\. Did you mean 'choices'\?",
        ),
        ("items: items.jsonl\npreset: mmul\n", r"sums\.yaml:2: preset: no preset named 'mmul'\. Did you mean 'mmlu'\?"),
        ("items: items.jsonl\nmetric: accc\n", r"sums\.yaml:2: metric: no metric named 'accc'\. Did you mean 'acc'"),
        ("items: items.jsonl\nmax_tokens: 5\n", r"sums\.yaml:2: max_tokens: has no effect on a task of kind choices"),
        ("items: items.jsonl\nkind: mc2\nneutral: x\n", r"sums\.yaml:3: neutral: has no effect on a task of kind mc2"),
        ("items: items.jsonl\nexamples: dev.jsonl\n", r"sums\.yaml:2: examples: has no effect without `shots`"),
        ("items: items.jsonl\nshots: 2\n", r"sums\.yaml:2: shots: needs `examples`"),
        (
            "items: items.jsonl\nshots: 2\nexamples: dev.jsonl\nseed: 3\n",
            r"sums\.yaml:4: seed: has no effect without `draw: keyed`",
        ),
        ("items: items.jsonl\nshotz: 2\n", r"sums\.yaml:2: shotz: no key named 'shotz'\. Did you mean 'shots'"),
    ],
)
def test_a_wrong_key_is_named_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_task(task_file(tmp_path, text))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sums\.yaml: items: .*none\.jsonl: no such file"):
        read_task(task_file(tmp_path, "items: none.jsonl\n"))
    with pytest.raises(UsageError, match=r"sums\.yaml: examples: .*none\.jsonl: no such file"):
        read_task(task_file(tmp_path, "items: items.jsonl\nshots: 1\nexamples: none.jsonl\n"))
    with pytest.raises(DataError, match=r'items\.jsonl:1: "context" is None'):
        read_items(task_file(tmp_path, "items: items.jsonl\n"))
    with pytest.raises(DataError, match=r'items\.jsonl:1: "field" is None; the task.s `group` must be a text in each'):
        read_items(task_file(tmp_path, "items: items.jsonl\nprompt: x\ngroup: field\n"))


def test_digests_tell_items_from_settings(tmp_path: Path) -> None:
    def digests(text: str) -> tuple[str, str]:
        task = read_task(task_file(tmp_path, text))
        return task.data, task.settings

    plain = "items: items.jsonl\nprompt: x\nshots: 1\nexamples: dev.jsonl\n"
    data, settings = digests(plain)
    assert digests(f"{plain}answer: '{{choice}}'\nmetric: acc_norm\n") == (data, settings)  # says nothing of scores
    for other in (
        plain.replace("prompt: x", "prompt: y"),
        plain.replace("shots: 1", "shots: 2"),
        f"{plain}kind: mc1\n",
    ):
        assert digests(other)[0] == data
        assert digests(other)[1] != settings
    (tmp_path / "more.jsonl").write_text(DEV + DEV)
    assert digests(plain.replace("dev.jsonl", "more.jsonl"))[1] != settings
    (tmp_path / "more.jsonl").write_text(ITEM * 2)
    assert digests(plain.replace("items: items.jsonl", "items: more.jsonl"))[0] != data


def test_files_that_a_task_file_names(tmp_path: Path) -> None:
    path = task_file(tmp_path, "items: items.jsonl\nshots: 1\nexamples: dev.jsonl\n")
    assert files_of(path) == ["items.jsonl", "dev.jsonl"]
    assert files_of(tmp_path / "items.jsonl") == []


@pytest.mark.parametrize("name", NAMED)
def test_named_tasks_are_whole(tmp_path: Path, name: str) -> None:
    (tmp_path / "items.jsonl").write_text(ITEM)
    (tmp_path / "named.yaml").write_text(f"preset: {name}\nitems: items.jsonl\n")
    task = read_task(tmp_path / "named.yaml")
    assert task.metric in KINDS[task.config.kind].metrics
    assert "metric" in NAMED[name].keys or task.config.kind == "code"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("preset: [mmlu]\n", "preset: found a list of 1, expected text"),
        ("answer: ' yes'\n", "answer: ' yes' is the same for all choices; it needs {choice} or {letter}"),
        ("answer: ' {id}'\n", "answer: ' {id}' is the same for all choices"),
        ("kind: write\nstop: [x, '']\n", "stop: has an empty text, before which nothing can be written"),
        ("kind: code\nks: [1, 4]\n", "ks: pass@4 needs `samples: 4` or more; samples is 1"),
    ],
)
def test_values_that_would_fail_or_score_nothing(tmp_path: Path, text: str, words: str) -> None:
    path = task_file(tmp_path, f"items: items.jsonl\n{text}")
    with pytest.raises(ConfigError, match=rf"sums\.yaml:[23]: {re.escape(words)}"):
        read_task(path)


@pytest.mark.parametrize(("ending", "compressed"), [("gz", gzip.compress), ("zst", zstandard.compress)])
def test_a_compressed_file_is_called_as_it_is_without(
    tmp_path: Path, ending: str, compressed: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"mmlu.jsonl.{ending}"
    path.write_bytes(compressed(ITEM.encode()))
    task = read_task(path)
    assert (task.name, task.config.group, task.config.answer) == ("mmlu", "subject", " {letter}")


def test_a_key_of_a_preset_that_does_not_fit_is_named_with_the_file(tmp_path: Path) -> None:
    """The file's name alone makes it that task, so nothing in it says preset."""
    path = task_file(tmp_path, "items: items.jsonl\nkind: choices\n", "gsm8k.yaml")
    with pytest.raises(ConfigError, match=r"gsm8k\.yaml: preset gsm8k: .*has no effect on a task of kind choices"):
        read_task(path)
