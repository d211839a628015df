"""Shards of ids as a sequence of training instances, cut as OLMo-core cuts them.

Every file of ids gives `tokens // sequence_length` instances; its tail is dropped, and nothing is joined across
files. Files are taken in the order of their names. Ids are memory-mapped: opening costs one `stat` a file,
an instance is a view. Source: OLMo-core, `data/numpy_dataset.py` (NumpyFSLDataset).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.tokens.index import DocumentSpan, PartIndex

__all__ = ["DocumentSpan", "TokenDataset"]

_DTYPES = ("uint8", "uint16", "uint32")

Ids = NDArray[np.unsignedinteger[Any]]


class TokenDataset(Sequence[Ids]):
    """Instances of `sequence_length` ids.

    Args:
        path: a local folder with `part-*.npy`, such as `tokens/train` or `tokens/held_out/web`.
        sequence_length: ids of an instance.
        dtype: of the files; None takes it from the manifest of the tokens stage, one or two folders up.

    Attributes:
        sequence_length: as given. folder: of the files. dtype: of the ids.
        parts: the files of ids, in order.

    Raises:
        UsageError: a sequence length below 1, or a dtype that is not uint8, uint16 or uint32.
        DataError: no parts, no manifest, other parts than the run's list has, or a file whose size does not fit the
            dtype.
    """

    def __init__(self, path: str | Path, *, sequence_length: int, dtype: DTypeLike | None = None) -> None:
        folder = Path(path)
        if sequence_length < 1:
            raise UsageError(f"instances of {sequence_length} tokens: at least 1 is needed")
        self.sequence_length = sequence_length
        self.folder = folder
        self.parts = sorted(folder.glob("part-*.npy"))
        if not self.parts:
            why = "there is no such folder" if not folder.is_dir() else "the folder has none"
            raise DataError(f"{folder}: no part-*.npy ({why}); the tokens stage writes them")
        if dtype is None:
            _check_listed(folder, self.parts)
        self.dtype = _checked_dtype(np.dtype(dtype).name if dtype is not None else _manifest_dtype(folder), folder)
        self._num_tokens = [_num_tokens(part, self.dtype) for part in self.parts]
        self._starts = np.concatenate([[0], np.cumsum([n // sequence_length for n in self._num_tokens])]).astype(
            np.int64
        )
        self._maps: dict[int, Ids] = {}
        self._indexes: dict[int, PartIndex] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def num_tokens(self) -> int:
        """Ids in all files, dropped tails included."""
        return sum(self._num_tokens)

    @overload
    def __getitem__(self, instance: SupportsIndex) -> Ids: ...
    @overload
    def __getitem__(self, instance: slice) -> list[Ids]: ...
    def __getitem__(self, instance: SupportsIndex | slice) -> Ids | list[Ids]:
        """Ids of an instance, [sequence_length], a read-only view of the file; a list of them for a slice."""
        if isinstance(instance, slice):
            return [self[i] for i in range(*instance.indices(len(self)))]
        part, first = self.place(instance)
        return self._map(part)[first : first + self.sequence_length]

    def take(self, instances: Iterable[SupportsIndex]) -> Ids:
        """Ids of these instances, a copy of [k, sequence_length]."""
        rows = [self[i] for i in instances]
        return np.stack(rows) if rows else np.zeros((0, self.sequence_length), self.dtype)

    def documents(self, instance: int) -> list[DocumentSpan]:
        """The documents in an instance, in order; their spans cover it.

        DataError where the part's .parquet is missing, MisalignedError where it is of another run.
        """
        part, first = self.place(instance)
        if part not in self._indexes:
            path = self.parts[part].with_suffix(".parquet")
            self._indexes[part] = PartIndex(path, num_tokens=self._num_tokens[part])
        return self._indexes[part].spans(first, first + self.sequence_length)

    def num_tokens_of(self, part: int) -> int:
        """Ids in a file, by its place among `parts`."""
        return self._num_tokens[part]

    def place(self, instance: SupportsIndex) -> tuple[int, int]:
        """The part of an instance, by its place among `parts`, and its first token there; IndexError outside."""
        at = instance.__index__()
        index = at + len(self) if at < 0 else at
        if not 0 <= index < len(self):
            raise IndexError(f"instance {at}: the dataset has {len(self)}")
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return part, (index - int(self._starts[part])) * self.sequence_length

    def _map(self, part: int) -> Ids:
        if part not in self._maps:
            self._maps[part] = np.memmap(self.parts[part], self.dtype, mode="r")
        return self._maps[part]

    def __getstate__(self) -> dict[str, Any]:
        """Without open files, so that a dataset can travel to another process."""
        return {**self.__dict__, "_maps": {}, "_indexes": {}}


def _num_tokens(part: Path, dtype: np.dtype[Any]) -> int:
    """Ids in a file; DataError if its size is not a multiple of the dtype's."""
    size = part.stat().st_size
    if size % dtype.itemsize:
        raise DataError(
            f"{part}: {size} bytes are not a whole number of {dtype.name} ids; "
            "it was cut off, or written with another dtype"
        )
    return size // dtype.itemsize


def _check_listed(folder: Path, parts: Sequence[Path]) -> None:
    """DataError if the run's list of parts, where there is one, has others: a part that is lost is not left out."""
    for above in (folder.parent, folder.parent.parent):
        path = above / "shards.jsonl"
        if not ((above / "manifest.json").exists() and path.exists()):
            continue
        outputs = [
            above / one["path"] for line in path.read_bytes().splitlines() for one in json.loads(line)["outputs"]
        ]
        listed = {output for output in outputs if output.parent == folder and output.suffix == ".npy"}
        for part in sorted(listed ^ {*parts}):
            is_there = "is listed there, but is gone" if part in listed else "is there, but is not listed"
            raise DataError(f"{path}: {part} {is_there}. Delete {above} and run the tokens stage again.")
        return


def _manifest_dtype(folder: Path) -> str:
    """`dtype` of the manifest of the tokens stage, at its top or in its `plan`."""
    above = [parent / "manifest.json" for parent in (folder.parent, folder.parent.parent)]
    for path in above:
        if path.exists():
            manifest = json.loads(path.read_text(encoding="utf-8"))
            dtype = manifest.get("dtype") or (manifest.get("plan") or {}).get("dtype")
            if dtype is None:
                raise DataError(f"{path}: has no `dtype`; it is not the manifest of a tokens stage")
            return str(dtype)
    raise DataError(
        f"{folder}: no manifest.json ({' or '.join(map(str, above))}), so the ids' dtype is not known; "
        "the stage may not have finished. Give dtype= for files made elsewhere"
    )


def _checked_dtype(name: str, folder: Path) -> np.dtype[np.unsignedinteger[Any]]:
    if name not in _DTYPES:
        raise UsageError(f"{folder}: ids of dtype {name!r}; shards have one of {', '.join(_DTYPES)}")
    return np.dtype(name).newbyteorder("<")
