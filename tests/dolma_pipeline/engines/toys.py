"""Toy phases over a toy run: engines are tested with these, without any stage. Worker processes import this file."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.errors import DataError
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import Artifact, canonical
from dolma_pipeline.run.compacted import COMPACTED
from dolma_pipeline.run.manifests import close, read_lines
from dolma_pipeline.run.phase import Phase, Record, Task, Work
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.storage.folder import RunFolder, run_folder

RECIPE = "output: run\nsources: {web: {documents: x}}\ntag: {taggers: [length_v1]}\n"
TEXTS = [f"{'the ' * (i % 5)}word {'x' * i} number {i}" for i in range(12)]
WORDS = Artifact("words", "toy", reads={"toy.lower": True}, growing=True)
TOTAL = Artifact("total", "toy", needs=(WORDS,))
HALVES = ("0123456789abcdefghijklm", "nopqrstuvwxyz")


def toy_run(folder: RunFolder, texts: list[str] = TEXTS) -> Run:
    """A run of toy shards, one a text."""
    for number, text in enumerate(texts):
        folder.write(f"in/{number:03d}.txt", text.encode())
    return Run(recipe_from_text(RECIPE), folder, shards_digest=f"sha256:{len(texts)}")


def memory_run() -> Run:
    """A toy run in this process's memory."""
    return toy_run(run_folder(f"memory://{secrets.token_hex(8)}"))


def promised(folder: RunFolder) -> dict[str, bytes]:
    """All files that must be the same in equal runs."""
    names = [entry.name for entry in folder.list()]
    return {name: folder.read(name) for name in names if name.split("/")[0] not in layout.UNPROMISED}


def records_of(folder: RunFolder) -> dict[str, bytes]:
    """All done records, which must be the same, too; without their copies."""
    names = [entry.name for entry in folder.list(layout.DONE)]
    return {name: folder.read(name) for name in names if f"/{COMPACTED}/" not in name}


def events(folder: RunFolder) -> list[tuple[str, str]]:
    """What the run's log says: phase and event, or phase and task."""
    rows = map(orjson.loads, folder.read("log/events.jsonl").splitlines())
    return [(row["step"], row.get("key") or row["event"]) for row in rows]


@dataclass(frozen=True)
class CountWords(Phase):
    """A task a shard: its words, counted. wait: seconds a task takes longer."""

    artifacts: tuple[Artifact, ...] = (WORDS,)
    wait: float = 0.0

    @property
    def name(self) -> str:
        return "toy/words"

    def tasks(self, run: Run) -> Iterator[Task]:
        for entry in run.folder.list("in"):
            yield Task(entry.name[3:], entry.size, {"file": entry.name})

    def work(self, process: Process, task: Task) -> Work:
        text = process.run.folder.read(task.payload["file"]).decode()
        time.sleep(self.wait)
        counts = Counter(text.lower().split())
        with process.run.folder.committing(f"words/{task.key}.json") as file:
            file.write(canonical(counts))
        process.log.add("progress", documents=1, bytes=len(text))
        output = {"path": f"{task.key}.json", "rows": len(counts), "bytes": file.num_bytes, "sha256": file.sha256}
        return Work({"words": [{"shard": task.key, "outputs": [output]}]}, {"words": counts.total()}, 1, len(text))

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        expected = [task.key for task in self.tasks(run)]
        made = (one for record in records for one in record["records"]["words"])
        close(run.folder, WORDS, made, shards_digest=run.shards_digest, expected=expected)


@dataclass(frozen=True)
class Initials(Phase):
    """Two tasks over all counted words: files that the next phase reads, of an artifact that the next phase closes."""

    artifacts: tuple[Artifact, ...] = (TOTAL,)

    @property
    def name(self) -> str:
        return "toy/initials"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"words"})

    def tasks(self, run: Run) -> Iterator[Task]:
        names = [record["outputs"][0]["path"] for record in read_lines(run.folder, "words")]
        for letters in HALVES:
            yield Task(letters, payload=names)

    def work(self, process: Process, task: Task) -> Work:
        found = set[str]()
        for name in task.payload:
            found |= {word for word in orjson.loads(process.run.folder.read(f"words/{name}")) if word[0] in task.key}
        name = layout.cache("initials", TOTAL.digest, f"{task.key}.json")
        process.run.folder.write(name, canonical(sorted(found)))
        return Work(more={"distinct": len(found)}, files=[name])


@dataclass(frozen=True)
class Total(Phase):
    """One task over all of them, done where the plan is."""

    artifacts: tuple[Artifact, ...] = (TOTAL,)
    is_spread: bool = False

    @property
    def name(self) -> str:
        return "toy/total"

    @property
    def spread(self) -> bool:
        return self.is_spread

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"toy/initials"})

    def tasks(self, run: Run) -> Iterator[Task]:
        yield Task("all", payload=[record["outputs"][0]["path"] for record in read_lines(run.folder, "words")])

    def work(self, process: Process, task: Task) -> Work:
        total: Counter[str] = Counter()
        for name in task.payload:
            total.update(orjson.loads(process.run.folder.read(f"words/{name}")))
        parts = [layout.cache("initials", TOTAL.digest, f"{letters}.json") for letters in HALVES]
        distinct = [word for part in parts for word in orjson.loads(process.run.folder.read(part))]
        assert distinct == sorted(total)
        process.run.folder.write("total/words.json", canonical(total))
        return Work(more={"words": total.total()})

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        (words,) = (record["more"]["words"] for record in records)
        close(run.folder, TOTAL, [], shards_digest=run.shards_digest, extra={"words": words})


CHAIN: tuple[Phase, ...] = (CountWords(), Initials(), Total())


def expected_total() -> Counter[str]:
    """What `CHAIN` counts, the plain way."""
    return Counter(" ".join(TEXTS).split())


@dataclass(frozen=True)
class Many(Phase):
    """Many small tasks that leave nothing but their record."""

    label: str = "toy/many"
    num_tasks: int = 10

    @property
    def name(self) -> str:
        return self.label

    def tasks(self, run: Run) -> Iterator[Task]:
        for number in range(self.num_tasks):
            yield Task(f"{number:06d}", weight=1 + number % 7, payload=number)

    def work(self, process: Process, task: Task) -> Work:
        return Work(more={"payload": task.payload})


@dataclass(frozen=True)
class Bad(Many):
    """One task, the plan, or the finish does what it should not.

    act: `data` or `other` raises an error, `kill` kills its process, `exit` ends it well. where: a task, or `plan`,
    `finish`. sleep: seconds that every other task takes.
    """

    label: str = "toy/bad"
    act: str = "data"
    where: str = "000003"
    sleep: float = 0.0

    def tasks(self, run: Run) -> Iterator[Task]:
        self._act("plan")
        return super().tasks(run)

    def work(self, process: Process, task: Task) -> Work:
        self._act(task.key)
        time.sleep(self.sleep)
        return super().work(process, task)

    def finish(self, run: Run, records: Iterator[Record]) -> None:
        self._act("finish")

    def _act(self, where: str) -> None:
        if where != self.where:
            return
        if self.act == "data":
            raise DataError(f"{where} is bad")
        if self.act == "other":
            raise ZeroDivisionError("nothing goes into nothing")
        print("last words of a worker", flush=True)
        if self.act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)


def files_of(folder: Path) -> list[str]:
    """Names of all files below a folder, sorted."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
