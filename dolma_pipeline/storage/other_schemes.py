"""Inputs of schemes that nobody registered, such as sftp:// and hdfs://, through smart_open: streams only.

No sizes, no versions and no patterns: what smart_open gives is a file to read from its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO
from urllib.parse import urlsplit

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.storage.inputs import BUILT_IN, SCHEMES, InputEntry, InputScheme, register_scheme


class Other(InputScheme):
    """What smart_open reads."""

    lists = False

    def check(self, url: str) -> None:
        """See `InputScheme.check`: a recipe stands in the run's files, so an address holds no password."""
        parts = urlsplit(url)
        if ":" in parts.netloc.rpartition("@")[0]:
            host = parts.netloc.rpartition("@")[2]
            raise UsageError(
                f"an address of {parts.scheme}:// at {host} holds a password and would stand in the run's files. "
                "Copy the file first."
            )

    def stat(self, url: str, settings: Mapping[str, str]) -> InputEntry | None:
        """See `InputScheme.stat`: nothing is asked; a file that is not there is told when it is read."""
        return InputEntry(url, 0, "")

    def stream(self, url: str, settings: Mapping[str, str], start: int = 0) -> BinaryIO:
        """See `InputScheme.stream`: as stored, not decompressed."""
        import ftplib

        import smart_open

        try:
            file: BinaryIO = smart_open.open(url, "rb", compression="disable")
        except ImportError as error:
            raise RunError(f"{url} cannot be read: a module for it is not installed. {error}") from error
        except (ValueError, OSError, EOFError, ftplib.Error) as error:
            raise RunError(f"{url} cannot be read: smart_open says {type(error).__name__}: {error}.") from error
        while start and (passed := file.read(min(start, 1 << 20))):
            start -= len(passed)
        return file


def known_schemes() -> list[str]:
    """Schemes that smart_open says it reads, sorted."""
    from smart_open import transport

    return sorted({*transport.SUPPORTED_SCHEMES} - {""})


def register_known() -> None:
    """Register what smart_open reads and nobody else does."""
    for scheme in known_schemes():
        if scheme not in SCHEMES and scheme not in BUILT_IN:
            register_scheme(scheme, Other())
