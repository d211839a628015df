"""Files of documents or items that stages hold a corpus against: found, wherever they are, and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.run.process import Process
from dolma_pipeline.storage.inputs import open_stream


@dataclass(frozen=True, slots=True)
class FixedFile:
    """A file. name: below the fixed prefix of its pattern, unique among those of its key. sha256: hex, of its bytes."""

    name: str
    location: str
    sha256: str


def fixed_files(process: Process, key: str, patterns: Sequence[str]) -> list[FixedFile]:
    """The files of patterns, in order; looked at, and hashed, once a process.

    Args:
        key: of the recipe.

    Raises:
        UsageError: a pattern that finds nothing, or a file that cannot be read.
    """

    def look() -> list[FixedFile]:
        found: list[FixedFile] = []
        names: set[str] = set()
        for file in paths.find(patterns, settings=process.run.recipe.input_settings()):
            name = file.relative if file.relative not in names else file.path
            names.add(name)
            found.append(FixedFile(name, file.path, _sha256(file.path)))
        return found

    return process.kept(("fixed files", key), look)


def _sha256(place: str) -> str:
    digest = hashlib.sha256()
    try:
        with open_stream(place) as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except FileNotFoundError:
        raise UsageError(f"{place}: no such file.") from None
    except (RunError, OSError) as error:
        raise UsageError(f"{place}: {error}") from None
    return digest.hexdigest()
