"""numba's decorator, loaded without what no kernel of ours uses.

numba asks at its start whether scipy's linear algebra is there, by importing it: 0.2 s of CPU in every process, which
is a sixth of a small run's. Here it is told so without the import; a user's kernel that multiplies matrices loads it
when it is compiled, as ever.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from numba import njit

__all__ = ["njit"]

_ASKING, _ASKED = "numba.np.arraymath", ("scipy.linalg", "scipy.linalg.cython_blas")


def _load() -> None:
    """Import the part of numba that asks, with empty modules in the place of scipy's while it does."""
    if _ASKING in sys.modules or _ASKED[0] in sys.modules or importlib.util.find_spec("scipy") is None:
        return
    if importlib.util.find_spec(_ASKED[0]) is None:
        return
    empty = {name: ModuleType(name) for name in _ASKED}
    sys.modules.update(empty)
    try:
        importlib.import_module(_ASKING)
    finally:
        for name in empty:
            del sys.modules[name]


_load()
