"""Files of documents or items that stages hold a corpus against: found, wherever they are, and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DataError, RunError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.formats import format_of
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.shards import Shard
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
            found.append(FixedFile(name, file.path, sha256_of(file.path)))
        return found

    return process.kept(("fixed files", key), look)


def fixed_documents(process: Process, file: FixedFile, *, whole: str) -> Iterator[Batch]:
    """The documents of a file, all of them, normalized as those of the run are: else equal texts would not meet.

    Args:
        whole: what is read whole, or not at all, such as "A benchmark is".

    Raises:
        DataError: one cannot be read, or the file was changed.
    """
    failures: list[Failure] = []
    shard = Shard(file.name, "fixed", file.name, format_of(file.location).name)
    reader = ShardReader(shard, file.location, report=failures.append, normalize=process.run.recipe.normalize)
    for batch in reader:
        if failures:
            break
        yield batch
    if failures:
        line = "" if failures[0].line is None else f":{failures[0].line}"
        raise DataError(f"{file.location}{line}: {failures[0].reason}. {whole} read whole, or not at all.")
    check_same(file, reader.sha256)


def check_same(file: FixedFile, sha256: str | None) -> None:
    """DataError if what was read of a file is not what was hashed."""
    if sha256 != file.sha256:
        raise DataError(f"{file.location}: the file was changed while the run began. Run again.")


def sha256_of(place: str) -> str:
    """Hexadecimal sha256 of a file, wherever it is.

    Raises:
        UsageError: it is not there, or cannot be read.
    """
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
