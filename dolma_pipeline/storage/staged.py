"""A run's folder on this machine's disk, for training and evaluation, which map tokens and write with torch.

A run whose folder is on this machine is that folder. For one on an object store, what is read is copied to scratch
first, and what is made is put back while it is made: a checkpoint once it is whole, its `commit.json` last, so that
the store never shows half of one. The copy goes with the block; the next run begins with the newest checkpoint of the
store. Scratch must take the tokens, the checkpoints that are read and all that are made.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from dolma_pipeline.storage.faults import told
from dolma_pipeline.storage.folder import COPIED_AT_ONCE, Entry, RunFolder
from dolma_pipeline.storage.scratch import Scratch

POLL_SECONDS = 1.0
"""Between two looks for new checkpoints."""

COMMIT = "commit.json"
_UNNAMED = re.compile(r"\..*\.tmp")
_STEP = re.compile(r"((?:\w+/)?train)/step-(\d{6,})/")
"""A checkpoint of the run's model, or of a stage that goes on with it: `sft/train/step-000200/`."""


@contextlib.contextmanager
def staged(
    folder: RunFolder,
    scratch: Scratch,
    *,
    under: Sequence[str],
    steps: Callable[[list[int]], Sequence[int]],
    keep: Callable[[list[int]], Sequence[int]] = lambda whole: whole,
) -> Iterator[Path]:
    """The run's folder on this machine's disk, for the block; what is made in it is put back.

    Args:
        folder: of the run. scratch: where a copy may lie.
        under: folders in it whose files are read, and files.
        steps: which of the checkpoints that are whole are needed, of the steps of one training in order.
        keep: which of them stay in the store once another one is whole there.

    Raises:
        RunError: the disk or the store refuses.
    """
    place = folder.local_path()
    if place is not None:
        yield place
        return
    copy = scratch.path()
    try:
        _fetch(folder, copy, under, steps)
        returning = _Returning(folder, copy, under=under, keep=keep)
        try:
            with returning:
                yield copy
        finally:
            returning.all()
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _fetch(folder: RunFolder, copy: Path, under: Sequence[str], steps: Callable[[list[int]], Sequence[int]]) -> None:
    """Copy what is read; of checkpoints those that are chosen."""
    entries = [entry for one in under for entry in folder.list(one)]
    entries += [entry for one in under if (entry := folder.stat(one)) is not None]
    whole = _whole(entries)
    wanted = {(training, step) for training, found in whole.items() for step in steps(found)}
    needed = [e for e in entries if (match := _STEP.match(e.name)) is None or (match[1], int(match[2])) in wanted]
    megabytes = sum(entry.size for entry in needed) / 1e6
    print(f"copying {len(needed):,} files, {megabytes:,.0f} MB, from {folder.url}", file=sys.stderr, flush=True)
    for entry in needed:
        _copy(folder, entry, copy / entry.name)


def _whole(entries: Iterable[Entry]) -> dict[str, list[int]]:
    """Steps whose checkpoint is whole, in order, by the folder of the training."""
    commits = (_STEP.match(entry.name) for entry in entries if entry.name.endswith(f"/{COMMIT}"))
    found: dict[str, list[int]] = {}
    for training, step in sorted((match[1], int(match[2])) for match in commits if match):
        found.setdefault(training, []).append(step)
    return found


def _copy(folder: RunFolder, entry: Entry, path: Path) -> None:
    with told("written", path), folder.stream(entry.name) as source:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb") as file:
            shutil.copyfileobj(source, file, COPIED_AT_ONCE)


class _Returning:
    """Puts back what is made in a copy: whole checkpoints while others are made, the rest at the end."""

    def __init__(
        self,
        folder: RunFolder,
        copy: Path,
        *,
        under: Sequence[str],
        keep: Callable[[list[int]], Sequence[int]],
    ) -> None:
        self._folder, self._copy, self._under, self._keep = folder, copy, under, keep
        self._seen = {path: _state(path) for path in _files(copy)}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="checkpoints")
        self._error: BaseException | None = None

    def __enter__(self) -> _Returning:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def all(self) -> None:
        """Put back all that is left, but for checkpoints that are not whole.

        Raises:
            RunError: the store refused something, now or earlier.
        """
        if self._error is not None:
            raise self._error
        self._put_checkpoints()
        self._put(path for path in _files(self._copy) if _STEP.match(self._name(path)) is None)

    def _watch(self) -> None:
        try:
            while not self._ended.wait(POLL_SECONDS):
                self._put_checkpoints()
        except BaseException as error:  # noqa: BLE001 raised where the block ends
            self._error = error

    def _put_checkpoints(self) -> None:
        commits = self._copy.rglob(f"step-*/{COMMIT}")
        named = [(match, one) for one in commits if (match := _STEP.match(self._name(one)))]
        for training, step, commit in sorted((match[1], int(match[2]), one) for match, one in named):
            if self._seen.get(commit) != _state(commit):
                self._put_step(commit.parent)
                # What is known of the steps before it is there when the checkpoint is.
                self._put(self._copy / one for one in self._under if (self._copy / one).is_file())
                self._put(path for path in _files(commit.parents[1]) if not _STEP.match(self._name(path)))
                self._put([commit])
                self._drop_superseded(training, made=step)

    def _drop_superseded(self, training: str, *, made: int) -> None:
        """Take away checkpoints that do not stay, also those that were made before this copy; their commits first.

        Those of later steps than the one that was just made are damaged: training went on from one before them.
        """
        whole = _whole(self._folder.list(training)).get(training, [])
        for step in sorted({*whole} - {*self._keep([one for one in whole if one <= made])}):
            place = f"{training}/step-{step:06d}"
            self._folder.delete([f"{place}/{COMMIT}"])
            self._folder.delete_tree(place)

    def _put_step(self, step: Path) -> None:
        """Put a checkpoint but for its commit, and take away what a put that was killed left of another form of it."""
        paths = [path for path in _files(step) if path.name != COMMIT]
        names = {self._name(path) for path in paths}
        self._folder.delete([e.name for e in list(self._folder.list(self._name(step))) if e.name not in names])
        self._put(paths)

    def _put(self, paths: Iterator[Path] | Sequence[Path]) -> None:
        for path in paths:
            state = _state(path)
            if self._seen.get(path) == state:
                continue
            name = self._name(path)
            if _STEP.match(name):
                self._folder.put(name, path)
            else:
                self._folder.write(name, path.read_bytes())  # it may grow meanwhile
            self._seen[path] = state

    def _name(self, path: Path) -> str:
        return path.relative_to(self._copy).as_posix()


def _files(folder: Path) -> list[Path]:
    """Files below a folder, sorted, but for those that have not got their names yet."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not _UNNAMED.fullmatch(p.name))


def _state(path: Path) -> tuple[int, int]:
    """What tells whether a file was written since."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns
