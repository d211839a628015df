"""Corpora of any size and shape, out of the collected one; each is written once.

A corpus that is larger than the collected one has repeats of it in which a letter stands for another: half of all words
differ, so no document is a near copy of its original, while lengths, words a line and likeness among the documents of a
repeat are as they were. 15 s for 200 MB.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import orjson
import samples
from isal import igzip

LETTERS = ("", "eo", "eu", "ei", "ea", "ey")
"""Of each repeat: a letter, and what stands in its place; the first is the collected corpus itself."""
MANY = "many"
DOCUMENTS, CHARS = 10, 1_000
"""Of a corpus of many files: documents a file, and code points of each at most."""

Sources = Mapping[str, Sequence[str]]
"""Name -> files or globs."""


class Corpora:
    """Corpora below one folder.

    Args:
        work: the folder; the collected corpus is in `corpus` there.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        self.collected = samples.collected(work / "corpus")

    @property
    def megabytes(self) -> float:
        """10^6 bytes of text in the collected corpus; counted once."""
        known = self.work / "corpus.json"
        state = {
            name: [[Path(p).name, Path(p).stat().st_size] for p in paths] for name, paths in self.collected.items()
        }
        if not known.exists() or json.loads(known.read_text())["files"] != state:
            size = sum(len(text.text.encode()) for text in samples.read(self.collected)) / 1e6
            known.write_text(json.dumps({"files": state, "megabytes": size}))
        return float(json.loads(known.read_text())["megabytes"])

    def of(self, megabytes: float) -> Sources:
        """At least so much text: the first files of each source, or all of them and repeats."""
        share = megabytes / self.megabytes
        if share <= 1:
            return {name: paths[: math.ceil(share * len(paths))] for name, paths in self.collected.items()}
        if math.ceil(share) > len(LETTERS):
            raise SystemExit(f"{megabytes:.0f} MB of text are more than {len(LETTERS)} times what was collected")
        repeats = [self._repeat(number) for number in range(1, math.ceil(share))]
        return {
            name: [*paths, *(path for repeat in repeats for path in repeat[name])]
            for name, paths in self.collected.items()
        }

    def _repeat(self, number: int) -> Sources:
        folder, letters = self.work / f"repeat-{number}", LETTERS[number]
        done = folder / "made"
        if not done.exists():
            table = str.maketrans(letters[0] + letters[0].upper(), letters[1] + letters[1].upper())
            for name, paths in self.collected.items():
                (folder / name).mkdir(parents=True, exist_ok=True)
                for path in paths:
                    _place(folder, name, path, number).write_bytes(_changed(Path(path), number, table))
            done.touch()
        return {
            name: [str(_place(folder, name, path, number)) for path in paths] for name, paths in self.collected.items()
        }

    def files(self, count: int, most: int) -> Sources:
        """So many files of ten documents each, the first of `most` that are written.

        A folder has a tenth of `most`; whole folders are named by globs, so that a recipe stays short.
        """
        folder = self.work / f"{MANY}-{most}"
        done, size = folder / "made", max(1, most // 10)
        if not done.exists():
            pieces = _pieces(self.collected)
            for number in range(most):
                path = folder / f"{number // size:02d}" / f"file-{number:05d}.jsonl.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                rows = ({"id": name, "text": text, "source": "code"} for name, text in islice(pieces, DOCUMENTS))
                path.write_bytes(igzip.compress(b"".join(orjson.dumps(row) + b"\n" for row in rows), 1))
            done.touch()
        whole = [f"{folder}/{number:02d}/*.jsonl.gz" for number in range(count // size)]
        rest = range(count // size * size, count)
        return {"code": [*whole, *(f"{folder}/{n // size:02d}/file-{n:05d}.jsonl.gz" for n in rest)]}


def _place(folder: Path, source: str, path: str, number: int) -> Path:
    """A file of a repeat; its name differs from the original's, for a run knows files by their names."""
    return folder / source / f"repeat-{number}-{Path(path).name}"


def _changed(path: Path, number: int, table: Mapping[int, int]) -> bytes:
    """The documents of a file with other letters and other ids."""
    lines = []
    for line in igzip.decompress(path.read_bytes()).splitlines():
        row = orjson.loads(line)
        row |= {"id": f"{row['id']}-{number}", "text": row["text"].translate(table)}
        lines.append(orjson.dumps(row) + b"\n")
    return bytes(igzip.compress(b"".join(lines), 1))


def _pieces(sources: Sources) -> Iterator[tuple[str, str]]:
    """Names and texts of at most `CHARS` code points, one after the other through the documents of `code`."""
    for text in samples.read({"code": sources["code"]}):
        for start in range(0, len(text.text), CHARS):
            if piece := text.text[start : start + CHARS].strip():
                yield f"{text.name}-{start}", piece
