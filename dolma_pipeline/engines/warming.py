"""Compiled kernels before workers start, so that no two of them compile: the one place where engines ask for them."""

from __future__ import annotations


def load_kernels() -> None:
    """Compile the kernels, or load them, in this process, whose copies share them."""
    from dolma_pipeline.kernels.warm import warm

    warm()


def compile_kernels() -> None:
    """Have the kernels compiled on disk for processes that will load them."""
    from dolma_pipeline.kernels.warm import warm_once

    warm_once()
