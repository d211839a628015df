"""A whole run whose folder is on an object store: the same bytes as on a disk, through faults of the network, too."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.engines import Engine, Here
from dolma_pipeline.engines.local import Local
from dolma_pipeline.errors import ConfigError, UsageError
from dolma_pipeline.look.plan import plan
from dolma_pipeline.run import layout
from dolma_pipeline.runner import run
from dolma_pipeline.storage import object_client
from dolma_pipeline.storage.folder import RunFolder, run_folder
from tests.dolma_pipeline.storage.emulators import AZURITE, BUCKET, MOTO, azurite, moto
from tests.dolma_pipeline.storage.fake_azure import AzureHandler
from tests.dolma_pipeline.storage.fake_objects import SECRET, Faults
from tests.dolma_pipeline.storage.fake_store import Handler, Server, serving
from tests.pipeline.tiny import engine, files, promised, recipe, tree

EMULATORS = [
    (scheme, endpoint)
    for name, scheme, endpoint in ((MOTO, "s3", moto), (AZURITE, "az", azurite))
    if name in os.environ
]
HANDLERS: dict[str, type[Handler]] = {"s3": Handler, "gs": Handler, "az": AzureHandler}


def hashes(folder: RunFolder) -> dict[str, str]:
    """As `files`, of any folder."""
    names = [entry.name for entry in folder.list() if promised(entry.name)]
    return {name: hashlib.sha256(folder.read(name)).hexdigest() for name in names}


def run_there(server: Server, scheme: str = "s3") -> dict[str, str]:
    """The tiny run on a store, and once more, when nothing is left to do."""
    url = f"{scheme}://bucket/runs/tiny {secrets.token_hex(4)}"
    one = recipe(url, storage={"endpoint": server.endpoint})
    run(one, quiet=True)
    assert run(one, quiet=True).nothing_to_do
    folder = run_folder(url, {"endpoint": server.endpoint})
    assert folder.stat(layout.LOCK) is None
    return hashes(folder)


@pytest.mark.parametrize("scheme", HANDLERS)
def test_the_same_bytes_as_on_a_disk(finished: Path, here: Path, scheme: str) -> None:
    with serving(scheme, HANDLERS[scheme]) as server, engine(Local(1)):
        assert run_there(server, scheme) == files(finished)
        assert not server.objects.uploads
        assert not [key for key in server.objects.buckets["bucket"] if "/.tmp/" in key]


@pytest.mark.parametrize(("scheme", "endpoint"), EMULATORS, ids=[f"emulated {scheme}" for scheme, _ in EMULATORS])
def test_the_same_bytes_on_emulators_of_others(
    finished: Path, here: Path, scheme: str, endpoint: Callable[[], str]
) -> None:
    """Only where `make stores` has brought one."""
    url = f"{scheme}://{BUCKET}/runs/tiny {secrets.token_hex(4)}"
    one = recipe(url, storage={"endpoint": endpoint()})
    with engine(Here()):
        run(one, quiet=True)
        assert run(one, quiet=True).nothing_to_do
    assert hashes(run_folder(url, {"endpoint": endpoint()})) == files(finished)


@pytest.mark.parametrize(
    "one", [Local(2), Here(seed=1, repeated=0.5, again=True)], ids=["two workers", "shuffled and repeated"]
)
def test_the_same_bytes_by_other_engines(finished: Path, here: Path, one: Engine) -> None:
    with serving() as server, engine(one):
        assert run_there(server) == files(finished)


def test_the_same_bytes_through_a_network_that_fails(
    finished: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in ten requests is told that the store is busy, one in twenty is dropped, one in twenty is cut short."""
    monkeypatch.setattr(object_client, "FIRST_PAUSE", timedelta(milliseconds=5))
    with serving() as server, engine(Here()):
        server.objects.faults = Faults(seed=4)
        assert run_there(server) == files(finished)
        assert {*server.objects.faults.seen} == {"busy", "dropped", "lost", "cut"}


def test_no_secret_is_in_any_file_of_a_run(finished: Path, here: Path) -> None:
    with serving() as server, engine(Here()):
        run_there(server)
        stored = server.objects.buckets["bucket"]
        assert len(stored) > 50
        assert not [key for key, one in stored.items() if SECRET.encode() in one.content or SECRET in str(one)]


def test_a_store_that_ignores_conditions_is_refused_before_anything_is_written(here: Path) -> None:
    with serving() as server, engine(Here()):
        server.objects.ignores_conditions = True
        with pytest.raises(UsageError, match=r"this store ignores 'create only if absent'"):
            run(recipe("s3://bucket/run", storage={"endpoint": server.endpoint}), quiet=True)
        assert server.objects.buckets["bucket"] == {}


def test_a_bucket_that_is_not_there_is_told_of_before_anything_starts(here: Path) -> None:
    with serving() as server, pytest.raises(ConfigError, match=r"s3://none does not exist .*Make it, or correct"):
        run(recipe("s3://none/run", storage={"endpoint": server.endpoint}), quiet=True)


def test_a_secret_in_an_output_is_refused_and_not_repeated(here: Path) -> None:
    text = json.dumps({"output": "run", **tree()})
    for url in (f"az://container/run?sig={SECRET}", f"s3://me:{SECRET}@bucket/run"):
        with pytest.raises(ConfigError, match=r"^override 'output=…': output: a URL of \w\w:// names bucket") as caught:
            run(recipe_from_text(text, f"output={url}"), quiet=True)
        assert SECRET not in str(caught.value)


def test_looks_and_dry_runs_write_no_more_than_on_a_disk(here: Path) -> None:
    with serving() as server, engine(Here()):
        one = recipe("s3://bucket/run", storage={"endpoint": server.endpoint})
        run(one, quiet=True, dry_run=True)
        assert server.objects.buckets["bucket"] == {}
        run(one, quiet=True)
        assert plan(one).record()["output"] == "s3://bucket/run"
