"""Phases on any Beam runner by name, with the options that it wants. Tasks travel in the elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dolma_pipeline.engines.engine import Say
from dolma_pipeline.engines.logs import join_logs, keeping_logs
from dolma_pipeline.engines.reports import as_error, first_raised
from dolma_pipeline.errors import StageError
from dolma_pipeline.run.phase import Phase
from dolma_pipeline.run.run import Run


@dataclass(frozen=True)
class OnBeam:
    """A runner.

    Args:
        runner: its name, as Beam takes it. options: as on a Beam command line.
    """

    runner: str
    options: Sequence[str] = ()

    def run(self, run: Run, phases: Sequence[Phase], *, say: Say | None = None) -> None:
        """See `Engine.run`. Progress is the runner's own affair."""
        if not phases:
            return
        from dolma_pipeline.engines.beam_options import check_flags, check_runner, import_beam

        check_runner(self.runner)
        check_flags(self.options)
        import_beam()
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        from dolma_pipeline.engines.chain import Bins, chain
        from dolma_pipeline.engines.handshake import own_versions

        join_logs(run.folder)  # what a launcher that died has left
        if say:
            say(f"{len(phases)} phases on {self.runner}")
        with keeping_logs(lambda: join_logs(run.folder)):
            try:
                with beam.Pipeline(runner=self.runner, options=PipelineOptions(list(self.options))) as pipeline:
                    chain(pipeline, run, phases, Bins(own_versions()))
            except Exception as error:
                row = first_raised(run.folder)
                raise (as_error(row) if row else StageError(f"the pipeline failed: {error}")) from error
