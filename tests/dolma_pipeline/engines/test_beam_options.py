"""Runners and options by name."""

from __future__ import annotations

import logging

import pytest

from dolma_pipeline.engines.beam_options import check_flags, check_runner, runner_in
from dolma_pipeline.errors import UsageError


def test_runner_of_options() -> None:
    assert runner_in(["--a=1", "--runner=FlinkRunner"]) == "FlinkRunner"
    assert runner_in(["--runner", "SparkRunner", "--b"]) == "SparkRunner"
    assert runner_in(["--run=x", "--runner"]) is None


@pytest.mark.parametrize(
    "name", ["local", "FlinkRunner", "flink", "sparkrunner", "apache_beam.runners.direct.direct_runner.DirectRunner"]
)
def test_known_runners(name: str) -> None:
    check_runner(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Locl", "no Beam runner named 'Locl'. Did you mean 'local'?"),
        ("FlinkRuner", "no Beam runner named 'FlinkRuner'. Did you mean 'FlinkRunner'"),
        ("no.such.Runner", "the Beam runner no.such.Runner cannot be imported: No module named 'no'"),
        ("json.Runner", "the module json has no Beam runner named 'Runner'"),
    ],
)
def test_unknown_runners(name: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_runner(name)
    assert str(caught.value).startswith(said)


def test_known_options() -> None:
    check_flags([])
    check_flags(["--experiments=a", "--experiments", "b", "--streaming", "--direct_num_workers=3", "--runner=local"])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--nope=3"], "no Beam option named 'nope', nor one like it: the local runner would not read it."),
        (["--streaming", "--nope", "3"], "no Beam option named 'nope', nor one"),
        (["--direct_num_worker=3"], "no Beam option named 'direct_num_worker'. Did you mean 'direct_num_workers'"),
        (["--job_name=a", "b"], "found 'b' among the Beam options; an option is written --name=value"),
        (
            ["--direct_num_workers=x"],
            "Beam refuses --direct_num_workers=x: argument --direct_num_workers: invalid int value: 'x'",
        ),
    ],
)
def test_wrong_options(flags: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    level = logging.getLogger("apache_beam.options").level
    with pytest.raises(UsageError) as caught:
        check_flags(flags)
    assert str(caught.value).startswith(said)
    assert logging.getLogger("apache_beam.options").level == level
    assert capfd.readouterr().err == ""
