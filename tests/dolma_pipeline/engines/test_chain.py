"""The pipeline's functions without Beam, asked again and late, as runners ask; and what crosses a shuffle."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from dolma_pipeline.engines.beam import OnBeam
from dolma_pipeline.engines.chain import Bins, Count, chain, close, compact, plan, total, worked
from dolma_pipeline.errors import RunError, StageError, UsageError
from dolma_pipeline.run import perform
from dolma_pipeline.run.compacted import COMPACTED, TASKS_A_FILE
from dolma_pipeline.run.phase import Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.records import COVERS, folder_of, read_records
from dolma_pipeline.run.run import Run
from tests.dolma_pipeline.engines.toys import CHAIN, TEXTS, CountWords, Many, memory_run, promised, records_of


@pytest.fixture
def run() -> Run:
    return memory_run()


def planned(run: Run, phase: Any, closing: Any = ()) -> list[tuple[int, Any]]:
    return plan(b"", [], run=run, closing=closing, phase=phase, number="00", dealing=Bins())


def tasks_of(elements: list[tuple[int, Any]]) -> list[Task]:
    return [task for _, element in elements for task in Bins().taken("00", element)]


def done(run: Run, phase: Any, number: int, element: Any) -> list[tuple[int, Any]]:
    return list(worked((number, [element]), run=run, phase=phase, number="00", dealing=Bins()))


def test_the_parts_without_beam(run: Run) -> None:
    phase = Many(num_tasks=100)
    bins = planned(run, phase)
    assert [number for number, _ in bins] == list(range(64))
    tasks = tasks_of(bins)
    assert sorted(task.key for task in tasks) == [f"{number:06d}" for number in range(100)]
    assert all(task.payload == task.number == int(task.key) for task in tasks)
    made = [part for number, element in bins for _, part in done(run, phase, number, element)]
    counts = [compact((0, made), run=run, phase=phase)]
    assert counts[0].tasks == 100
    assert close(b"", counts, run=run, closing=[phase], dealing=Bins()) == total(counts)
    assert planned(run, phase) == []


def test_counts_add_up_in_any_order() -> None:
    counts = [Count(1, 0.5), Count(2, 0.25), Count(0, 0.0)]
    assert total(counts) == total([total(counts[:2]), total(counts[2:])]) == Count(3, 0.75)
    assert total([]) == Count()


def test_what_a_runner_repeats_does_no_harm(run: Run) -> None:
    plain = memory_run()
    for phase in CHAIN:
        perform.whole(plain, phase)
    words, initials, end = CHAIN
    bins = planned(run, words)
    assert planned(run, words) == bins
    for number, tasks in [*bins, *bins[:3]]:
        done(run, words, number, tasks)
    later = planned(run, initials, closing=[words])
    assert planned(run, initials, closing=[words]) == later
    for number, tasks in later * 2:
        done(run, initials, number, tasks)
    for _ in range(2):
        close(b"", [], run=run, closing=[initials, end], dealing=Bins())
    assert planned(run, words) == planned(run, initials, closing=[words]) == []
    for (number, tasks), phase in [(bins[0], words), (later[0], initials)]:
        done(run, phase, number, tasks)  # late
    assert promised(run.folder) == promised(plain.folder)
    assert records_of(run.folder) == records_of(plain.folder)


def test_a_bin_that_was_lost_is_told(run: Run) -> None:
    (number, tasks), *_ = planned(run, CountWords())
    done(run, CountWords(), number, tasks)
    with pytest.raises(RunError, match=r"^toy/words: 11 of its 12 tasks not done: "):
        close(b"", [], run=run, closing=[CountWords()], dealing=Bins())
    assert run.folder.stat("words/manifest.json") is None


def test_transforms_are_called_like_their_phases(run: Run) -> None:
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([]))
    chain(pipeline, run, CHAIN, Bins())
    names = [one.full_label for one in pipeline.transforms_stack[0].parts]
    assert [name for name in names if "words" in name] == [
        f"00 toy/words: {what}" for what in ("begin", "plan", "spread", "work", "gather", "compact", "count")
    ]
    assert len(set(names)) == len(names)


def test_runners_and_options_by_name(run: Run) -> None:
    with pytest.raises(UsageError, match="no Beam runner named 'FlinkRuner'"):
        OnBeam("FlinkRuner").run(run, CHAIN)
    with pytest.raises(UsageError, match="no Beam option named 'direct_num_worker'"):
        OnBeam("FnApiRunner", ["--direct_num_worker=3"]).run(run, CHAIN)
    assert run.folder.stat("words/manifest.json") is None
    said: list[str] = []
    OnBeam("FnApiRunner").run(run, CHAIN, say=said.append)
    assert said == ["3 phases on FnApiRunner"]


def test_what_a_runner_itself_raises(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no job server")

    monkeypatch.setattr("apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner.run_pipeline", broken)
    with pytest.raises(StageError, match=r"^the pipeline failed: no job server$"):
        OnBeam("FnApiRunner").run(run, CHAIN)


def test_a_job_server_that_dies_is_told_in_a_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(grpc.RpcError):
        def details(self) -> str:
            return "failed to connect to all addresses;\n  last error: refused"

    def broken(*_: object) -> None:
        raise Lost("<_MultiThreadedRendezvous of RPC that terminated with:\n ...")

    monkeypatch.setattr("apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner.run_pipeline", broken)
    told = r"^the job server does not answer any more: failed to connect to all addresses; last error: refused$"
    with pytest.raises(StageError, match=told):
        OnBeam("FnApiRunner").run(run, CHAIN)


def test_a_runner_counts_documents_and_bytes_of_each_phase(run: Run) -> None:
    result = OnBeam("FnApiRunner").pipeline(run, CHAIN).run()
    result.wait_until_finish()
    counters = result.metrics().query()["counters"]
    found = {one.key.metric.name: one.committed for one in counters if one.key.metric.namespace == "dolma_pipeline"}
    assert found["toy/words: documents"] == len(TEXTS)
    assert found["toy/words: bytes"] == sum(map(len, TEXTS))


def test_records_that_travelled_are_compacted_by_ranges_and_all_are_there(run: Run) -> None:
    phase = Many(num_tasks=TASKS_A_FILE + 500)
    OnBeam("FnApiRunner").run(run, [phase])
    copies = [entry.name for entry in run.folder.list(f"{folder_of(run, phase)}/{COMPACTED}")]
    assert [name.rpartition("/")[2][:6] for name in copies] == ["00000-", "00001-"]
    lines = [line for name in copies for line in run.folder.read(name).splitlines()]
    assert sorted(lines) == sorted(one for name, one in records_of(run.folder).items() if not name.endswith(COVERS))


def test_a_worker_tells_what_it_begins(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dolma_pipeline.engines.chain")
    (number, tasks), *_ = planned(run, CountWords())
    done(run, CountWords(), number, tasks)
    assert caplog.messages == ["toy/words, 009.txt"]


@dataclass(frozen=True)
class Alone(Many):
    """Tasks that notice when another one of their process is at work."""

    def work(self, process: Process, task: Task) -> Work:
        AT_WORK.append(task.key)
        time.sleep(0.01)
        together = len(AT_WORK)
        AT_WORK.remove(task.key)
        return Work(more={"together": together})


AT_WORK: list[str] = []


def test_two_bundles_at_once_in_one_process_wait_for_each_other(run: Run) -> None:
    phase = Alone(num_tasks=20)
    bins = planned(run, phase)

    def work(part: list[tuple[int, Any]]) -> None:
        for number, element in part:
            done(run, phase, number, element)

    threads = [threading.Thread(target=work, args=(part,)) for part in (bins[:10], bins[10:])]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    found = [record["more"]["together"] for record in read_records(run, phase, phase.tasks(run))]
    assert found == [1] * 20
