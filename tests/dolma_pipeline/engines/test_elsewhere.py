"""Runners by name: what they need, what we set, and where their workers are."""

from __future__ import annotations

import pytest

from dolma_pipeline.engines.elsewhere import (
    advice,
    check_needed,
    class_name,
    completed,
    given_options,
    hints_for,
    is_here,
)
from dolma_pipeline.errors import UsageError

DATAFLOW = ["--project=p", "--region=r", "--temp_location=gs://b/tmp", "--sdk_container_image=gcr.io/p/i"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("dataflow", "DataflowRunner"),
        ("DATAFLOWRUNNER", "DataflowRunner"),
        ("flink", "FlinkRunner"),
        ("apache_beam.runners.direct.direct_runner.DirectRunner", "DirectRunner"),
        ("my.own.Thing", "Thing"),
    ],
)
def test_class_names(name: str, found: str) -> None:
    assert class_name(name) == found


def test_options_as_on_a_command_line() -> None:
    options = ["--a=1", "--b", "2", "--flag", "--c=x=y"]
    assert given_options(options) == {"a": "1", "b": "2", "flag": "", "c": "x=y"}


def test_workers_are_here_or_elsewhere() -> None:
    assert is_here("local", [])
    assert is_here("direct", [])
    assert is_here("PortableRunner", ["--environment_type", "loopback"])
    for runner in ("DataflowRunner", "FlinkRunner", "PortableRunner", "my.own.Thing"):
        assert not is_here(runner, ["--environment_type=EXTERNAL"])


@pytest.mark.parametrize("missing", range(len(DATAFLOW)))
def test_dataflow_is_not_started_without_what_it_needs(missing: int) -> None:
    options = [one for place, one in enumerate(DATAFLOW) if place != missing]
    name = DATAFLOW[missing][2:].partition("=")[0]
    with pytest.raises(UsageError, match=rf"^DataflowRunner needs {name}\. Add to `beam` .*\n  {name}: "):
        check_needed("dataflow", options)
    check_needed("dataflow", DATAFLOW)
    check_needed("FlinkRunner", [])


def test_a_temporary_folder_of_dataflow_is_in_a_bucket() -> None:
    with pytest.raises(UsageError, match=r"^temp_location is /tmp/x; DataflowRunner needs a folder in a bucket"):
        check_needed("DataflowRunner", ["--temp_location=/tmp/x", *(o for o in DATAFLOW if "temp_" not in o)])


def test_options_that_are_set_unless_given() -> None:
    assert completed("dataflow", []) == [
        "--experiments=use_runner_v2",
        "--sdk_location=container",
        "--number_of_worker_harness_threads=1",
        "--no_save_main_session",
    ]
    given = ["--number_of_worker_harness_threads=4", "--experiments=other", "--save_main_session"]
    assert completed("dataflow", given) == [*given, "--sdk_location=container", "--experiments=use_runner_v2"]
    assert completed("FlinkRunner", ["--x=1"]) == ["--x=1"]


def test_hints_are_for_services_that_choose_machines() -> None:
    assert hints_for("dataflow", max_memory=4_000_000_000) == {"min_ram": "5000000000B"}
    assert hints_for("FlinkRunner", max_memory=4_000_000_000) == {}


def test_one_worker_a_node_is_told_of() -> None:
    (sentence,) = advice("flink", ["--environment_type=EXTERNAL"])
    assert sentence.startswith("sdk_worker_parallelism is not set, so FlinkRunner starts one worker process a node")
    assert advice("SparkRunner", []) != []
    assert advice("flink", ["--sdk_worker_parallelism=8"]) == []
    assert advice("dataflow", []) == advice("direct", []) == advice("flink", ["--environment_type=LOOPBACK"]) == []
