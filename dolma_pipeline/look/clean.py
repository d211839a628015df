"""`clean`: what in a run's folder can be removed, how big it is, and what it costs to have it again.

Only what a run or a command makes again by itself, and what no result needs: results are left alone, signatures too (a
run would find them missing, and read all text again for them). Asked of the folder alone; no recipe is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dolma_pipeline.config.yaml import parse_yaml, plain
from dolma_pipeline.errors import UnknownNameError, UsageError
from dolma_pipeline.look.parts import TOKENS, index_root
from dolma_pipeline.look.table import KIND as TABLE
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import read_manifest
from dolma_pipeline.runner.lock import RunLock
from dolma_pipeline.runner.ready import WORK
from dolma_pipeline.stages.mixes import MIX, mix_of_cache, verdicts_of
from dolma_pipeline.storage.folder import Entry, RunFolder, run_folder
from dolma_pipeline.storage.local import LocalFolder

IDS = "ids"
FOUND = "index"
ORDER = "order"
"""What `train` keeps below cache/ while it is at work."""


@dataclass(frozen=True)
class Kind:
    """Something that can be removed.

    name: as it is asked for. what, costs: for people. unasked: it goes when no kind is named.
    """

    name: str
    what: str
    costs: str
    unasked: bool = True


KINDS = {
    one.name: one
    for one in (
        Kind(TABLE, "the table that --plan and --what-if ask", "the next of them makes it, in seconds"),
        Kind(
            IDS,
            "kept ids: tokens of documents that pass",
            "the next change of rules, budget, seed or tokens reads and encodes all documents that pass",
        ),
        Kind(
            ORDER,
            "orders of large datasets, left by a training that was interrupted",
            "training that goes on makes them again, in seconds to minutes",
            unasked=False,  # torchrun by hand holds no lock of the folder, and may have them mapped
        ),
        Kind(
            FOUND,
            "the index of token parts that `find` looks into",
            "`dolma-pipeline index RUN` makes it again, in minutes a gigabyte of text",
            unasked=False,  # somebody asked for it, and no run makes it
        ),
        Kind("old", "caches of other settings", "nothing, unless those settings come back"),
        Kind("attempts", "files that were never whole, of processes that died", "nothing"),
        Kind(
            "unfinished",
            "records and work files of what is not finished",
            "a run that was stopped does its open phases from their beginning",
            unasked=False,
        ),
    )
}
"""What can be removed, by name, in the order in which it is shown."""


GONE_IDS = Kind(
    IDS,
    "kept ids: tokens of documents that pass",
    "those of files that are gone (`gone` of a source) cannot be had again, and every run that adds files needs them",
    unasked=False,
)
"""Kept ids where the recipe of the last run says that files are gone."""


@dataclass(frozen=True)
class Removable:
    """One kind in one folder. files: their names, but for `attempts`, which have none; num_files, bytes: of them."""

    kind: Kind
    num_files: int
    bytes: int
    files: Sequence[str] = field(default=(), repr=False)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "kind": self.kind.name,
            "files": self.num_files,
            "bytes": self.bytes,
            "what": self.kind.what,
            "costs": self.kind.costs,
            "unasked": self.kind.unasked,
        }


def opened(place: str) -> RunFolder:
    """A run's folder.

    Raises:
        UsageError: there is no run, or the place cannot be used.
    """
    folder = run_folder(place)
    folder.check()
    if folder.stat(layout.SHARDS) is None:
        raise UsageError(f"{place}: no run's folder ({layout.SHARDS} is not there). Give the `output` of a recipe.")
    return folder


def removable(folder: RunFolder, kinds: Sequence[str] = ()) -> list[Removable]:
    """What can be removed of these kinds (default all), those that have no files too.

    Raises:
        UnknownNameError: no such kind.
    """
    for name in kinds:
        if name not in KINDS:
            raise UnknownNameError("kind of removable files", name, KINDS)
    by_kind: dict[str, list[Entry]] = {name: [] for name in KINDS}
    is_current = _current(folder)
    for entry in folder.list(layout.CACHE):
        name = _kind_of(entry.name, is_current)
        if name:
            by_kind[name].append(entry)
    by_kind["unfinished"] += list(folder.list(layout.DONE))
    by_kind[FOUND] += list(folder.list(index_root(TOKENS)))
    known = KINDS | {IDS: GONE_IDS} if _has_gone(folder) else KINDS
    found = []
    for name, entries in by_kind.items():
        if kinds and name not in kinds:
            continue
        count, size = len(entries), sum(entry.size for entry in entries)
        if name == "attempts":
            count, size = _attempts(folder)
        found.append(Removable(known[name], count, size, [entry.name for entry in entries]))
    return found


def remove(folder: RunFolder, some: Sequence[Removable]) -> None:
    """Remove them.

    Raises:
        UsageError: a run is at work in the folder.
    """
    with RunLock(folder):
        for one in some:
            if one.kind.name == "attempts":
                folder.remove_attempts()
            folder.delete(one.files)
        names = [name for one in some for name in one.files]
        places = {
            "/".join(name.split("/")[:depth]) for name in names for depth in (1, 2, 3) if name.count("/") >= depth
        }
        for place in sorted(places, reverse=True):
            if next(folder.list(place), None) is None:
                folder.delete_tree(place)  # empty folders, where folders exist by themselves


def _has_gone(folder: RunFolder) -> bool:
    """Whether the recipe of the folder's last run names files that are gone."""
    if folder.stat(layout.RECIPE) is None:
        return False
    recipe = plain(parse_yaml(folder.read(layout.RECIPE).decode(), f"{folder.url}/{layout.RECIPE}"))
    return any(source.get("gone") for source in recipe["sources"].values())


