"""Phases on any Beam runner by name, with the options that it wants. Tasks travel in the elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dolma_pipeline.engines.engine import Say
from dolma_pipeline.engines.jobs import Job, submitted
from dolma_pipeline.engines.logs import join_logs, keeping_logs
from dolma_pipeline.engines.progress import ELSEWHERE_SECONDS, SHOW_SECONDS, Progress, polled
from dolma_pipeline.engines.reports import as_error, first_raised
from dolma_pipeline.errors import StageError
from dolma_pipeline.run.phase import Phase
from dolma_pipeline.run.run import Run


@dataclass(frozen=True)
class OnBeam:
    """A runner.

    Args:
        runner: its name, as Beam takes it. options: as on a Beam command line.
        note: told of the job that was begun, where the runner has one that may outlive this process.
    """

    runner: str
    options: Sequence[str] = ()
    note: Callable[[Job], None] | None = None

    def run(self, run: Run, phases: Sequence[Phase], *, say: Say | None = None) -> None:
        """See `Engine.run`. Progress is read from what workers leave in the run's folder."""
        if not phases:
            return
        self._check()
        from dolma_pipeline.engines.elsewhere import advice

        join_logs(run.folder)  # what a launcher that died has left
        if say:
            say(f"{len(phases)} phases on {self.runner}")
            for sentence in advice(self.runner, self.options):
                say(f"warning: {sentence}")
        seconds = ELSEWHERE_SECONDS if run.folder.local_path() is None else SHOW_SECONDS
        with keeping_logs(lambda: join_logs(run.folder)):
            with Progress(run.folder, [phase.name for phase in phases], say=say, seconds=seconds) as progress:
                with polled(progress, seconds=seconds):
                    self._run(run, phases)

    def _check(self) -> None:
        from dolma_pipeline.engines.beam_options import check_flags, check_runner, import_beam
        from dolma_pipeline.engines.elsewhere import check_needed, is_here

        check_runner(self.runner)
        if is_here(self.runner, ()):  # others have options that only they know
            check_flags(self.options)
        check_needed(self.runner, self.options)
        import_beam()

    def _run(self, run: Run, phases: Sequence[Phase]) -> None:
        try:
            pipeline = self.pipeline(run, phases)
            result = pipeline.run()
            job = submitted(result, self.runner, pipeline.options)
            if job is not None and self.note is not None:
                self.note(job)
            result.wait_until_finish()
        except Exception as error:
            row = first_raised(run.folder)
            raise (as_error(row) if row else StageError(_in_words(error))) from error

    def pipeline(self, run: Run, phases: Sequence[Phase]) -> Any:
        """The Beam pipeline, which has not begun."""
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        from dolma_pipeline.engines.chain import Bins, chain
        from dolma_pipeline.engines.elsewhere import completed, hints_for
        from dolma_pipeline.engines.handshake import own_versions

        options = PipelineOptions(completed(self.runner, self.options))
        pipeline = beam.Pipeline(runner=self.runner, options=options)
        hints = hints_for(self.runner, max_memory=run.recipe.max_memory)
        chain(pipeline, run, phases, Bins(own_versions(), dict(hints)))
        return pipeline


def _in_words(error: Exception) -> str:
    """What a runner says of a pipeline that failed, and the cure of what is known."""
    details = getattr(error, "details", None)  # of gRPC: its own text has a traceback's length
    if callable(details):
        return f"the job server does not answer any more: {' '.join(str(details()).split())}"
    said = f"the pipeline failed: {error}"
    if "No module named 'dolma_pipeline'" in str(error):
        said += (
            "\nThe workers do not have dolma_pipeline. Install the wheel of the launcher's version for them "
            "(pipelines/Dockerfile), and start them anew."
        )
    return said
