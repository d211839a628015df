"""Copies of done records in few files: read instead of thousands, and never more than copies."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest

from dolma_pipeline.errors import RunError
from dolma_pipeline.run import compacted, layout, perform, records
from dolma_pipeline.run.compacted import COMPACTED, FEW, range_of, write_compacted
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner.ready import make_ready
from dolma_pipeline.storage.memory import MemoryFolder
from tests.dolma_pipeline.engines.toys import Many, memory_run

PHASE = Many(num_tasks=100)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(compacted, "TASKS_A_FILE", 40)
    return memory_run()


def work(run: Run) -> dict[int, list[bytes]]:
    """All tasks that are left; their records by range."""
    made: dict[int, list[bytes]] = {}
    for task in perform.begin(run, PHASE):
        made.setdefault(range_of(task.number), []).append(perform.work(run, PHASE, task).record)
    return made


def compact(run: Run, made: dict[int, list[bytes]]) -> list[str]:
    """What a runner does with them; the files that are there then."""
    for place, content in made.items():
        write_compacted(run.folder, records.folder_of(run, PHASE), place, content)
    return [entry.name for entry in run.folder.list(f"{records.folder_of(run, PHASE)}/{COMPACTED}")]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often what was read: files of copies, records."""
    counts: Counter[str] = Counter()
    real = MemoryFolder.read

    def counting(folder: MemoryFolder, name: str) -> bytes:
        counts["copies" if f"/{COMPACTED}/" in name else "records"] += name.startswith(layout.DONE)
        return real(folder, name)

    monkeypatch.setattr(MemoryFolder, "read", counting)
    return counts


def all_records(run: Run) -> list[Any]:
    return list(records.read_records(run, PHASE, PHASE.tasks(run)))


def test_the_records_of_many_tasks_are_read_from_few_files(run: Run, read: Counter[str]) -> None:
    made = work(run)
    one_by_one = all_records(run)
    assert len(compact(run, made)) == 3
    read.clear()
    assert all_records(run) == one_by_one
    assert read == {"copies": 3, "records": FEW}
    assert [record["task"] for record in one_by_one] == [task.key for task in PHASE.tasks(run)]
    assert records.done_tasks(run, PHASE) == {task.key for task in PHASE.tasks(run)}


def test_repeated_in_any_order_it_is_the_same_file(run: Run) -> None:
    made = work(run)
    names = compact(run, made)
    content = {name: run.folder.read(name) for name in names}
    twice = {place: [*found[::-1], *found[:3]] for place, found in made.items()}
    assert compact(run, twice) == names
    assert {name: run.folder.read(name) for name in names} == content


def test_what_a_later_try_did_stands_beside_it_and_what_is_in_no_file_is_read_by_itself(
    run: Run, read: Counter[str]
) -> None:
    made = work(run)
    assert len(compact(run, {0: made[0][:20]})) == 1
    assert len(compact(run, {0: made[0][20:], 1: made[1]})) == 3
    read.clear()
    assert len(all_records(run)) == 100
    assert read == {"copies": 3, "records": FEW + 20}


def test_few_records_are_not_worth_a_file(run: Run) -> None:
    made = work(run)
    assert compact(run, {0: made[0][: FEW - 1]}) == []
    assert len(compact(run, {0: made[0][:FEW]})) == 1


def test_copies_alone_are_not_done(run: Run) -> None:
    compact(run, work(run))
    lost = f"{records.folder_of(run, PHASE)}/000050.json"
    run.folder.delete([lost])
    assert [task.key for task in perform.begin(run, PHASE)] == ["000050"]
    with pytest.raises(RunError, match=r"^toy/many: 1 of its 100 tasks not done: 000050\."):
        perform.end(run, PHASE)


def test_a_task_that_is_to_be_done_again_takes_the_copies_with_it(run: Run) -> None:
    compact(run, work(run))
    name = f"{records.folder_of(run, PHASE)}/000050.json"
    record = orjson.loads(run.folder.read(name))
    run.folder.write(name, orjson.dumps({**record, "files": ["cache/gone"]}))
    records.forget_record(run.folder, name)
    assert compact(run, {}) == []
    assert [task.key for task in perform.begin(run, PHASE)] == ["000050"]


def test_a_launcher_reads_the_copies_and_forgets_what_lost_a_file(run: Run, read: Counter[str]) -> None:
    made = work(run)
    with_file = orjson.dumps({**orjson.loads(made[0][0]), "files": ["cache/gone"]})
    run.folder.write(f"{records.folder_of(run, PHASE)}/000000.json", with_file)
    made[0][0] = with_file
    compact(run, made)
    read.clear()
    make_ready(run, [], [], {})
    assert read["records"] == 0
    assert [task.key for task in perform.begin(run, PHASE)] == ["000000"]
    assert compact(run, {}) == []