def _kind_of(name: str, is_current: Callable[[str], bool]) -> str:
    """The kind of a file below cache/; empty for one that finished work needs."""
    cached = name.split("/")[1]
    if cached in (TABLE, IDS, ORDER):
        return cached
    if cached in WORK:
        return "unfinished"
    return "" if is_current("/".join(name.split("/")[:3])) else "old"


def _current(folder: RunFolder) -> Callable[[str], bool]:
    """Whether a cached artifact's folder is one that the verdicts were made from, or is not finished itself."""
    manifests = {
        entry.name.removesuffix("/manifest.json"): read_manifest(folder, entry.name.removesuffix("/manifest.json"))
        for entry in folder.list(layout.CACHE)
        if entry.name.endswith("/manifest.json")
    }
    mixes = {MIX, *(mix for place in manifests if (mix := mix_of_cache(place.split("/")[1])) is not None)}
    verdicts = {mix: read_manifest(folder, verdicts_of(mix)) for mix in mixes}
    if not any(verdicts.values()):
        return lambda place: True
    needed: set[str] = set()
    for mix, made in verdicts.items():
        needed |= set(made["needs"].values()) if made is not None else _digests(manifests, mix)
    for manifest in manifests.values():
        if manifest is not None and manifest["digest"] in needed:
            needed |= set(manifest["needs"].values())
    old = {place for place, manifest in manifests.items() if manifest is not None and manifest["digest"] not in needed}
    return lambda place: place not in old


def _digests(manifests: Mapping[str, Mapping[str, Any] | None], mix: str) -> set[str]:
    """Of the caches of a mix; places are `cache/<kind>/<digest>`."""
    return {found["digest"] for place, found in manifests.items() if found and mix_of_cache(place.split("/")[1]) == mix}


def _attempts(folder: RunFolder) -> tuple[int, int]:
    """How many files were never whole, and their bytes; nothing where the storage does not show them."""
    place = folder.local_path()
    if place is None:
        return 0, 0
    from dolma_pipeline.storage.names import TEMPORARY

    entries = list(LocalFolder(place / TEMPORARY).list())
    return len(entries), sum(entry.size for entry in entries)
