"""Every form of a run's folder, for the contract that all of them keep (test_contract.py).

A new form is one entry in `FORMS`: its name, and what opens an empty folder of it. `SHARED` names those that several
processes can work in.
"""

from __future__ import annotations

import functools
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from dolma_pipeline.storage.folder import RunFolder, run_folder
from dolma_pipeline.storage.local import LocalFolder
from tests.dolma_pipeline.storage.emulators import AZURITE, BUCKET, MOTO, azurite, moto
from tests.dolma_pipeline.storage.fake_azure import AzureHandler
from tests.dolma_pipeline.storage.fake_store import Handler, Server


@functools.cache
def store(scheme: str) -> Server:
    """A store on loopback, one a process that runs tests."""
    return Server(scheme, AzureHandler if scheme == "az" else Handler, page_size=7)


def on_store(scheme: str) -> RunFolder:
    """An empty folder there; its prefix has characters that URLs write in another way."""
    return run_folder(
        f"{scheme}://bucket/runs of a+b/100%/é-{secrets.token_hex(8)}", {"endpoint": store(scheme).endpoint}
    )


def on_emulator(scheme: str, endpoint: str) -> RunFolder:
    """An empty folder on another's emulator."""
    return run_folder(f"{scheme}://{BUCKET}/runs of a+b/100%/é-{secrets.token_hex(8)}", {"endpoint": endpoint})


FORMS: dict[str, Callable[[Path], RunFolder]] = {
    "local": lambda tmp_path: run_folder(str(tmp_path / "run")),
    "local, not durable": lambda tmp_path: LocalFolder(tmp_path / "run", durable=False),
    "memory": lambda tmp_path: run_folder(f"memory://{secrets.token_hex(8)}"),
    "s3": lambda tmp_path: on_store("s3"),
    "gs": lambda tmp_path: on_store("gs"),
    "az": lambda tmp_path: on_store("az"),
}

if MOTO in os.environ:
    FORMS["moto"] = lambda tmp_path: on_emulator("s3", moto())
if AZURITE in os.environ:
    FORMS["azurite"] = lambda tmp_path: on_emulator("az", azurite())

SHARED = tuple(form for form in FORMS if form != "memory")
