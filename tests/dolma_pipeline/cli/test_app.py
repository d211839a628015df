"""Dispatch to the command's module, and who may speak how loudly on stderr."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest

from dolma_pipeline.cli import fetch, list
from dolma_pipeline.cli.app import dispatch, set_up_logging
from dolma_pipeline.cli.arguments import Arguments, Reply, parse_arguments


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", "dolma_pipeline", "apache_beam", "google", "grpc")]
    levels, handlers = [one.level for one in loggers], loggers[0].handlers[:]
    form = warnings.formatwarning
    yield
    warnings.formatwarning = form
    for one, level in zip(loggers, levels, strict=True):
        one.setLevel(level)
    loggers[0].handlers[:] = handlers


@pytest.mark.parametrize(("module", "typed"), [(list, "list models --format json"), (fetch, "fetch a b")])
def test_the_module_of_the_command_gets_the_arguments(
    module: object, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Arguments] = {}

    def fake(arguments: Arguments) -> Reply:
        seen["arguments"] = arguments
        return Reply("done\n")

    monkeypatch.setattr(module, "main", fake)
    assert dispatch(typed.split()) == Reply("done\n")
    assert seen["arguments"] == parse_arguments(typed.split())


@pytest.mark.parametrize(
    ("typed", "level"),
    [("fetch", logging.INFO), ("-v fetch", logging.DEBUG), ("fetch -q", logging.WARNING)],
)
def test_levels(typed: str, level: int) -> None:
    set_up_logging(parse_arguments(typed.split()))
    assert logging.getLogger("dolma_pipeline").level == level
    for noisy in ("apache_beam.runners.worker", "google.auth", "grpc"):
        assert logging.getLogger(noisy).getEffectiveLevel() == logging.WARNING


def test_a_warning_of_ours_names_no_line_of_code() -> None:
    set_up_logging(parse_arguments(["fetch"]))
    ours = warnings.formatwarning("tok.json: slow", RuntimeWarning, str(list.__file__), 7)
    assert ours == "warning: tok.json: slow\n"
    others = warnings.formatwarning("old", DeprecationWarning, pytest.__file__, 7)
    assert others == f"{pytest.__file__}:7: DeprecationWarning: old\n"
