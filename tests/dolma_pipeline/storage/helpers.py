"""What tests of object folders share."""

from __future__ import annotations

import pytest

from dolma_pipeline.storage.objects import ObjectFolder
from tests.dolma_pipeline.storage.fake_objects import Faults, Stored
from tests.dolma_pipeline.storage.fake_store import Server


def stored(server: Server) -> dict[str, Stored]:
    return server.objects.buckets["bucket"]


def names(folder: ObjectFolder, under: str = "") -> list[str]:
    return [entry.name for entry in folder.list(under)]


class Script(Faults):
    """Faults one after the other, then none."""

    def __init__(self, *faults: str) -> None:
        super().__init__(0)
        self._faults = [*faults]

    def draw(self) -> str:
        with self._lock:
            return self._faults.pop(0) if self._faults else ""


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.delenv(name, raising=False)
