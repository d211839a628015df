"""Compiles every kernel once, before any worker starts; workers then load the machine code from numba's cache.

Without it each worker would compile for itself (seconds of CPU each). The cache lies beside the modules, or where
NUMBA_CACHE_DIR says if they cannot be written to. Cost: some 10 s of CPU on a new installation, then about one.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

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


def warm_once() -> None:
    """`warm`, unless it was done since the kernels' files, numba or the kind of machine changed.

    Loading what is compiled costs two seconds, which a launcher that only starts workers need not pay. A stamp lies
    beside numba's cache and goes with it; where it cannot be written, `warm` runs each time.
    """
    stamp = _stamp()
    if stamp.is_file():
        return
    warm()
    with contextlib.suppress(OSError):
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()


def _stamp() -> Path:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    state = [platform.machine(), platform.python_version(), version("numba"), version("llvmlite")]
    state += [f"{path.name} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in sources]
    folder = os.environ.get("NUMBA_CACHE_DIR") or Path(__file__).parent / "__pycache__"
    return Path(folder) / f"warm-{hashlib.sha256(chr(10).join(state).encode()).hexdigest()[:16]}"
