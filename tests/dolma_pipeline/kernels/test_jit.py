"""numba is loaded without scipy's linear algebra, which a user's kernel still gets."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from dolma_pipeline.kernels import hashing
assert [name for name in sys.modules if name.startswith("scipy.linalg")] == []
import numpy as np
from numba import njit

@njit
def product(a, b):
    return a @ b

one = np.eye(2) * 3
assert product(one, one).tolist() == [[9.0, 0.0], [0.0, 9.0]]
assert sys.modules["scipy.linalg"].__file__
"""


def test_matrices_are_multiplied_by_scipy_when_someone_asks() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
