"""The pipeline of a whole run as Dataflow gets it, built without a service: names, sizes, options, what travels."""

from __future__ import annotations

import base64
import bz2
import json
import os
import pickletools
from pathlib import Path
from typing import Any

import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms import environments

from dolma_pipeline.engines import Engine, Say
from dolma_pipeline.engines.beam import OnBeam
from dolma_pipeline.run.phase import Phase
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner import run
from tests.dolma_pipeline.storage.fake_objects import KEY_ID, SECRET
from tests.dolma_pipeline.storage.fake_store import serving
from tests.pipeline.tiny import corpus as corpus
from tests.pipeline.tiny import engine, recipe
from tests.pipeline.tiny import here as here

OPTIONS = [
    "--project=project",
    "--region=region",
    "--temp_location=gs://bucket/tmp",
    "--sdk_container_image=region-docker.pkg.dev/project/images/dolma:1",
]


class Stopped(Exception):
    """The run has come to its engine."""


class Caught:
    """An engine that keeps what it was given."""

    def run(self, run: Run, phases: Any, *, say: Say | None = None) -> None:
        self.given: tuple[Run, list[Phase]] = run, list(phases)
        raise Stopped


@pytest.fixture
def asked(here: Path) -> tuple[Run, list[Phase]]:
    """A whole run on a store, as its engine gets it."""
    caught: Any = Caught()
    one: Engine = caught
    with serving() as server, engine(one), pytest.raises(Stopped):
        run(recipe("s3://bucket/run", storage={"endpoint": server.endpoint}), quiet=True)
    return caught.given


def graph(asked: tuple[Run, list[Phase]]) -> Any:
    """The pipeline, as messages."""
    pipeline = OnBeam("DataflowRunner", OPTIONS).pipeline(*asked)
    environment = environments.DockerEnvironment.from_container_image(OPTIONS[-1].partition("=")[2])
    return pipeline.to_runner_api(default_environment=environment), pipeline.options


def functions(proto: Any) -> dict[str, bytes]:
    """Label -> the function that travels, as it is pickled."""
    found = {}
    for one in proto.components.transforms.values():
        if one.spec.urn == "beam:transform:pardo:v1":
            payload = beam_runner_api_pb2.ParDoPayload.FromString(one.spec.payload)
            if payload.do_fn.payload:  # else it is one of Beam's, by name
                found[one.unique_name] = payload.do_fn.payload
    return found


def test_labels_are_unique_and_the_same_in_the_next_launch(asked: tuple[Run, list[Phase]]) -> None:
    labels = [sorted(one.unique_name for one in graph(asked)[0].components.transforms.values()) for _ in range(2)]
    assert labels[0] == labels[1]
    assert len(set(labels[0])) == len(labels[0])
    assert "00 scan: work" in labels[0]
    spread = [phase.name for phase in asked[1] if phase.spread]
    for number, name in enumerate(phase.name for phase in asked[1]):
        steps = ("begin", "plan", "spread", "work", "gather", "compact", "count") if name in spread else ()
        assert {f"{number:02d} {name}: {step}" for step in steps} <= {*labels[0]}


def test_sizes_are_far_from_the_limits_of_a_service(asked: tuple[Run, list[Phase]]) -> None:
    proto, _ = graph(asked)
    sizes = {label: len(content) for label, content in functions(proto).items()}
    assert max(sizes.values()) < 100_000, sizes
    assert proto.ByteSize() < 2_000_000


def test_hints_and_options_are_set(asked: tuple[Run, list[Phase]]) -> None:
    proto, options = graph(asked)
    environments_ = proto.components.environments
    hints = {
        one.unique_name: dict(environments_[one.environment_id].resource_hints)
        for one in proto.components.transforms.values()
        if one.environment_id and one.unique_name.endswith((": work", ": plan"))
    }
    memory = str(asked[0].recipe.max_memory + 1_000_000_000).encode()
    assert hints
    assert {tuple(one.items()) for one in hints.values()} == {(("beam:resources:min_ram_bytes:v1", memory),)}
    given = options.get_all_options()
    assert given["sdk_location"] == "container"
    assert given["number_of_worker_harness_threads"] == 1
    assert "use_runner_v2" in given["experiments"]
    assert not given["save_main_session"]


def test_no_code_travels_by_value(asked: tuple[Run, list[Phase]]) -> None:
    """A function by reference is a module and a name; one by value brings its code, and the name of its file."""
    found = functions(graph(asked)[0])
    assert any(": work" in label for label in found)
    for label, content in found.items():
        words = _words(content)
        assert "__main__" not in words, label
        files = {word for word in words if word.endswith(".py") and "apache_beam" not in word}
        assert files <= {"marks.py", "./marks.py"}, label  # of the user's module: name and place, as the recipe has it


def _words(content: bytes) -> set[str]:
    """All texts in a function as Beam pickles it."""
    pickled = bz2.decompress(base64.b64decode(content))
    return {argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)}


def test_nothing_secret_and_nothing_of_the_environment_travels(
    asked: tuple[Run, list[Phase]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "dummy-token-of-the-environment")
    proto, options = graph(asked)
    content = proto.SerializeToString() + json.dumps(options.get_all_options(), default=str).encode()
    for label, pickled in functions(proto).items():
        words = "\n".join(_words(pickled))
        for secret in (KEY_ID, SECRET, "dummy-token-of-the-environment", os.environ["PATH"]):
            assert secret not in words, label
            assert secret.encode() not in content
