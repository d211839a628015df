"""The names of Beam's runners and options: Beam itself keeps an option that nobody reads, and says so to no one.

Cost: imports Beam, a second, and only where a recipe or a command line names a runner or an option.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Sequence

from dolma_pipeline.errors import UnknownNameError, UsageError, nearest


def import_beam() -> None:
    """Beam, without its word on a module that is not installed, which it says to all."""
    logging.getLogger().addFilter(_not_of_apitools)
    importlib.import_module("apache_beam")


def _not_of_apitools(record: logging.LogRecord) -> bool:
    return "apitools not found" not in str(record.msg)


def check_runner(name: str) -> None:
    """A runner as Beam takes it: its name in any case, with or without `Runner`, or module and class.

    Raises:
        UsageError: no such runner; says what is near.
    """
    import_beam()
    from apache_beam.options.pipeline_options import StandardOptions

    known = StandardOptions.KNOWN_RUNNER_NAMES
    if name == "local" or {name.lower(), f"{name.lower()}runner"} & {one.lower() for one in known}:
        return
    module, _, last = name.rpartition(".")
    if not module:
        raise UnknownNameError("Beam runner", name, ["local", *known])
    try:
        found = hasattr(importlib.import_module(module), last)
    except ImportError as error:
        raise UsageError(f"the Beam runner {name} cannot be imported: {error}") from error
    if not found:
        raise UsageError(f"the module {module} has no Beam runner named '{last}'")


def check_flags(flags: Sequence[str]) -> None:
    """Options of the local runner: each is one that a class of Beam's reads, with a value that it takes.

    Raises:
        UsageError: an option that is not known, with what is near; or an invalid value.
    """
    import_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    for before, flag in zip(["", *flags], flags, strict=False):
        if not flag.startswith("-") and (not before.startswith("--") or "=" in before):
            raise UsageError(f"found '{flag}' among the Beam options; an option is written --name=value")
    printed, logger = io.StringIO(), logging.getLogger("apache_beam.options")
    level = logger.level
    logger.setLevel(logging.ERROR)  # what it would warn of is told here
    try:
        with contextlib.redirect_stderr(printed):
            options = PipelineOptions(list(flags))
            known = options.get_all_options()
            unknown = options.get_all_options(retain_unknown_options=True).keys() - known.keys()
    except SystemExit as error:
        reason = printed.getvalue().strip().rpartition("error: ")[2]
        raise UsageError(f"Beam refuses {' '.join(flags)}: {reason}") from error
    finally:
        logger.setLevel(level)
    for name in sorted(unknown):
        if nearest(name, known):
            raise UnknownNameError("Beam option", name, known)
        raise UsageError(f"no Beam option named '{name}', nor one like it: the local runner would not read it.")


def runner_in(options: Sequence[str]) -> str | None:
    """The runner that options name, if they do."""
    for i, option in enumerate(options):
        if option.startswith("--runner="):
            return option.split("=", 1)[1]
        if option == "--runner" and i + 1 < len(options):
            return options[i + 1]
    return None
