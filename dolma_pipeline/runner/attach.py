"""A folder where a job of another launcher is at work: wait for it, or end it."""

from __future__ import annotations

import time

from dolma_pipeline.engines.engine import Say
from dolma_pipeline.engines.jobs import Job, cancel, job_in, wait_for
from dolma_pipeline.errors import UsageError
from dolma_pipeline.run import layout
from dolma_pipeline.runner.lock import held_by, is_gone
from dolma_pipeline.storage.folder import RunFolder

POLL_SECONDS = 5.0
"""Between two questions to a job."""
LEAVING_SECONDS = 60.0
"""How long a launcher that is alive may take to see that its job has ended."""


def attach(folder: RunFolder, *, say: Say, poll_seconds: float = POLL_SECONDS) -> None:
    """Wait for the job that the folder's lock names, if it names one. Its launcher may be gone or alive.

    Raises:
        RunError: the job cannot be asked any more.
    """
    job = job_in(held_by(folder).get("job"))
    if job is None:
        return
    say(f"waiting for {job}")
    wait_for(job, poll_seconds=poll_seconds)
    say(f"{job} has ended")
    begin = time.monotonic()
    while job_in(held_by(folder).get("job")) == job and time.monotonic() - begin < LEAVING_SECONDS:
        if is_gone(held_by(folder)):
            return
        time.sleep(min(1.0, poll_seconds))


def cancel_job(folder: RunFolder, *, poll_seconds: float = POLL_SECONDS) -> Job:
    """End the job that the folder's lock names, and come back when it has ended. The next run takes the lock.

    Raises:
        UsageError: no job is at work here.
        RunError: the job cannot be asked, or refuses.
    """
    held = held_by(folder)
    job = job_in(held.get("job"))
    if job is None:
        told = "no run is at work here"
        if held:
            who = f"process {held.get('process')} on {held.get('host')}"
            told = f"{who} works here by itself, without a job elsewhere. Stop that process (Ctrl-C there)"
        raise UsageError(f"{folder.url}/{layout.LOCK}: {told}; there is nothing for --cancel.")
    cancel(job)
    wait_for(job, poll_seconds=poll_seconds)
    return job
