"""From what was typed to a reply: help and version at once, else the module of the command."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Sequence

from dolma_pipeline import __version__
from dolma_pipeline.cli.arguments import Arguments, Reply, parse_arguments
from dolma_pipeline.cli.help import command_help, program_help

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "")
"""The folder of this package."""


def dispatch(argv: Sequence[str]) -> Reply:
    """Do what was asked.

    Raises:
        DolmaError: anything that is wrong with the request, the data or the run.
    """
    arguments = parse_arguments(argv)
    if "--version" in arguments.flags:
        return Reply(f"dolma-pipeline {__version__}\n")
    if arguments.command is None:
        if "--help" in arguments.flags:
            return Reply(program_help())
        sys.stderr.write(program_help())
        return Reply(exit_code=2)
    if "--help" in arguments.flags:
        return Reply(command_help(arguments.command))
    set_up_logging(arguments)
    name = arguments.command.module
    module = importlib.import_module(name if "." in name else f"dolma_pipeline.cli.{name}")
    reply: Reply = module.main(arguments)
    return reply


def set_up_logging(arguments: Arguments) -> None:
    """Logs to stderr: ours from INFO (-v: DEBUG, -q: WARNING), others' from WARNING (-v: INFO, save Beam's pages)."""
    verbose, quiet = "--verbose" in arguments.flags, "--quiet" in arguments.flags
    pattern = "%(asctime)s %(name)s: %(message)s" if verbose else "%(message)s"
    logging.basicConfig(stream=sys.stderr, format=pattern, level=logging.INFO if verbose else logging.WARNING)
    for noisy in ("apache_beam", "google", "grpc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    ours = logging.getLogger("dolma_pipeline")
    ours.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    warnings.formatwarning = _format_warning


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning of Python's: ours is for the person at the terminal, others' keeps the line of code it is about."""
    if os.path.realpath(filename).startswith(_PACKAGE):
        return f"warning: {message}\n"
    return f"{filename}:{lineno}: {category.__name__}: {message}\n"
