"""Whole runs by workers that see nothing of the launcher's machine: the same bytes as here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolma_pipeline.engines.beam import OnBeam
from dolma_pipeline.errors import DataError, StageError
from dolma_pipeline.run import layout, perform
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner import run
from dolma_pipeline.storage.folder import run_folder
from tests.dolma_pipeline.engines.toys import CHAIN, Bad, memory_run, promised, toy_run
from tests.dolma_pipeline.storage.fake_objects import SECRET
from tests.dolma_pipeline.storage.fake_store import Server, serving
from tests.pipeline.pool import ROOT, Pool, pool
from tests.pipeline.test_object_stores import hashes
from tests.pipeline.tiny import MARKS, files, recipe

MIXER = '''\
"""Each source the same share."""
import dolma_pipeline as dp


@dp.mixer("even")
def even(sources, target):
    """Equal shares."""
    filled = [name for name, one in sources.items() if one.size]
    return {name: target // len(filled) if name in filled else 0 for name in sources}
'''
DEADLY = """
import os
import signal
from pathlib import Path


@dp.tagger("deadly_v1", fields={{"length": int}})
def deadly(doc: dp.Document) -> dp.Attributes:
    if not Path({mark!r}).exists():
        Path({mark!r}).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {{"length": len(doc.text)}}
"""
CHANGES = {"modules": ["./marks.py", "./even.py"], "mix__mixer": "even", "mix__target_tokens": 6000}


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with pool(tmp_path_factory.mktemp("pool")) as found:
        yield found


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.fixture
def mixed(here: Path) -> Path:
    """The corpus' folder, with a mixer of the user's."""
    (here / "even.py").write_text(MIXER, encoding="utf-8")
    return here


def plain_toys() -> Run:
    """The toy run, phase by phase, without an engine."""
    toy = memory_run()
    for phase in CHAIN:
        perform.whole(toy, phase)
    return toy


def test_the_same_bytes_with_taggers_and_mixers_that_travel(
    mixed: Path, workers: Pool, server: Server, tmp_path: Path
) -> None:
    run(recipe(tmp_path / "here", **CHANGES), quiet=True)
    one = workers.recipe(server, "run", **CHANGES)
    run(one, quiet=True)
    assert run(one, quiet=True).nothing_to_do
    folder = run_folder("s3://bucket/run", {"endpoint": server.endpoint})
    assert hashes(folder) == files(tmp_path / "here")
    stored = server.objects.buckets["bucket"]
    assert not [key for key, one in stored.items() if SECRET.encode() in one.content or SECRET in str(one)]


def test_what_a_worker_raised_is_told_with_phase_and_task(workers: Pool, server: Server) -> None:
    options = [f"--{name}={value}" for name, value in workers.options().items() if name != "runner"]
    toy = toy_run(run_folder("s3://bucket/toy", {"endpoint": server.endpoint}))
    with pytest.raises(DataError, match=r"^toy/bad, 000003: 000003 is bad$"):
        OnBeam("PortableRunner", options).run(toy, [Bad()])
    OnBeam("PortableRunner", options).run(toy, CHAIN)
    assert promised(toy.folder) == promised(plain_toys().folder)


@pytest.mark.slow
def test_after_a_worker_was_killed_the_same_command_goes_on(
    here: Path, workers: Pool, server: Server, tmp_path: Path
) -> None:
    """It is killed at work: of one that dies idle Beam's own job server hears nothing."""
    mark = tmp_path / "killed"
    (here / "deadly.py").write_text(MARKS + DEADLY.format(mark=str(mark)), encoding="utf-8")
    changes = {"modules": ["./deadly.py"], "tag__taggers": ["length_v1", "marks_v1", "deadly_v1"]}
    one = workers.recipe(server, "killed", **changes)
    with pytest.raises(StageError, match="the pipeline failed"):
        run(one, quiet=True)
    assert mark.exists()
    folder = run_folder("s3://bucket/killed", {"endpoint": server.endpoint})
    assert folder.stat(layout.LOCK) is None
    assert folder.stat("index/manifest.json") is None
    run(one, quiet=True)
    run(recipe(tmp_path / "here", **changes), quiet=True)
    assert hashes(folder) == files(tmp_path / "here")


@pytest.mark.slow
def test_workers_of_another_version_are_refused(here: Path, server: Server, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for package in ("dolma_pipeline", "taggers", "mixers"):
        shutil.copytree(ROOT / package, other / package)
    with open(other / "dolma_pipeline" / "kernels" / "words.py", "a", encoding="utf-8") as kernel:
        kernel.write("# changed\n")
    with pool(tmp_path / "pool", PYTHONPATH=str(other)) as workers:
        with pytest.raises(StageError, match=r"^workers are not made of .* has sources \w+; the worker has sources"):
            run(workers.recipe(server, "run"), quiet=True)


@pytest.mark.slow
def test_models_reach_workers_through_the_run_s_folder(
    here: Path, workers: Pool, server: Server, tmp_path: Path
) -> None:
    only = {"tag": {"taggers": ["language_v1"]}, **dict.fromkeys(("dedupe", "mix", "tokenizer", "tokens"))}
    run(workers.recipe(server, "models", **only), quiet=True)
    run(recipe(tmp_path / "here", **only), quiet=True)
    there = hashes(run_folder("s3://bucket/models", {"endpoint": server.endpoint}))
    assert there == files(tmp_path / "here")
    assert [name.rpartition("/")[2] for name in there if name.startswith("assets/")] == ["lid.176.ftz"]
