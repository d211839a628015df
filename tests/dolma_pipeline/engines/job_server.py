"""A job server on loopback whose jobs are what a test says: `GetState` and `Cancel` of Beam's job service."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

STATES = beam_job_api_pb2.JobState


class JobServer(beam_job_api_pb2_grpc.JobServiceServicer):
    """states: of jobs by id; one that is cancelled ends at once. asked: how often a state was asked for."""

    def __init__(self) -> None:
        self.states: dict[str, int] = {}
        self.asked = 0
        self.ends_after: int | None = None
        self.endpoint = ""

    def GetState(self, request: Any, context: Any) -> Any:
        self.asked += 1
        if self.ends_after is not None and self.asked > self.ends_after:
            self.states[request.job_id] = STATES.DONE
        if request.job_id not in self.states:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no job {request.job_id}")
        return beam_job_api_pb2.JobStateEvent(state=self.states[request.job_id])

    def Cancel(self, request: Any, context: Any) -> Any:
        if request.job_id not in self.states:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no job {request.job_id}")
        self.states[request.job_id] = STATES.CANCELLED
        return beam_job_api_pb2.CancelJobResponse(state=STATES.CANCELLED)


@contextmanager
def serving() -> Iterator[JobServer]:
    """The server, for the block."""
    service = JobServer()
    server = grpc.server(ThreadPoolExecutor(2))
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    service.endpoint = f"127.0.0.1:{port}"
    server.start()
    try:
        yield service
    finally:
        server.stop(None)
