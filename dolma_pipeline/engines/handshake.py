"""Whether a worker is made of what the launcher is made of: else it would make other bytes, or none.

The launcher's versions travel with the pipeline; a worker compares them with its own before its first task. Sources
are compared, too, kernels and taggers among them: a checkout changes without its version.
Cost: reading this library's sources once a process, some 30 ms.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dolma_pipeline import __version__
from dolma_pipeline.errors import StageError
from dolma_pipeline.registry import HOME

PACKAGES = ("dolma_pipeline", "taggers", "mixers")
"""Whose sources shape the bytes of a run."""


@dataclass(frozen=True)
class Versions:
    """What shapes the bytes that a process makes: versions, as people know them, and a hash of this library's sources.

    python: major and minor.
    """

    dolma_pipeline: str
    sources: str
    python: str
    beam: str
    pyarrow: str
    numpy: str
    duckdb: str
    tokenizers: str


@functools.cache
def own_versions() -> Versions:
    """Those of this process."""
    return Versions(
        dolma_pipeline=__version__,
        sources=_sources(HOME),
        python=".".join(platform.python_version_tuple()[:2]),
        beam=_version("apache-beam"),
        pyarrow=_version("pyarrow"),
        numpy=_version("numpy"),
        duckdb=_version("duckdb"),
        tokenizers=_version("tokenizers"),
    )


def compare(launcher: Versions) -> None:
    """Refuse to work where anything differs from the launcher.

    Raises:
        StageError: names what differs, on both sides, and what to do.
    """
    worker = own_versions()
    names = [one.name for one in fields(Versions) if getattr(launcher, one.name) != getattr(worker, one.name)]
    if not names:
        return
    sides = [
        f"the {side} has " + ", ".join(f"{name} {getattr(one, name)}" for name in names)
        for side, one in (("launcher", launcher), ("worker", worker))
    ]
    raise StageError(
        f"workers are not made of what the launcher is made of: {'; '.join(sides)}. They would make other bytes. "
        "Install the same wheel of dolma-pipeline with the same constraints.txt on both sides (pipelines/Dockerfile), "
        "start the workers anew, and give the same command again."
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _sources(home: Path) -> str:
    """A hash of the sources below a folder, 12 hex digits."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((home / package).rglob("*.py")):
            digest.update(f"{path.relative_to(home).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]
