"""Chooses documents from what is installed and writes them as Dolma documents, four sources beside each other.

    code      *.py of the standard library and of installed packages
    docs      docstrings of modules, classes and functions as pages, and the topics of Python's own `help()`
    readme    the long descriptions of installed packages
    licence   licence files: near-duplicates galore

The same environment gives the same bytes: documents are drawn in the order of a hash of their name until a
source is full (`SOURCES`), then written sorted by name, without clock or compression time stamps.
Costs about 7 s and 150 MB of memory for the defaults (some 28 MB of text); most of it is parsing for `docs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from pydoc_data.topics import topics

import orjson
from xxhash import xxh3_64_intdigest, xxh3_128_hexdigest

from dolma_pipeline.demo.environment import InstalledFile, InstalledPackage, Package, installed_packages
from dolma_pipeline.demo.pages import documentation_page, is_documented, module_name
from dolma_pipeline.io.jsonl import write_lines

SOURCES: Mapping[str, int] = {"code": 18_000_000, "docs": 8_000_000, "readme": 4_000_000, "licence": 4_000_000}
"""The sources, and how many bytes of text each may have at most unless `max_bytes` says otherwise."""

SHARD_BYTES = 4_000_000
"""A shard is closed once it holds this many bytes of text."""

ADDED = "2026-01-01T00:00:00.000Z"
"""`added` and `created` of every document: a constant, because the files' own times differ between machines."""

_LICENCE_FILE = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicen[cs]e)", re.IGNORECASE)
_NO_LICENCE_SUFFIXES = (".py", ".pyc", ".pyi", ".so", ".pyd", ".json", ".html")


@dataclass(frozen=True, slots=True)
class SourceCount:
    """What became of one source.

    documents, bytes: written (bytes of UTF-8 text).
    skipped: empty, not UTF-8, reached through a link; for `docs` also code with little to say or that does not parse.
    left_out: did not fit into the source any more.
    """

    documents: int
    bytes: int
    skipped: int
    left_out: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A possible document: `num_bytes` is what is known of its size without reading it (0: nothing)."""

    name: str
    package: Package
    path: str
    url: str
    file: InstalledFile | None = None
    text: str = ""

    @property
    def num_bytes(self) -> int:
        return len(self.text.encode()) if self.file is None else self.file.num_bytes


def collect(out: Path, *, max_bytes: int | None = None) -> dict[str, SourceCount]:
    """Writes `out/<source>/part-0000.jsonl.gz` and so on, and says what it wrote.

    Args:
        out: the folder; made if it is not there. Shards of an earlier call are replaced, one at a time and whole.
        max_bytes: of UTF-8 text a source may have; None: as `SOURCES` says.
    """
    packages = list(installed_packages())
    counts: dict[str, SourceCount] = {}
    for source, default in SOURCES.items():
        candidates = _candidates(source, packages)
        chosen, skipped, left_out = _choose(source, candidates, max_bytes=default if max_bytes is None else max_bytes)
        _write(out / source, source, chosen)
        total = sum(len(text.encode()) for _, text in chosen)
        counts[source] = SourceCount(len(chosen), total, skipped, left_out)
    return counts


def _candidates(source: str, packages: Iterable[InstalledPackage]) -> Iterator[_Candidate]:
    for installed in packages:
        package = installed.package
        if source == "readme":
            if installed.description:
                yield _Candidate(package.name, package, "METADATA", package.url, text=installed.description)
            continue
        for file in installed.files:
            if source == "licence":
                wanted = _LICENCE_FILE.match(PurePosixPath(file.path).name) is not None
                wanted = wanted and not file.path.endswith(_NO_LICENCE_SUFFIXES)
            else:
                wanted = file.path.endswith(".py") and (source == "code" or module_name(file.path) is not None)
            if wanted:
                yield _Candidate(file.name, package, file.path, _url(source, file), file=file)
        if source == "docs" and package.name == "python":
            for topic, text in topics.items():
                url = f"https://docs.python.org/{_minor(package)}/reference/index.html"
                yield _Candidate(f"python/help/{topic}", package, "pydoc_data/topics.py", url, text=text.strip() + "\n")


def _choose(
    source: str, candidates: Iterable[_Candidate], *, max_bytes: int
) -> tuple[list[tuple[_Candidate, str]], int, int]:
    """Documents in the order of their names, how many could not be used, and how many did not fit."""
    chosen: list[tuple[_Candidate, str]] = []
    room, skipped, left_out = max_bytes, 0, 0
    full = False
    for candidate in sorted(candidates, key=lambda c: (xxh3_64_intdigest(c.name.encode()), c.name)):
        if full or (source != "docs" and candidate.num_bytes > room):
            left_out += 1
            continue
        text = _text(source, candidate)
        if text is None or not text.strip():
            skipped += 1
        elif len(text.encode()) > room:
            left_out += 1
            full = source == "docs"  # a page's size is known only after parsing: stop at the first that is too long
        else:
            chosen.append((candidate, text))
            room -= len(text.encode())
    return sorted(chosen, key=lambda c: c[0].name), skipped, left_out


def _text(source: str, candidate: _Candidate) -> str | None:
    if candidate.file is None:
        return candidate.text
    text = candidate.file.read() if candidate.file.is_plain() else None
    if source != "docs" or text is None:
        return text
    name = module_name(candidate.path)
    return documentation_page(name, text) if name and is_documented(text) else None


def _url(source: str, file: InstalledFile) -> str:
    if file.package.name != "python":
        return file.package.url
    if source == "docs":
        module = file.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        return f"https://docs.python.org/{_minor(file.package)}/library/{module}.html"
    return f"https://github.com/python/cpython/blob/v{file.package.version}/Lib/{file.path}"


def _minor(package: Package) -> str:
    return ".".join(package.version.split(".")[:2])


def _write(folder: Path, source: str, chosen: Iterable[tuple[_Candidate, str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    written: set[str] = set()
    lines: list[bytes] = []
    size = 0

    def close() -> None:
        name = f"part-{len(written):04d}.jsonl.gz"
        write_lines(folder / name, lines)
        written.add(name)
        lines.clear()

    for candidate, text in chosen:
        lines.append(_line(source, candidate, text))
        size += len(text.encode())
        if size >= SHARD_BYTES:
            close()
            size = 0
    if lines:
        close()
    for stale in folder.glob("part-*.jsonl.gz"):
        if stale.name not in written:
            stale.unlink()


def _line(source: str, candidate: _Candidate, text: str) -> bytes:
    package = candidate.package
    document = {
        "id": f"{source}-{xxh3_128_hexdigest(candidate.name.encode())}",
        "text": text,
        "source": source,
        "added": ADDED,
        "created": ADDED,
        "metadata": {
            "license": package.license,
            "package": package.name,
            "path": candidate.path,
            "url": candidate.url,
            "version": package.version,
        },
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
