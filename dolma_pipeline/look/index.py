"""`index`: a suffix table beside token parts, so that texts can be looked up in them.

Below `find/` beside the parts: `tokenized.N`, `offset.N`, `table.N` and `metadata.N`, `metaoff.N` (what is known of
each document, a line of JSON), in the layout that the package infini-gram reads; `tokenizer.json`; and `manifest.json`,
written last. A piece is a part, or of a large one as many documents as are sorted together. What an index that was
stopped has finished is kept, part by part. The same parts give the same bytes.
Cost: 15 to 25 MB of text a CPU-second; memory of one piece (`tokens.suffixes.PIECE_BYTES`); 6 bytes of disk an id.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from itertools import islice
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from dolma_pipeline.errors import UsageError
from dolma_pipeline.io.manifest import digest, pretty
from dolma_pipeline.look.part_documents import PartDocuments
from dolma_pipeline.look.parts import PartAt, TokenParts, opened_folder, parts_of_others, parts_of_run
from dolma_pipeline.runner.lock import RunLock
from dolma_pipeline.storage.committed import Committed
from dolma_pipeline.tokens.ids_file import check_ids, map_ids
from dolma_pipeline.tokens.suffixes import (
    PIECE_BYTES,
    cut_pieces,
    index_dtype,
    require_sorter,
    separated,
    table_chunks,
)

FORMAT = 1
FILES = ("tokenized", "offset", "table", "metadata", "metaoff")
"""Of a piece, each with its number behind a dot."""
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
RECORDS = "made"
"""Where it stands which parts are done, until all are."""

log = logging.getLogger(__name__)


def make_index(
    place: str,
    *,
    tokenizer: str | None = None,
    eos: str | None = None,
    dtype: str | None = None,
    piece_bytes: int = PIECE_BYTES,
) -> tuple[dict[str, Any], bool]:
    """Make the index of a run's token parts, or of a folder of parts; nothing is done where it is there.

    Args:
        place: the folder. tokenizer, eos, dtype: of parts that are no run's, see `parts_of_others`.
        piece_bytes: of ids that are sorted together.

    Returns:
        Its manifest, and whether it was made now.

    Raises:
        UsageError: the extra is missing, nothing can be indexed there, a run is at work, or an option of others' parts.
        DataError: parts that are not what they should be.
    """
    folder, is_run = opened_folder(place)
    given = [name for name, value in (("--tokenizer", tokenizer), ("--eos", eos), ("--dtype", dtype)) if value]
    if is_run and given:
        raise UsageError(f"{place} is a run's folder, which knows that itself; leave out {' and '.join(given)}.")
    require_sorter()
    with RunLock(folder) if is_run else nullcontext():
        if is_run:
            parts = parts_of_run(folder, place)
        else:
            parts = parts_of_others(folder, place, tokenizer=tokenizer, eos=eos, dtype=dtype)
        return _Making(parts, piece_bytes).make()


class _Making:
    """An index at work."""

    def __init__(self, parts: TokenParts, piece_bytes: int) -> None:
        self._parts, self._folder, self._root = parts, parts.folder, parts.index_root
        self._piece_bytes = piece_bytes
        self._dtype = index_dtype(parts.tokenizer.num_ids)
        self._settings: dict[str, Any] = {
            "format": FORMAT,
            "of": parts.state,
            "tokenizer": f"sha256:{parts.tokenizer.sha256}",
            "special": sorted(parts.tokenizer.special_ids),
            "dtype": self._dtype.name,
            "eos": parts.eos,
            "piece_bytes": piece_bytes,
        }
        if parts.normalize:
            self._settings["normalize"] = list(parts.normalize)
        if not all(part.sha256 for part in parts.parts):  # others' parts: nothing but their bytes tells them apart
            self._settings["contents"] = _contents(parts)

    def make(self) -> tuple[dict[str, Any], bool]:
        """See `make_index`."""
        name = f"{self._root}/{MANIFEST}"
        before = orjson.loads(self._folder.read(name)) if self._folder.stat(name) is not None else None
        if before is not None and {key: before[key] for key in self._settings if key in before} == self._settings:
            return before, False
        self._folder.delete([name])
        pieces = list[dict[str, Any]]()
        for number, part in enumerate(self._parts.parts, 1):
            pieces += self._part(part, len(pieces))
            log.info("indexed %s (%d of %d)", part.name, number, len(self._parts.parts))
        if not pieces:
            raise UsageError(f"{self._parts.place}: its token parts hold no documents; there is nothing to look up.")
        self._folder.write(f"{self._root}/{TOKENIZER}", self._parts.tokenizer.json.encode())
        made = {**self._settings, "pieces": pieces}
        self._folder.write(name, pretty(made))
        stay = {name, f"{self._root}/{TOKENIZER}"} | {
            f"{self._root}/{one['name']}" for p in pieces for one in p["files"]
        }
        self._folder.delete([one.name for one in list(self._folder.list(self._root)) if one.name not in stay])
        self._folder.delete_tree(f"{self._root}/{RECORDS}")  # the empty folder, where folders exist by themselves
        return made, True

    def _part(self, part: PartAt, first_number: int) -> list[dict[str, Any]]:
        """The pieces of one part, made now or by an index that was stopped."""
        with self._folder.local(part.name) as path:
            ids = map_ids(path, self._parts.dtype, name=f"{self._folder.url}/{part.name}")
            known = {**self._settings, "part": part.name, "first": first_number, "sha256": _sha256(ids)}
            name = f"{self._root}/{RECORDS}/{part.name}.json"
            if self._folder.stat(name) is not None:
                record = orjson.loads(self._folder.read(name))
                if record["known"] == known:
                    return list(record["pieces"])
            check_ids(ids, self._parts.tokenizer.num_ids, name=f"{self._folder.url}/{part.name}")
            documents = PartDocuments(self._parts, part, ids)
            lines = documents.lines()
            cuts = cut_pieces(documents.ends, width=self._dtype.itemsize, piece_bytes=self._piece_bytes)
            pieces = [
                self._piece(part, first_number + i, ids, documents.ends, cut, lines) for i, cut in enumerate(cuts)
            ]
            self._folder.write(name, orjson.dumps({"known": known, "pieces": pieces}))
            return pieces

    def _piece(
        self,
        part: PartAt,
        number: int,
        ids: NDArray[Any],
        ends: NDArray[np.int64],
        cut: tuple[int, int],
        lines: Iterator[bytes],
    ) -> dict[str, Any]:
        """Write one piece; lines: of its documents and those behind them."""
        first, last = cut
        start, end = int(ends[first - 1]) if first else 0, int(ends[last - 1])
        tokenized, offsets = separated(ids[start:end], ends[first:last] - start, self._dtype)
        with ExitStack() as stack:
            files = {
                kind: stack.enter_context(self._folder.committing(f"{self._root}/{kind}.{number}")) for kind in FILES
            }
            files["tokenized"].write(tokenized)
            files["offset"].write(offsets)
            _write_lines(files["metadata"], files["metaoff"], islice(lines, last - first))
            for chunk in table_chunks(tokenized, width=self._dtype.itemsize):
                files["table"].write(chunk)
        return {
            "part": part.name,
            "first_id": start,
            "documents": last - first,
            "ids": end - start,
            "files": [
                {"name": f"{kind}.{number}", "bytes": file.num_bytes, "sha256": file.sha256}
                for kind, file in files.items()
            ],
        }


def _write_lines(metadata: Committed, offsets: Committed, lines: Iterator[bytes]) -> None:
    """Lines, and the byte at which each begins."""
    at = 0
    while some := list(islice(lines, 10_000)):
        sizes = np.array([len(line) for line in some], np.int64)
        starts = at + np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        metadata.write(b"".join(some))
        offsets.write(starts[:-1].astype("<u8"))
        at = int(starts[-1])


def _contents(parts: TokenParts) -> str:
    """The digest of files of ids and of the tables beside them."""
    found = []
    for part in parts.parts:
        for name in (part.name, f"{part.stem}.parquet", f"{part.stem}.csv.gz"):
            if parts.folder.stat(name) is not None:
                with parts.folder.local(name) as path, path.open("rb") as file:
                    found.append([name, hashlib.file_digest(file, "sha256").hexdigest()])
    return digest(found)


def _sha256(ids: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(ids).data).hexdigest()
