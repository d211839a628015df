"""What is installed: the standard library and the distributions of the running Python, as lists of files.

Only files inside the library folders are named (never scripts, headers or anything reached through a link),
in an order that depends on nothing but their names. Distributions that are being edited (installed with
`pip install -e`) and this toolkit itself are left out, so that writing code does not change the corpus.
Costs about a second for 20,000 files: names come from the RECORD of each distribution, no folder is walked
but the standard library's.
"""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath
from platform import python_version

import orjson

OURSELVES = "dolma-pipeline"
UNKNOWN = "unknown"
_HOME_LABELS = ("homepage", "home", "documentation", "docs", "source", "repository", "source code", "github")


@dataclass(frozen=True, slots=True)
class Package:
    """Something installed: the standard library, or one distribution.

    name: normalised as in PEP 503; "python" for the standard library.
    url: where the package says it lives, else its package URL (`pkg:pypi/…`).
    license: an SPDX expression where the package states one, else its own words, else "unknown".
    """

    name: str
    version: str
    url: str
    license: str


@dataclass(frozen=True, slots=True)
class InstalledFile:
    """One file of a package. `path` is relative to the library folder `root`, with forward slashes."""

    package: Package
    root: Path
    path: str

    @property
    def name(self) -> str:
        """`package/path`: names the file the same in every installation of that version."""
        return f"{self.package.name}/{self.path}"

    @property
    def num_bytes(self) -> int:
        """Size on disk; 0 for what is missing, empty or not a plain file inside `root`."""
        return os.path.getsize(self.root / self.path) if self.is_plain() else 0

    def is_plain(self) -> bool:
        """Whether it is a file that lies inside `root` itself and is reached through no link."""
        file = os.path.join(self.root, self.path)
        return os.path.isfile(file) and os.path.realpath(file) == file

    def read(self) -> str | None:
        """The text, or None if it is not UTF-8."""
        try:
            return (self.root / self.path).read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            return None


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    """A package with its long description (README, "" if none) and all its files, sorted by path."""

    package: Package
    description: str
    files: tuple[InstalledFile, ...]


def installed_packages() -> Iterator[InstalledPackage]:
    """The standard library, then every distribution of the running environment by name."""
    yield standard_library()
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    seen: set[tuple[Path, str]] = set()
    for distribution in sorted(distributions(path=folders), key=lambda d: (_normalised(d.name), d.version)):
        if _normalised(distribution.name) == OURSELVES or _is_editable(distribution):
            continue
        package = _describe(distribution)
        root = Path(os.path.realpath(str(distribution.locate_file(""))))
        paths = {str(PurePosixPath(path)) for path in distribution.files or ()}
        inside = sorted(p for p in paths if ".." not in PurePosixPath(p).parts and (root, p) not in seen)
        seen.update((root, path) for path in inside)
        files = tuple(InstalledFile(package, root, path) for path in inside if not os.path.isabs(path))
        yield InstalledPackage(package, _description(distribution), files)


def standard_library() -> InstalledPackage:
    """The standard library of the running Python, without what is installed below it."""
    root = Path(os.path.realpath(sysconfig.get_path("stdlib")))
    package = Package("python", python_version(), "https://www.python.org/", "PSF-2.0")
    paths: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - {"__pycache__", "site-packages", "dist-packages"})
        paths += [(Path(folder) / name).relative_to(root).as_posix() for name in names]
    return InstalledPackage(package, "", tuple(InstalledFile(package, root, path) for path in sorted(paths)))


def _describe(distribution: Distribution) -> Package:
    name = _normalised(distribution.name)
    url = _url(distribution) or f"pkg:pypi/{name}@{distribution.version}"
    return Package(name, distribution.version, url, _license(distribution))


def _url(distribution: Distribution) -> str:
    labelled: dict[str, str] = {}
    for entry in distribution.metadata.get_all("Project-URL") or []:
        label, _, url = entry.partition(",")
        labelled.setdefault(label.strip().lower(), url.strip())
    home = [url for url in distribution.metadata.get_all("Home-page") or [] if url.startswith("http")]
    known = home + [labelled[label] for label in _HOME_LABELS if label in labelled] + sorted(labelled.values())
    return known[0] if known else ""


def _license(distribution: Distribution) -> str:
    metadata = distribution.metadata
    for expression in metadata.get_all("License-Expression") or []:
        return str(expression)
    classifiers = [c.split(" :: ")[-1] for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
    words = [w for w in metadata.get_all("License") or [] if "\n" not in w and 0 < len(w) <= 100]
    stated = classifiers or words
    return " AND ".join(sorted(set(stated))) if stated else UNKNOWN


def _description(distribution: Distribution) -> str:
    header = distribution.metadata.get_all("Description") or []
    text = header[0] if header else distribution.metadata.json.get("description", "")
    return text.strip() if isinstance(text, str) else ""


def _is_editable(distribution: Distribution) -> bool:
    origin = distribution.read_text("direct_url.json")
    return bool(origin and orjson.loads(origin).get("dir_info", {}).get("editable"))


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
