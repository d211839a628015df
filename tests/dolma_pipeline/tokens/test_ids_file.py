"""Ids of files with and without a header, and ids that no tokenizer has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dolma_pipeline.errors import DataError
from dolma_pipeline.tokens.ids_file import check_ids, map_ids

U2 = np.dtype("<u2")


def test_raw_and_headed(tmp_path: Path) -> None:
    np.arange(5, dtype="<u2").tofile(tmp_path / "raw.npy")
    np.save(tmp_path / "headed.npy", np.arange(5, dtype="<u4"))
    (tmp_path / "empty.npy").write_bytes(b"")
    assert map_ids(tmp_path / "raw.npy", U2, name="raw").tolist() == list(range(5))
    headed = map_ids(tmp_path / "headed.npy", U2, name="headed")
    assert (headed.tolist(), headed.dtype.name) == (list(range(5)), "uint32")
    assert len(map_ids(tmp_path / "empty.npy", U2, name="empty")) == 0
    np.save(tmp_path / "floats.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"floats: holds float64 of shape \(3,\); expected one row of token ids"):
        map_ids(tmp_path / "floats.npy", U2, name="floats")


def test_ids_of_another_tokenizer() -> None:
    check_ids(np.array([0, 9], U2), 10, name="part")
    with pytest.raises(DataError, match="part: id 10 at place 1, but this tokenizer's are below 10"):
        check_ids(np.array([0, 10], U2), 10, name="part")
    with pytest.raises(DataError, match="id -1 at place 0"):
        check_ids(np.array([-1], np.int32), 10, name="part")
