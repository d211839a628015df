"""Compiled kernels before workers start, so that no two of them compile: the one place where engines ask for them."""

from __future__ import annotations

from collections.abc import Sequence

from dolma_pipeline.engines.engine import Say


def load_kernels(kernels: Sequence[str]) -> None:
    """Load kernels in this process, whose copies share them; what is not compiled is compiled."""
    from dolma_pipeline.kernels.warm import warm

    warm(kernels)


def compile_kernels(kernels: Sequence[str], say: Say | None) -> None:
    """Have kernels compiled on disk, by processes of their own, for those that will load them."""
    from dolma_pipeline.kernels.warm import ensure

    ensure(kernels, say=say)


def are_compiled(kernels: Sequence[str]) -> bool:
    """Whether there is nothing to compile."""
    from dolma_pipeline.kernels.warm import is_ready

    return is_ready(kernels)
