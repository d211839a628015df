"""Steps on Beam: the embedded runner by name, or another one with its options.

One worker: in memory, in this process. More: `multi_processing`, one process each, under the watchdog; on Linux they
are copies of one process, made by `forks`. The steps are one pipeline.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.runner.beam_options import import_beam, runner_in
from dolma_pipeline.runner.check import check_beam
from dolma_pipeline.runner.forks import ForkServer, worker_variables
from dolma_pipeline.runner.progress import Progress
from dolma_pipeline.runner.watchdog import run_guarded
from dolma_pipeline.stages.context import RunContext
from dolma_pipeline.stages.step import Step
from dolma_pipeline.train.processes import num_cores

SMALL_BYTES = 40_000_000
"""Inputs up to this size are worked on in one process: starting workers costs more than they save."""


def num_workers(recipe: Recipe, *, num_bytes: int, num_shards: int) -> int:
    """Worker processes: as the recipe says; auto: 1 for small input, else one a core, but not more than shards."""
    if recipe.workers != "auto":
        return recipe.workers
    if num_bytes <= SMALL_BYTES:
        return 1
    return max(1, min(num_cores(), num_shards))


def run_on_beam(
    context: RunContext,
    steps: Sequence[Step],
    *,
    workers: int,
    beam_options: Sequence[str] = (),
    quiet: bool = False,
    forks: ForkServer | None = None,
) -> None:
    """Run steps in order.

    Args:
        context: the run. steps: what is to be done. workers: processes of the embedded runner.
        beam_options: as on a Beam command line; with a runner in them, or in the recipe, that one is used.
        quiet: show no progress.
        forks: makes the workers; without it Beam starts each by itself.

    Raises:
        UsageError: a runner or an option that Beam does not have.
        RunError: a worker died or a stage raised.
    """
    check_beam(context.recipe, beam_options)
    recipe = context.recipe.beam
    given = [*(f"--{name}={value}" for name, value in recipe.options.items()), *beam_options]
    progress = Progress(context, [step.name for step in steps], quiet=quiet)
    named = runner_in(beam_options) or recipe.runner
    if named != "local":
        import_beam()
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        with beam.Pipeline(runner=named, options=PipelineOptions(given)) as pipeline:
            _compose(pipeline, steps, num_bins=max(64, workers))
        progress.close()
        return
    log = context.path / "log"
    log.mkdir(exist_ok=True)
    pipeline = _local_pipeline(given, steps, workers=workers)
    with _environment(worker_variables()), progress:
        run_guarded(
            lambda: pipeline.run().wait_until_finish(),
            raised=log / "raised.jsonl",
            said=log / "workers.txt",
            each_poll=progress.poll,
            forks=forks,
        )


def _local_pipeline(given: Sequence[str], steps: Sequence[Step], *, workers: int) -> Any:
    import_beam()
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    mode = "in_memory" if workers == 1 else "multi_processing"
    options = PipelineOptions(list(given), direct_num_workers=workers, direct_running_mode=mode)
    pipeline = beam.Pipeline(runner=_embedded_runner(), options=options)
    _compose(pipeline, steps, num_bins=workers, take_turns=workers > 1)
    return pipeline


def _compose(pipeline: Any, steps: Sequence[Step], *, num_bins: int, take_turns: bool = False) -> None:
    import apache_beam as beam

    from dolma_pipeline.transforms import stages

    transforms = {
        "tag": stages.TagShards,
        "dedupe": stages.DedupeShards,
        "tokenizer": stages.RunSteps,
        "mix": stages.MixShards,
        "tokens": stages.TokenizeShards,
    }
    before = pipeline | "begin" >> beam.Create([None])
    for stage in dict.fromkeys(step.stage for step in steps):
        mine = [step for step in steps if step.stage == stage]
        before = before | stage >> transforms[stage](mine, num_bins=num_bins, take_turns=take_turns)


def _embedded_runner() -> Any:
    """Beam's own runner by name (the automatic choice tries a download), its workers quiet."""
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
    from google.protobuf import struct_pb2

    options = struct_pb2.Struct()
    options.update({"beam:option:default_sdk_harness_log_level:v1": "ERROR"})
    info = beam_provision_api_pb2.ProvisionInfo(retrieval_token="unused-token", pipeline_options=options)
    return FnApiRunner(provision_info=ExtendedProvisionInfo(info))


class _environment:
    """Environment variables for the processes started inside the block."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values

    def __enter__(self) -> None:
        self.old = {name: os.environ.get(name) for name in self.values}
        os.environ.update(self.values)

    def __exit__(self, *_: object) -> None:
        for name, value in self.old.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
