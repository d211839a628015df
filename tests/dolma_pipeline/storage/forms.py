"""Every form of a run's folder, for the contract that all of them keep (test_contract.py).

A new form is one entry in `FORMS`: its name, and what opens an empty folder of it. `SHARED` names those that several
processes can work in.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from dolma_pipeline.storage.folder import RunFolder, run_folder
from dolma_pipeline.storage.local import LocalFolder

FORMS: dict[str, Callable[[Path], RunFolder]] = {
    "local": lambda tmp_path: run_folder(str(tmp_path / "run")),
    "local, not durable": lambda tmp_path: LocalFolder(tmp_path / "run", durable=False),
    "memory": lambda tmp_path: run_folder(f"memory://{secrets.token_hex(8)}"),
}

SHARED = ("local", "local, not durable")
