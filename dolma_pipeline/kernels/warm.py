"""Compiles every kernel once, before any worker starts; workers then load the machine code from numba's cache.

Without it each worker would compile for itself (seconds of CPU each). The cache lies beside the modules, or where
NUMBA_CACHE_DIR says if they cannot be written to. Cost: some 10 s of CPU on a new installation, then about one.
"""

from __future__ import annotations

import importlib

MODULES = (
    "dolma_pipeline.kernels.words",
    "dolma_pipeline.kernels.lines",
    "dolma_pipeline.kernels.spans",
    "dolma_pipeline.kernels.gopher",
    "dolma_pipeline.kernels.repetition",
    "dolma_pipeline.kernels.c4",
    "dolma_pipeline.kernels.components",
    "dolma_pipeline.kernels.edit",
    "dolma_pipeline.kernels.fasttext",
    "dolma_pipeline.kernels.minhash",
    "dolma_pipeline.kernels.json_lines",
    "dolma_pipeline.kernels.scan",
)
"""Modules with kernels; each has `warm() -> None`, which calls its kernels with the types that they run with."""


def warm() -> None:
    """Compiles the kernels of MODULES, or loads them from numba's cache."""
    for name in MODULES:
        importlib.import_module(name).warm()
