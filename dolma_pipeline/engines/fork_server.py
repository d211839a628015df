"""`python -m dolma_pipeline.engines.fork_server`: one process that loads everything once; each worker is a copy of it.

A worker by itself takes some 2 seconds of CPU to import Beam, load the kernels and set up the taggers, and 300 MB.
A copy is made in milliseconds and shares that memory. Here nothing is begun that a copy must not have: no connection,
no thread of ours, and no tagger of the user's (its `setup` may do both; workers call it themselves).

This process uses no storage before it forks (it has no need to): clients of object stores do not outlive a fork.

Requests and answers are JSON lines over the standard streams: `{"worker": 0, "environment": {…}, "worker_log": path,
"tidy": false}` makes a worker whose standard error goes to that file, `{"worker": 0, "code": 64}` tells how it ended
(a negative number is that of a signal). When the launcher goes, standard input ends, and this process with it; workers
hold the read end of a pipe whose only writer is this process.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import select
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import orjson

from dolma_pipeline.engines.forks import WELL, Use
from dolma_pipeline.errors import DolmaError
from dolma_pipeline.train.processes import LIFELINE, end_process, end_with

HARNESS = "apache_beam.runners.worker.sdk_worker_main"
PRELOADED = (
    HARNESS,
    "awkward",
    "dolma_pipeline.engines.chain",
    "dolma_pipeline.run.columns",
    "dolma_pipeline.run.reading",
    "dolma_pipeline.sql.engine",
    "duckdb",
    "gigatoken",
    "tokenizers",
)
"""What workers import sooner or later; Beam's harness first."""
TEXT = "a word, a@b.org, +1 303-555-0127, 10.0.0.1"
"""Taggers are used on it: it has whatever one of them loads a library for."""
STAGES = "dolma_pipeline.stages"
"""A package whose modules workers import, too, whichever there are."""


def main(arguments: Sequence[str]) -> None:
    """Load, then make workers until standard input ends.

    Args:
        arguments: the built-in taggers that workers will use, as a JSON list of names with their parameters; then names
            of compiled kernels.
    """
    taggers, *kernels = arguments
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what a library prints is not an answer
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # for what a worker starts
    os.close(nothing)
    del os.environ[LIFELINE]
    lifeline, only_writer = os.pipe()
    gc.disable()  # looking through what imports make costs a fifth of the time, and finds nothing
    load(orjson.loads(taggers), kernels)
    gc.freeze()  # else the collector writes into the memory that is shared
    gc.enable()
    _serve(requests, answers, lifeline=lifeline, alone=(requests, answers, only_writer))


def load(taggers: Sequence[Use], kernels: Sequence[str] = ()) -> None:
    """Import what workers import, and load the compiled kernels.

    Args:
        taggers: see `use_taggers`.
        kernels: names of `kernels.warm.KERNELS`.
    """
    from dolma_pipeline.engines.beam_options import import_beam
    from dolma_pipeline.engines.warming import load_kernels

    import_beam()
    for module in PRELOADED:
        importlib.import_module(module)
    stages = importlib.import_module(STAGES)
    for found in pkgutil.walk_packages(stages.__path__, f"{STAGES}."):
        importlib.import_module(found.name)
    load_kernels(kernels)
    use_taggers(taggers)


def use_taggers(taggers: Sequence[Use]) -> None:
    """Use built-in taggers without models on a short text, which loads their libraries; models come with a run.

    What goes wrong with one of them is told by the worker that needs it.
    """
    from dolma_pipeline.documents import Batch
    from dolma_pipeline.registry import built_in_tagger

    for name, parameters in taggers:
        tagger = built_in_tagger(name, **parameters)
        if not tagger.assets:
            with contextlib.suppress(DolmaError):
                tagger.attributes(Batch.of([TEXT]))


def _serve(requests: int, answers: int, *, lifeline: int, alone: tuple[int, ...]) -> None:
    """Fork on request and tell of every end. alone: file descriptors that no worker may keep."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake)
    workers: dict[int, int] = {}
    unread = b""
    while True:
        ready, _, _ = select.select([requests, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            while workers and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if (number := workers.pop(ended[0], None)) is not None:  # else some library's
                    code = os.waitstatus_to_exitcode(ended[1])
                    os.write(answers, orjson.dumps({"worker": number, "code": code}) + b"\n")
        if requests in ready:
            more = os.read(requests, 1 << 16)
            if not more:
                return
            *lines, unread = (unread + more).split(b"\n")
            for request in map(orjson.loads, lines):
                if pid := os.fork():
                    workers[pid] = request["worker"]
                else:
                    _be_worker(request, lifeline=lifeline, closed=(*alone, woken, wake))


def _be_worker(request: Mapping[str, Any], *, lifeline: int, closed: tuple[int, ...]) -> NoReturn:
    """In the copy: Beam's harness until the launcher has no more work.

    Then nothing more, for a teardown takes 0.4 s, unless the request says `tidy`: a user's tagger may have left
    folders, processes or exit handlers that only a teardown sees to.
    """
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in closed:
            os.close(one)
        errors = os.open(request["worker_log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.dup2(errors, 2)
        os.dup2(errors, 1)
        os.close(errors)
        end_with(lifeline)
        os.environ.update(request["environment"])
        np.random.seed()  # else all workers draw the same; Python's own generator sees to it by itself
        harness: Callable[[list[str]], None] = importlib.import_module(HARNESS).main
        harness([])
        code = WELL
    finally:
        if code != WELL:
            traceback.print_exc()
        if code != WELL or not request["tidy"]:
            end_process(code)
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
