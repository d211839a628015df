"""Tables are read-only, and cost nothing to import."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from dolma_pipeline.kernels.tables import empty_tokens, read_only, sealed_tokens


def test_read_only_shares_memory_and_leaves_the_original_alone() -> None:
    array = np.arange(4)
    view = read_only(array)
    assert np.shares_memory(array, view)
    assert (array.flags.writeable, view.flags.writeable) == (True, False)
    assert read_only(view) is view
    assert read_only(array[::2]).flags.c_contiguous


def test_a_sealed_table_has_its_first_tokens() -> None:
    arrays = empty_tokens(3, 10)
    arrays["rows"][:] = [0, 4, 4, 4]
    for name in ("starts", "ends", "hashes", "chars", "flags"):
        arrays[name][:4] = [5, 6, 7, 8]
    table = sealed_tokens(arrays, 4)
    assert table.rows.tolist() == [0, 4, 4, 4]
    assert [column.tolist() for column in table[1:]] == [[5, 6, 7, 8]] * 5
    assert not any(column.flags.writeable for column in table)


def test_tables_load_without_numba() -> None:
    code = "import sys, dolma_pipeline.kernels.tables; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
