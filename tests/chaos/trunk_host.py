"""`host.py`, over the phases of `trunk.py`."""

from __future__ import annotations

import sys

from tests.chaos import trunk

sys.modules["tests.chaos.adapter"] = trunk

from tests.chaos import host  # noqa: E402 it imports the adapter

if __name__ == "__main__":
    host.main()
