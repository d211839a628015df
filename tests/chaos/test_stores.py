"""Whatever an engine repeats, delays or kills, over a run folder on an object store: the same bytes as on a disk."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.run import perform
from dolma_pipeline.storage.folder import RunFolder, run_folder
from tests.chaos.conftest import BUDGET
from tests.chaos.hosting import Host, Undisturbed
from tests.dolma_pipeline.engines import toys
from tests.dolma_pipeline.storage.fake_store import Server, serving
from tests.pipeline.test_object_stores import hashes
from tests.pipeline.tiny import files, tree

pytestmark = pytest.mark.chaos


@dataclass(frozen=True)
class OnStore:
    """Runs on a store. host: who carries them out. tree: what. commits: a file that the undisturbed run writes."""

    host: Host
    server: Server
    tree: dict[str, Any]
    commits: Path

    def __call__(self, scenario: str, **settings: Any) -> tuple[dict[str, Any], RunFolder]:
        """A run under a scenario: its report, its folder."""
        storage = {"endpoint": self.server.endpoint}
        url = f"s3://bucket/{scenario}-{secrets.token_hex(4)}"
        asked = {"tree": {**self.tree, "storage": storage}, "commits": str(self.commits), "output": url, **settings}
        report = self.host(scenario, **asked)
        return report, run_folder(url, storage)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def toy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnStore]:
    folder = tmp_path_factory.mktemp("toys")
    found = OnStore(Host(folder, "toys"), server, {"texts": toys.TEXTS}, folder / "commits.json")
    found("undisturbed")
    yield found
    found.host.end()


@pytest.mark.parametrize("scenario", ["twice", "killed", "stragglers"])
def test_toys(toy: OnStore, scenario: str) -> None:
    report, folder = toy(scenario, seed=1)
    plain = toys.memory_run()
    for phase in toys.CHAIN:
        perform.whole(plain, phase)
    assert toys.promised(folder) == toys.promised(plain.folder)
    done = {what for _, what, *_ in report["notes"]}
    assert {"twice": "planned again", "killed": "killed", "stragglers": "zombie"}[scenario] in done


@pytest.fixture(scope="module")
def whole(host: Host, server: Server, tmp_path_factory: pytest.TempPathFactory) -> OnStore:
    found = OnStore(host, server, tree(**BUDGET), tmp_path_factory.mktemp("whole") / "commits.json")
    found("undisturbed")
    return found


@pytest.mark.parametrize(
    "scenario", ["killed", *(pytest.param(one, marks=pytest.mark.slow) for one in ("twice", "stragglers"))]
)
def test_whole_runs(whole: OnStore, trained: Undisturbed, scenario: str) -> None:
    _, folder = whole(scenario, seed=3)
    assert hashes(folder) == files(trained.folder)
