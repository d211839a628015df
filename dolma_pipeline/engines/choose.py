"""Which engine a recipe asks for: this machine's, or a Beam runner by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from dolma_pipeline.config.recipe import Recipe
from dolma_pipeline.engines.beam_options import runner_in
from dolma_pipeline.engines.engine import Engine, Say
from dolma_pipeline.engines.forks import ForkServer, can_fork, shared_taggers
from dolma_pipeline.engines.jobs import Job
from dolma_pipeline.engines.warming import are_compiled, compile_kernels
from dolma_pipeline.engines.workers import num_workers


class EngineChoice:
    """The engine for a run, a context manager: what it starts ends with the block.

    Workers' common process loads while the caller checks the rest, if the kernels that it needs are compiled.

    Args:
        recipe: what is to be run. kernels: names of compiled kernels that the run uses.
        num_bytes, num_shards: of the inputs. beam_options: as on a Beam command line; a runner in them counts.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        kernels: Sequence[str],
        num_bytes: int,
        num_shards: int,
        beam_options: Sequence[str] = (),
    ) -> None:
        self._recipe, self._kernels = recipe, list(kernels)
        self._given = [*(f"--{name}={value}" for name, value in recipe.beam.options.items()), *beam_options]
        self._runner = runner_in(beam_options) or recipe.beam.runner
        self._workers = num_workers(recipe, num_bytes=num_bytes, num_shards=num_shards)
        self._forks: ForkServer | None = None

    def __enter__(self) -> EngineChoice:
        if self._is_forking() and are_compiled(self._kernels):
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._forks is not None:
            self._forks.close()

    def _is_forking(self) -> bool:
        return self._runner == "local" and self._workers > 1 and can_fork()

    def _start(self) -> None:
        shared = shared_taggers(self._recipe)
        has_others = len(shared) < len(self._recipe.tag.taggers if self._recipe.tag else ())
        self._forks = ForkServer(shared, kernels=self._kernels, tidy=has_others)

    @property
    def runner(self) -> str:
        """The runner's name; `local` is this machine."""
        return self._runner

    def engine(self, say: Say | None = None, *, note: Callable[[Job], None] | None = None) -> Engine:
        """The engine; kernels that are not compiled on this machine are compiled first, and people are told.

        note: told of a job that may outlive this process.
        """
        if self._runner != "local":
            from dolma_pipeline.engines.beam import OnBeam

            return OnBeam(self._runner, self._given, note)
        from dolma_pipeline.engines.local import Local

        compile_kernels(self._kernels, say)
        if self._is_forking() and self._forks is None:
            self._start()
        return Local(self._workers, self._given, self._forks)
