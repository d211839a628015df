"""What a disk refuses, as one clear error that names the file, the reason and what to do."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from dolma_pipeline.errors import RunError

_CURES = {
    errno.ENOSPC: "Free some space there; the same command goes on from where it was.",
    errno.EDQUOT: "Free some space there; the same command goes on from where it was.",
    errno.EACCES: "Give this user the permission, or use another folder.",
    errno.EPERM: "Give this user the permission, or use another folder.",
    errno.EROFS: "Use a folder on a disk that can be written.",
    errno.ENOTDIR: "A file stands where a folder is needed: take it away, or use another folder.",
    errno.EEXIST: "A file stands where a folder is needed: take it away, or use another folder.",
    errno.EISDIR: "A folder stands where the file is needed: take it away, or use another folder.",
    errno.EXDEV: "A folder inside of a run's folder cannot be a link to another disk.",
    errno.ENAMETOOLONG: "Give the input shorter names.",
    errno.EMFILE: "Allow more open files (ulimit -n).",
    errno.ENFILE: "Allow more open files (ulimit -n).",
}


def refused(verb: str, place: object, error: OSError) -> RunError:
    """The error for a place that cannot be read or written; verb: `read`, `written`, …"""
    reason = (error.strerror or str(error)).lower()
    cure = _CURES.get(error.errno or 0, "The same command goes on from where it was.")
    return RunError(f"{place} cannot be {verb}: {reason}. {cure}")


class MissingFileError(FileNotFoundError):
    """A file elsewhere that is not there; tells of it as the system does of a file of the disk, by `filename`."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def missing_file(place: str, more: str = "") -> MissingFileError:
    """The error for a file that is not there; place: its URL. more: what else is known."""
    return MissingFileError(errno.ENOENT, f"no such file{more}", place)


@contextlib.contextmanager
def told(verb: str, place: object, *, missing: bool = False) -> Iterator[None]:
    """Turns what the system refuses in the block into `refused`.

    Args:
        verb: `read`, `written`, `deleted`. place: which file.
        missing: let FileNotFoundError through, as it is where a file may be absent.
    """
    try:
        yield
    except OSError as error:
        if missing and isinstance(error, FileNotFoundError):
            raise
        raise refused(verb, place, error) from error
