"""Phases on this machine: a loop for one worker, else Beam's embedded runner on worker processes.

One worker shares nothing with anybody, so it needs no runner: a loop in this process starts a second earlier. Options
for Beam are for Beam, which then runs in memory.

More than one worker: `multi_processing`, one process each, under the watchdog; on Linux they are copies of one
process, made by `forks`. They take tasks one by one from a queue in the control folder, which evens out what no
weight tells; that is sound because a worker that dies ends the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dolma_pipeline.engines.control import Control, controlling, kept_at
from dolma_pipeline.engines.engine import Say
from dolma_pipeline.engines.forks import ForkServer
from dolma_pipeline.engines.here import Here
from dolma_pipeline.engines.progress import Progress, polled
from dolma_pipeline.engines.reports import as_error, first_raised
from dolma_pipeline.engines.watchdog import POLL_SECONDS, run_guarded, stopped_by_signals
from dolma_pipeline.engines.workers import environment, worker_variables
from dolma_pipeline.errors import DolmaError
from dolma_pipeline.run.log import CONTROL
from dolma_pipeline.run.phase import Phase, Task
from dolma_pipeline.run.run import Run
from dolma_pipeline.storage import scratch


@dataclass(frozen=True)
class Local:
    """This machine.

    Args:
        workers: processes; 1: this one.
        options: as on a Beam command line.
        forks: makes the workers; without it Beam starts each by itself. Not used for one worker.
    """

    workers: int = 1
    options: Sequence[str] = ()
    forks: ForkServer | None = None

    def run(self, run: Run, phases: Sequence[Phase], *, say: Say | None = None) -> None:
        """See `Engine.run`.

        Raises:
            WorkerDiedError: a worker process ended unasked.
        """
        if not phases:
            return
        if self.workers == 1 and not self.options:
            self._loop(run, phases, say)
            return
        pipeline = self._pipeline(run, phases)
        with controlling(run.folder) as control, environment(variables := self._variables(control)):
            with Progress(control.folder, [phase.name for phase in phases], say=say) as progress:
                run_guarded(
                    lambda: pipeline.run().wait_until_finish(),
                    raised=lambda: _raised(control),
                    worker_log=control.workers_file,
                    kept=kept_at(run.folder),
                    variables=variables,
                    each_poll=progress.poll,
                    forks=self.forks,
                )

    def _loop(self, run: Run, phases: Sequence[Phase], say: Say | None) -> None:
        with controlling(run.folder) as control, environment(self._variables(control)), stopped_by_signals():
            with (
                Progress(control.folder, [phase.name for phase in phases], say=say) as progress,
                polled(progress, seconds=POLL_SECONDS),
            ):
                Here().loop(run, phases)

    def _variables(self, control: Control) -> dict[str, str]:
        """Environment variables of this run; those of workers reach them through the fork server or by inheritance."""
        variables = {**worker_variables(), CONTROL: str(control.path)}
        if self.workers > 1:  # in memory it is this process's own, which goes on after the run
            variables[scratch.VARIABLE] = str(control.scratch)
        return variables

    def _pipeline(self, run: Run, phases: Sequence[Phase]) -> Any:
        from dolma_pipeline.engines.beam_options import import_beam

        import_beam()
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        from dolma_pipeline.engines.chain import chain

        mode = "in_memory" if self.workers == 1 else "multi_processing"
        options = PipelineOptions(list(self.options), direct_num_workers=self.workers, direct_running_mode=mode)
        pipeline = beam.Pipeline(runner=_embedded_runner(), options=options)
        chain(pipeline, run, phases, Turns(self.workers))
        return pipeline


@dataclass(frozen=True)
class Turns:
    """Workers of one machine take tasks from one queue. Only for a runner that never does an element again.

    workers: how many.
    """

    workers: int
    many: ClassVar[bool] = False
    hints: ClassVar[dict[str, str]] = {}

    def deal(self, phase: str, tasks: Iterator[Task]) -> list[tuple[int, Any]]:
        """See `chain.Dealing`: an element a worker, which holds nothing."""
        num_tasks = Control.here().write_tasks(phase, tasks)
        return [(number, None) for number in range(min(self.workers, num_tasks))]

    def taken(self, phase: str, element: Any) -> Iterator[Task]:
        """See `chain.Dealing`."""
        return Control.here().queued_tasks(phase)

    def prepare(self, run: Run) -> None:
        """See `chain.Dealing`: workers of one machine are made of what the launcher is made of."""


def _raised(control: Control) -> DolmaError | None:
    row = first_raised(control.folder)
    return as_error(row) if row else None


def _embedded_runner() -> Any:
    """Beam's own runner by name (the automatic choice tries a download), its workers quiet."""
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
    from google.protobuf import struct_pb2

    options = struct_pb2.Struct()
    options.update({"beam:option:default_sdk_harness_log_level:v1": "ERROR"})
    info = beam_provision_api_pb2.ProvisionInfo(retrieval_token="unused-token", pipeline_options=options)
    return FnApiRunner(provision_info=ExtendedProvisionInfo(info))
