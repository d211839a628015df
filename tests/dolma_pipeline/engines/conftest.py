"""A process that makes workers, for the tests of engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dolma_pipeline.engines.beam import OnBeam
from dolma_pipeline.engines.engine import Engine
from dolma_pipeline.engines.forks import ForkServer, can_fork
from dolma_pipeline.engines.here import Here
from dolma_pipeline.engines.local import Local
from dolma_pipeline.run.process import Process

Forked = Callable[[], Local]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """Ends with the tests of a file: others count the processes that a run leaves."""
    if not can_fork():
        pytest.skip("workers are copies on Linux only")
    with ForkServer() as found:
        yield found


@pytest.fixture
def forked(server: ForkServer) -> Local:
    """The local engine with two workers that are copies."""
    return Local(2, forks=server)


@pytest.fixture(params=["here", "in memory", "two workers", "by name"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Every engine that a test machine has."""
    if request.param == "two workers":
        forked: Local = request.getfixturevalue("forked")
        return forked
    return {"here": Here(), "in memory": Local(), "by name": OnBeam("FnApiRunner")}[request.param]


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    yield
    Process.leave()
