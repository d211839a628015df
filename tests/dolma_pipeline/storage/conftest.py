"""A store on loopback, and a folder on it; pauses between repeated requests are short, and no client is left over.

A client holds the credentials that it was made with, and another server of the process may have had the same port.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from dolma_pipeline.storage import object_client
from dolma_pipeline.storage.objects import ObjectFolder
from tests.dolma_pipeline.storage.fake_store import Server, serving


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_client, "FIRST_PAUSE", timedelta(milliseconds=2))
    monkeypatch.setattr(object_client, "_CLIENTS", {})


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


@pytest.fixture
def folder(server: Server) -> ObjectFolder:
    return ObjectFolder("s3://bucket/run", {"endpoint": server.endpoint})
