"""Starting torch in other processes, so that the launcher stays small. Does not load torch.

Several processes run under torchrun: one a GPU, or on the CPU one a core up to two (the order of the data, the first
weights and the gradients are the same for any number). Children hold the read end of a pipe as standard input: when
the launcher goes, however it goes, they see the end of it and go too, so that two runs never write to one folder.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.errors import RunError, StoppedError, UsageError
from dolma_pipeline.tokens.order import Order
from dolma_pipeline.train.adapted import open_examples
from dolma_pipeline.train.files import instances_of, read_settings
from dolma_pipeline.train.micro_batches import micro_batch_instances
from dolma_pipeline.train.signals import raised_as_interrupts
from dolma_pipeline.train.stages import open_parts

LIFELINE = "DOLMA_PIPELINE_LIFELINE"
"""Environment variable that tells a child to end when its standard input does."""

STOP = "s"
"""What a launcher writes to a child that it asks to stop."""
STOPPED = "stopped: "
"""What a child's line begins with, after its name, when it has saved before its end because it was asked to."""

ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""For glibc: memory that a step let go of stays with the process, else each step gets its megabytes of activations from
the kernel page by page, zeroed, and gives them back. Tokens a CPU-second: tiny +28 %, 20m +7 %; the same bytes."""

_PATIENCE_SECONDS = 20.0
_TAIL_LINES = 80
_LOOK_SECONDS = 0.5
"""Between two looks for signals where nothing is printed."""


def resolve_processes(config: TrainConfig) -> int:
    """How many processes train: `train.processes`, or for `auto` one a GPU, else one a core up to two.

    `auto` takes the largest such number that divides the sequences of a batch.

    Raises:
        UsageError: torch is missing, or a batch cannot be shared out evenly.
    """
    require_torch()
    num_instances = instances_of(config)
    if config.processes != "auto":
        if config.processes < 1 or num_instances % config.processes:
            raise UsageError(
                f"train.processes is {config.processes}, but a batch has {num_instances} sequences "
                f"(batch_tokens / sequence_length), which cannot be shared out evenly. Give a divisor, or auto."
            )
        return config.processes
    limit = num_gpus() or min(2, num_cores())
    return max(n for n in range(1, limit + 1) if num_instances % n == 0)


def require_torch() -> None:
    """Raises UsageError with the cure if torch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise UsageError("training and evaluation need torch, which is not here: pip install 'dolma-pipeline[train]'")


