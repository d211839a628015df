"""Jobs that go on without their launcher: how to find one again, ask how far it is, wait for it, end it.

A runner that only submits (Dataflow, a job server of Flink or Spark) leaves its job running when the launcher dies.
The run's lock names it, so that the next launcher can ask. What can be asked: job servers that have an address
(`--job_endpoint`), by Beam's job service; Dataflow, by its own client. A job server that the launcher itself started
has no address that outlives it: its job cannot be asked. The embedded one ends with the launcher, job and all.

Cost: Beam is imported where a lock names a job, and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dolma_pipeline.errors import RunError

State = Literal["running", "ended", "unknown"]
"""Of a job; unknown: nobody can be asked, or who is asked does not know it."""

ASK_SECONDS = 20.0
"""How long an answer may take."""


@dataclass(frozen=True)
class Job:
    """A pipeline that was handed to a runner.

    Args:
        runner: as Beam names it. id: as the runner names the job.
        endpoint: `host:port` of the job server; empty where there is none that outlives the launcher.
        project, region: of Dataflow.
    """

    runner: str
    id: str
    endpoint: str = ""
    project: str = ""
    region: str = ""

    def __str__(self) -> str:
        return f"job {self.id} on {self.runner}"

    def record(self) -> dict[str, str]:
        """As the lock keeps it."""
        return {name: value for name, value in asdict(self).items() if value}


def job_in(record: object) -> Job | None:
    """The job that a lock names; None if it names none."""
    if not isinstance(record, Mapping) or not record.get("id"):
        return None
    return Job(**{name: str(record.get(name, "")) for name in ("runner", "id", "endpoint", "project", "region")})


def submitted(result: Any, runner: str, options: Any) -> Job | None:
    """The job behind what `Pipeline.run` gave; None for a runner whose job ends with this process at the latest.

    Args:
        result: Beam's `PipelineResult`. runner: its name, as it was given. options: Beam's `PipelineOptions`.
    """
    from apache_beam.options.pipeline_options import GoogleCloudOptions, PortableOptions

    if "dataflow" in runner.lower():
        google = options.view_as(GoogleCloudOptions)
        return Job("DataflowRunner", str(result.job_id()), project=google.project or "", region=google.region or "")
    job_id = getattr(result, "_job_id", None)  # Beam 2.77 has no public name for it; a test guards this one
    endpoint = options.view_as(PortableOptions).job_endpoint or ""
    if job_id is None or endpoint == "embed":
        return None
    return Job(runner, str(job_id), endpoint=endpoint)


def state_of(job: Job) -> State:
    """How far a job is. Who cannot be reached within some seconds, or does not know the job, gives `unknown`.

    Raises:
        RunError: what is needed to ask Dataflow is not installed.
    """
    if job.project:
        return _of_dataflow(job)
    return _of_server(job) if job.endpoint else "unknown"


def cancel(job: Job) -> None:
    """Ask for a job's end; it comes some time later, see `wait_for`.

    Raises:
        RunError: nobody can be asked, or who is asked refuses.
    """
    if job.project:
        client = _dataflow(job)
        refused = _refusals()
        try:
            client.modify_job_state(job.id, "JOB_STATE_CANCELLED")
        except refused as error:
            raise RunError(f"Dataflow did not cancel {job} of project {job.project}, {job.region}: {error}") from error
        return
    if not job.endpoint:
        raise RunError(f"{job} cannot be cancelled from here: its job server had no address of its own.")
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2

    try:
        with grpc.insecure_channel(job.endpoint) as channel:
            _service(channel).Cancel(beam_job_api_pb2.CancelJobRequest(job_id=job.id), timeout=ASK_SECONDS)
    except grpc.RpcError as error:
        raise RunError(f"{job}: its job server at {job.endpoint} did not cancel it: {_told(error)}") from None


def wait_for(job: Job, *, poll_seconds: float = 5.0, each_poll: Callable[[], None] = lambda: None) -> None:
    """Come back when a job has ended.

    Raises:
        RunError: it cannot be asked any more.
    """
    unanswered = 0
    while True:
        state = state_of(job)
        if state == "ended":
            return
        unanswered = unanswered + 1 if state == "unknown" else 0
        if unanswered >= 3:
            raise RunError(f"{job} cannot be asked any more how far it is. Look at it by the runner's own means.")
        each_poll()
        time.sleep(poll_seconds)


def _service(channel: Any) -> Any:
    from apache_beam.portability.api import beam_job_api_pb2_grpc

    return beam_job_api_pb2_grpc.JobServiceStub(channel)


def _of_server(job: Job) -> State:
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2
    from apache_beam.runners.portability.portable_runner import TERMINAL_STATES

    try:
        with grpc.insecure_channel(job.endpoint) as channel:
            request = beam_job_api_pb2.GetJobStateRequest(job_id=job.id)
            state = _service(channel).GetState(request, timeout=ASK_SECONDS).state
    except grpc.RpcError:
        return "unknown"
    return "ended" if state in TERMINAL_STATES else "running"


def _of_dataflow(job: Job) -> State:
    from apache_beam.runners.dataflow.dataflow_runner import DataflowPipelineResult
    from apache_beam.runners.runner import PipelineState

    client = _dataflow(job)
    refused = _refusals()
    try:
        found = client.get_job(job.id)
    except refused:
        return "unknown"
    state = DataflowPipelineResult.api_jobstate_to_pipeline_state(found.current_state)
    return "ended" if PipelineState.is_terminal(state) else "running"


def _dataflow(job: Job) -> Any:
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient
    except ImportError as error:
        raise RunError(f"{job} cannot be asked: {error}. Install dolma-pipeline[gcp].") from error
    return DataflowApplicationClient(PipelineOptions(project=job.project, region=job.region))


def _refusals() -> tuple[type[Exception], ...]:
    """What Dataflow's client raises: the service says no, or there are no credentials that it takes."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    return GoogleAPIError, GoogleAuthError


def _told(error: Any) -> str:
    """What a server says, in a line."""
    return " ".join(str(error.details() or error.code()).split())
