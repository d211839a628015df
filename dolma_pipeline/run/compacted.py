"""Copies of done records, thousands in one file: what reads all records of a phase asks for few files.

`.done/<phase>-<digest>/.compacted/<range>-<hash>.jsonl`: the records of tasks whose numbers fall into one range of
`TASKS_A_FILE`, sorted by key. Runners write one when the tasks of a phase are done, from records that traveled; what
single tasks left stays, and decides what is done. A file is named after its content: repeated, it is the same file;
a later try, with other tasks of the range, leaves another one beside it. Whatever is not in any is read by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from dolma_pipeline.storage.folder import RunFolder

COMPACTED = ".compacted"
TASKS_A_FILE = 4_096
"""With records of some hundred bytes to some kilobytes: a file that one process holds with ease."""
FEW = 16
"""So many records are not worth a file more."""


def range_of(number: int) -> int:
    """The file into which the record of a task goes, by the task's number in its phase."""
    return number // TASKS_A_FILE


def write_compacted(folder: RunFolder, under: str, place: int, records: Iterable[bytes]) -> None:
    """Write the records of a range into one file, unless they are few; in any order, and some twice.

    Args:
        under: the folder of the phase's records. place: which range. records: as they were written, one a task.
    """
    lines = sorted({*records})
    if len(lines) < FEW:
        return
    content = b"\n".join([*lines, b""])
    name = hashlib.sha256(content).hexdigest()[:12]
    folder.write(f"{under}/{COMPACTED}/{place:05d}-{name}.jsonl", content)


class Compacted:
    """The compacted records of a phase, to be read in the order of its tasks; holds those of one range.

    Args:
        folder: the run's. under: the folder of the phase's records.
    """

    def __init__(self, folder: RunFolder, under: str) -> None:
        self._folder = folder
        self._names: dict[int, list[str]] = {}
        start = len(under) + len(COMPACTED) + 2
        for entry in folder.list(f"{under}/{COMPACTED}"):
            self._names.setdefault(int(entry.name[start:].partition("-")[0]), []).append(entry.name)
        self._place = -1
        self._records: dict[str, Mapping[str, Any]] = {}
        self._all: dict[str, Mapping[str, Any]] | None = None

    def record(self, number: int, key: str) -> Mapping[str, Any] | None:
        """The record of a task; None if it is in no file.

        Args:
            number: the task's in its phase; asked in ascending order, each file is read once. key: the task's.
        """
        if range_of(number) != self._place:
            self._place = range_of(number)
            self._records = dict(self._read(self._names.get(self._place, ())))
        return self._records.get(key)

    def take(self, key: str) -> Mapping[str, Any] | None:
        """The record of a task whose number nobody knows, once; None if it is in no file. Holds all of them."""
        if self._all is None:
            self._all = dict(self._read(name for names in self._names.values() for name in names))
        return self._all.pop(key, None)

    def _read(self, names: Iterable[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for name in names:
            for line in self._folder.read(name).splitlines():
                record = orjson.loads(line)
                yield record["task"], record
