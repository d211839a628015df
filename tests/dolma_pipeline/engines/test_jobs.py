"""Jobs of runners that only submit: found again, asked, waited for, ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from dolma_pipeline.engines import jobs
from dolma_pipeline.engines.jobs import Job, cancel, job_in, state_of, submitted, wait_for
from dolma_pipeline.errors import RunError
from tests.dolma_pipeline.engines.job_server import STATES, JobServer, serving


@pytest.fixture
def server() -> Iterator[JobServer]:
    with serving() as service:
        yield service


def test_a_job_is_kept_in_a_lock_and_found_again() -> None:
    job = Job("FlinkRunner", "job-1", endpoint="h:8099")
    assert job_in(json.loads(json.dumps(job.record()))) == job
    assert job.record() == {"runner": "FlinkRunner", "id": "job-1", "endpoint": "h:8099"}
    assert [job_in(none) for none in (None, {}, {"runner": "x"}, "job", [])] == [None] * 5


def test_which_results_have_a_job_that_outlives_the_launcher() -> None:
    given = SimpleNamespace(_job_id="job-1")
    options = PipelineOptions(["--job_endpoint=h:8099"])
    assert submitted(given, "FlinkRunner", options) == Job("FlinkRunner", "job-1", endpoint="h:8099")
    assert submitted(given, "FlinkRunner", PipelineOptions([])) == Job("FlinkRunner", "job-1")
    assert submitted(given, "PortableRunner", PipelineOptions(["--job_endpoint=embed"])) is None
    assert submitted(SimpleNamespace(), "DirectRunner", PipelineOptions([])) is None
    google = PipelineOptions(["--project=p", "--region=r"])
    dataflow = SimpleNamespace(job_id=lambda: "2026-11-27_1")
    assert submitted(dataflow, "DataflowRunner", google) == Job(
        "DataflowRunner", "2026-11-27_1", project="p", region="r"
    )


def test_the_state_of_a_job_comes_from_its_server(server: JobServer) -> None:
    server.states = {"a": STATES.RUNNING, "b": STATES.STARTING, "c": STATES.DONE, "d": STATES.FAILED}
    found = {name: state_of(Job("FlinkRunner", name, endpoint=server.endpoint)) for name in "abcde"}
    assert found == {"a": "running", "b": "running", "c": "ended", "d": "ended", "e": "unknown"}
    assert state_of(Job("FlinkRunner", "a")) == "unknown"
    assert state_of(Job("FlinkRunner", "a", endpoint="127.0.0.1:9")) == "unknown"


def test_a_job_is_cancelled_or_the_reason_is_told(server: JobServer) -> None:
    server.states = {"a": STATES.RUNNING}
    cancel(Job("FlinkRunner", "a", endpoint=server.endpoint))
    assert server.states == {"a": STATES.CANCELLED}
    with pytest.raises(RunError, match=rf"job b on FlinkRunner: its job server at {server.endpoint} .*: no job b"):
        cancel(Job("FlinkRunner", "b", endpoint=server.endpoint))
    with pytest.raises(RunError, match="cannot be cancelled from here: its job server had no address"):
        cancel(Job("FlinkRunner", "a"))


def test_waiting_ends_with_the_job(server: JobServer) -> None:
    server.states, server.ends_after = {"a": STATES.RUNNING}, 3
    polled: list[int] = []
    job = Job("FlinkRunner", "a", endpoint=server.endpoint)
    wait_for(job, poll_seconds=0.01, each_poll=lambda: polled.append(server.asked))
    assert polled == [1, 2, 3]


def test_waiting_for_a_job_that_nobody_knows_ends_too(server: JobServer) -> None:
    with pytest.raises(RunError, match="job a on FlinkRunner cannot be asked any more"):
        wait_for(Job("FlinkRunner", "a", endpoint=server.endpoint), poll_seconds=0.01)
    assert server.asked == 3


def test_one_answer_that_is_missing_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(["running", "unknown", "unknown", "running", "unknown", "ended"])
    monkeypatch.setattr(jobs, "state_of", lambda job: next(states))
    wait_for(Job("FlinkRunner", "a", endpoint="x"), poll_seconds=0.0)
    assert next(states, None) is None


def test_asking_dataflow_without_its_client_says_what_to_install() -> None:
    pytest.importorskip("apache_beam")
    try:
        import google.cloud.dataflow  # noqa: F401
    except ImportError:
        with pytest.raises(
            RunError, match=r"job 1 on DataflowRunner cannot be asked: .* Install dolma-pipeline\[gcp\]"
        ):
            state_of(Job("DataflowRunner", "1", project="p", region="r"))
    else:
        pytest.skip("the client of Dataflow is installed here")
