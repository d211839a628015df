"""What is compiled of the kernels as they are now: marks beside numba's cache, and no old machine code in it.

Numba stores machine code by function. It compiles a function anew when the function's own file has changed, but not
when a function that it calls, of another file, has. So a note says of which sources the stored code is (content and
time of change, at which numba looks), and when it does not fit, numba's files of this package are removed. A mark a
module says that it is compiled, with this Python, numba and processor. Note and marks lie where NUMBA_CACHE_DIR says,
else beside the modules, else in the user's cache folder.
Cost: some milliseconds, without numba.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from dolma_pipeline.errors import UsageError

PACKAGE = Path(__file__).resolve().parent
"""The folder of the kernels."""


class Compiled:
    """Marks of what is compiled, as of now; made anew where sources may have changed."""

    def __init__(self) -> None:
        sources = sorted(PACKAGE.glob("*.py"))
        digest = hashlib.sha256()
        for path in sources:
            data = path.read_bytes()
            digest.update(f"{path.name} {path.stat().st_mtime_ns} {len(data)}\n".encode() + data)
        state = [platform.python_version(), version("numba"), version("llvmlite"), _processor()]
        self._sources = digest.hexdigest()
        self._name = f"kernels-{hashlib.sha256(os.fsencode(PACKAGE)).hexdigest()[:12]}"
        self._key = hashlib.sha256("\n".join([*state, self._sources]).encode()).hexdigest()[:16]
        self._folders = _folders()

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of some modules whose kernels are not compiled, or whose machine code is not there any more."""
        marked: set[str] = set()
        wanted = list(names)
        for folder in self._folders:
            if _read(folder / self._name) == self._sources:
                places = {name: _read(folder / f"{self._name}-{self._key}-{name}") for name in wanted}
                stored = {place: _stored_modules(place) for place in set(places.values()) if place}
                marked |= {name for name, place in places.items() if place and name in stored[place]}
        return [name for name in wanted if name not in marked]

    def mark(self, name: str) -> None:
        """Say that the kernels of a module are compiled; without effect where nothing can be written."""
        self._write(f"{self._name}-{self._key}-{name}", str(numba_folder()))

    def remove_stale(self) -> None:
        """Remove numba's files of this package if they are not of these sources, and with them all marks.

        Raises:
            UsageError: there are such files, and they belong to another user.
        """
        if any(_read(folder / self._name) == self._sources for folder in self._folders):
            return
        stored = numba_folder()
        old = [path for path in _files(stored) if path.suffix in (".nbi", ".nbc")]
        if old and (not os.access(stored, os.W_OK) or stored.stat().st_uid != os.getuid()):
            raise UsageError(
                f"{stored} holds kernels that were compiled from other sources than those in {PACKAGE}, and belongs "
                f"to another user. Have {len(old)} files *.nbi and *.nbc removed there, or set NUMBA_CACHE_DIR to a "
                "folder of your own."
            )
        marks = [path for folder in self._folders for path in _files(folder) if path.name.startswith(f"{self._name}-")]
        for path in [*marks, *old]:
            path.unlink(missing_ok=True)
        self._write(self._name, self._sources)

    @contextlib.contextmanager
    def locked(self, *, wait: Callable[[], None]) -> Iterator[None]:
        """One process at a time. Without effect where nothing can be written.

        Args:
            wait: called if another process is inside.
        """
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                lock = stack.enter_context((self._writable() / f"{self._name}.lock").open("wb"))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    wait()
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, name: str, text: str) -> None:
        with contextlib.suppress(OSError):
            path = self._writable() / name
            path.with_name(f"{name}.{os.getpid()}").write_text(text, encoding="utf-8")
            path.with_name(f"{name}.{os.getpid()}").replace(path)

    def _writable(self) -> Path:
        """The first folder that can be written to.

        Raises:
            OSError: none of them.
        """
        for folder in self._folders:
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                if os.access(folder, os.W_OK):
                    return folder
        raise PermissionError(f"cannot write to {', '.join(map(str, self._folders))}")


def numba_folder() -> Path:
    """Where numba stores the machine code of this package. Loads numba.

    Raises:
        RuntimeError: numba finds no folder that it can write to.
    """
    from dolma_pipeline.kernels.hashing import mix

    path: str | None = mix.stats.cache_path
    assert path is not None, "kernels are stored: they are declared with cache=True"
    return Path(path)


def _folders() -> list[Path]:
    """Where notes and marks may lie."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return [Path(given)]
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [PACKAGE / "__pycache__", users / "dolma_pipeline"]


def _processor() -> str:
    """Kind of processor and what it can do: numba compiles for just that, or for the one that it is told."""
    if name := os.environ.get("NUMBA_CPU_NAME"):  # an image of workers: what it holds serves on many processors
        return "\n".join([platform.machine(), name, os.environ.get("NUMBA_CPU_FEATURES", "")])
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:  # not on Linux
        return f"{platform.machine()} {platform.processor()}"
    told = sorted(line for line in lines if line.startswith(("model", "flags", "vendor_id", "CPU part", "Features")))
    return "\n".join([platform.machine(), *told])


def _stored_modules(folder: str) -> set[str]:
    """Names of the modules of which numba has an index in a folder."""
    try:
        return {name.partition(".")[0] for name in os.listdir(folder) if name.endswith(".nbi")}
    except OSError:
        return set()


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
