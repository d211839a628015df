"""Ids of a part, whoever wrote it: raw ones, or those of a .npy that has numpy's own header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError

_HEADED = b"\x93NUMPY"
_CHUNK = 1 << 24


def map_ids(path: Path, dtype: np.dtype[Any], *, name: str) -> NDArray[Any]:
    """The ids of a file, mapped.

    Args:
        path: local. dtype: of raw ids; a header says its own. name: what errors call the file.

    Raises:
        DataError: a header of something else than a row of whole numbers, or a size that is no whole number of ids.
    """
    size = path.stat().st_size
    if size == 0:
        return np.zeros(0, dtype)
    with path.open("rb") as file:
        headed = file.read(len(_HEADED)) == _HEADED
    if headed:
        found: NDArray[Any] = np.load(path, mmap_mode="r")
        if found.ndim != 1 or found.dtype.kind not in "iu":
            raise DataError(f"{name}: holds {found.dtype} of shape {found.shape}; expected one row of token ids.")
        return found
    if size % dtype.itemsize:
        raise DataError(
            f"{name}: {size} bytes are not a whole number of {dtype.name} ids; it was cut off, or written with "
            "another dtype (--dtype)."
        )
    return np.memmap(path, dtype, mode="r")


def check_ids(ids: NDArray[Any], num_ids: int, *, name: str) -> None:
    """Every id must be one of the tokenizer's.

    Args:
        num_ids: of the tokenizer. name: of the file.

    Raises:
        DataError: one is not; names the first.
    """
    for first in range(0, len(ids), _CHUNK):
        some = ids[first : first + _CHUNK]
        if int(some.max()) < num_ids and int(some.min()) >= 0:
            continue
        wrong = np.flatnonzero((some >= num_ids) | (some < 0))
        at = int(wrong[0])
        raise DataError(
            f"{name}: id {int(some[at])} at place {first + at}, but this tokenizer's are below {num_ids}. The part "
            "is of another tokenizer, or its ids are of another dtype (--dtype)."
        )