def launch(run_dir: Path, *, processes: int) -> None:
    """Train as `train/config.json` says, from the newest checkpoint, to the end.

    Progress goes to standard error, all that the processes say to `log/train.txt`. What is done stays done: after an
    error or an interrupt the same call goes on from the last checkpoint.

    Raises:
        UsageError: torch is missing, or there are fewer instances than a batch.
        RunError: the run has no `train/config.json`, or a process failed; with the end of its worker log.
        StoppedError: a signal reached the processes, which have saved.
        KeyboardInterrupt: one reached this process (Ctrl-C, SIGTERM, SIGUSR1); they have saved all the same.
    """
    require_torch()
    settings = read_settings(run_dir)
    next_token = settings.train.objective == "next_token"
    data = open_parts(run_dir, settings.train).values() if next_token else [open_examples(run_dir / "data")]
    for dataset in data:
        Order(num_instances=len(dataset), batch_instances=settings.batch_instances, seed=settings.seed)  # checks both
    micro_batch_instances(settings, processes=processes, device="cpu")  # checks it; on a GPU the same
    command = ["-m", "dolma_pipeline.train", str(run_dir.resolve())]
    if processes > 1:  # one needs no torchrun above it: 4 s and 300 MB less
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *command]
    threads = max(1, num_cores() // processes)
    supervise(command, name="train", log=run_dir / "log" / "train.txt", threads=threads, saves=True, also=("eval: ",))


def supervise(
    arguments: Sequence[str],
    *,
    name: str,
    log: Path,
    threads: int,
    saves: bool = False,
    also: tuple[str, ...] = (),
    told: Callable[[str], None] = lambda _: None,
) -> None:
    """Run this Python with `arguments` to its end; lines that start with `name: ` are shown on standard error.

    Args:
        log: file that gets all lines; begun anew.
        threads: of each process's matrix work.
        saves: asked to stop, it finishes its step and saves: an interrupt asks, and waits; another one ends it.
        also: what other lines that are shown start with.
        told: gets each line that is shown.

    Raises:
        RunError: it ended with an error; the message holds the line that it marked as `name: error: `, or its last.
        StoppedError: it was asked to stop by somebody else, and has saved.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    errors: list[str] = []
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(os.environ, threads=threads),
        text=True,
        errors="replace",
        start_new_session=True,  # an interrupt at the terminal reaches the launcher alone, which ends the rest
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stopped = ""

    def relay(lines: Iterable[str]) -> None:
        nonlocal stopped
        for line in lines:
            file.write(line)
            file.flush()
            if line.startswith(f"{name}: error: "):
                errors.append(line.removeprefix(f"{name}: error: "))
            elif line.startswith((f"{name}: ", *also)):
                if line.startswith(f"{name}: {STOPPED}"):
                    stopped = line.removeprefix(f"{name}: ").rstrip()
                print(line, end="", file=sys.stderr, flush=True)
                told(line.rstrip("\n"))
            else:
                tail.append(line)

    lines = _Lines(process.stdout)
    try:
        with open(log, "w", encoding="utf-8") as file, raised_as_interrupts() if saves else contextlib.nullcontext():
            try:
                relay(lines)
            except KeyboardInterrupt:
                if not saves:
                    raise
                print(f"{name}: finishing the step and saving; Ctrl-C ends it at once", file=sys.stderr, flush=True)
                with contextlib.suppress(BrokenPipeError):  # it has just ended
                    process.stdin.write(STOP)
                    process.stdin.flush()
                relay(lines)
                raise
        code = process.wait()
    finally:
        _end(process, lines)
    if stopped and code != 0:
        raise StoppedError(f"{name}: {stopped}")
    if code != 0:
        why = errors[0] if errors else f"it ended with {describe(code)}; the end of its log:\n{''.join(tail)}"
        raise RunError(f"{name}: {why.rstrip()}\nIts log: {log}. The same command goes on from there.")


def end_with_launcher(*, asked: Callable[[], None] = lambda: None) -> None:
    """In a child of `supervise`: end this process at once when the launcher is gone.

    Args:
        asked: called when the launcher asks for an end; of several processes one hears it.
    """
    if os.environ.get(LIFELINE) == "stdin":
        end_with(0, asked=asked)


def end_with(pipe: int, *, asked: Callable[[], None] = lambda: None) -> None:
    """End this process at once when the other end of this pipe is closed; a thread watches. asked: called at a byte."""

    def watch() -> None:
        while os.read(pipe, 1):
            asked()
        os._exit(1)  # as a kill would: what is not committed is done again

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def end_process(code: int) -> NoReturn:
    """In a child of `supervise`: end this process with `code` at once, without the interpreter's teardown.

    Gloo's threads outlive the process group (torch 2.13.0: they run on after `destroy_process_group`), and one that is
    still letting go of its last tensor when Python's teardown begins aborts the process, seldom, on busy machines. All
    files are written and closed by then, so there is nothing that a teardown would add.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def describe(code: int) -> str:
    """How a process ended, in words; empty for 0."""
    if code < 0:
        known = [each.name for each in signal.Signals if each == -code]
        return f"signal {known[0] if known else -code}"
    return f"exit code {code}" if code else ""


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_gpus() -> int:
    """GPUs that torch sees; asked of another process, so that this one does not load torch."""
    script = "import torch; print(torch.cuda.device_count())"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(printed.stdout)


class _Lines:
    """The lines of a pipe, read by a thread: a signal that came just before a read would wait for the next line.

    Iteration goes on after an interrupt. A reader that is gone ends it, so an end that an interrupt took away is found.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, name="lines", daemon=True)
        self._thread.start()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        while self._thread.is_alive() or not self._lines.empty():
            with contextlib.suppress(queue.Empty):
                line = self._lines.get(timeout=_LOOK_SECONDS)
                if line is not None:
                    return line
        raise StopIteration

    def close(self) -> None:
        """Read what is left, of a process that has ended, and close the pipe."""
        self._thread.join()
        self._stream.close()

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line)
        self._lines.put(None)


def _environment(base: Mapping[str, str], *, threads: int) -> dict[str, str]:
    root = str(Path(__file__).parents[2])  # where this package was found, if it is not installed
    return {
        **base,
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [base.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait by spinning made a busy machine 5 times slower
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # matrix products on a GPU that give the same bits each time
        LIFELINE: "stdin",
        **{name: value for name, value in ALLOCATOR.items() if name not in base and platform.libc_ver()[0] == "glibc"},
    }


def _end(process: subprocess.Popen[str], lines: _Lines) -> None:
    """See that a child is gone: ask, wait, kill; its own children go with the pipe."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    lines.close()
