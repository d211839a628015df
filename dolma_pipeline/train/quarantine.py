"""`quarantine.jsonl` of a run: sequences that are masked in training, and why. Does not load torch.

A line is an object: `instance`, and maybe `step` (it counts once so many steps are done; 0, from the first, if left
out), `reason`, `loss`, `grad_norm`. Lines with `"by": "train"` are the trainer's own: when training goes on from a
checkpoint, those of later steps are cut, as they will come again. All other lines are by hand and stay for ever; what a
run trains on depends on them and never on the trainer's own. Runs of earlier versions have the file in `train/`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import digest
from dolma_pipeline.storage.faults import told

QUARANTINE = "quarantine.jsonl"
EARLIER = "train/quarantine.jsonl"
"""Where runs of earlier versions have it; their lines of step 0 are by hand, the others the trainer's own."""

KEYS = ("instance", "step", "reason", "by", "loss", "grad_norm")
_OWN = b'{"by":"train",'


class Line(NamedTuple):
    """An instance that does not count once `step` steps are done. own: the trainer wrote it."""

    instance: int
    step: int
    own: bool


def read_quarantine(run_dir: Path, *, num_instances: int | None = None, num_steps: int | None = None) -> list[Line]:
    """All lines of a run; none where there is no file.

    Args:
        num_instances: of the dataset, to see that all are in it; None: that is not looked at.
        num_steps: of the run, to see that lines by hand count in one of them; None: that is not looked at.

    Raises:
        DataError: a line that is none, an instance or a step that does not exist; names file and line.
    """
    found = []
    for name in (EARLIER, QUARANTINE):
        path = run_dir / name
        if path.is_file():
            content, is_earlier = path.read_bytes(), name == EARLIER
            bounds = {"num_instances": num_instances, "num_steps": num_steps}
            found += [line for _, line in _numbered(content, str(path), earlier=is_earlier, **bounds)]
    return found


def parse(content: bytes, place: str) -> list[Line]:
    """The lines of a file's content. place: its name in messages.

    Raises:
        DataError: see `read_quarantine`.
    """
    return [line for _, line in _numbered(content, place, earlier=False)]


def masked(lines: Iterable[Line], *, done: int) -> set[int]:
    """Instances that do not count in the step after `done` steps."""
    return {line.instance for line in lines if line.step <= done}


def by_hand_digest(lines: Iterable[Line], *, before: int | None = None) -> str:
    """Of the lines by hand, whatever their order and reasons; "" where there are none.

    Args:
        before: only of those that counted in the first so many steps; None: of all.
    """
    known = sorted({line[:2] for line in lines if not line.own and (before is None or line.step < before)})
    return digest(known) if known else ""


class OwnLines:
    """The trainer's own lines of a run's file, cut back to a step and then appended to; made with the first line."""

    def __init__(self, run_dir: Path, *, until: int) -> None:
        """Cut the trainer's own lines after step `until` away, and what a kill left of one. Lines by hand stay."""
        self._path = run_dir / QUARANTINE
        _cut(run_dir / EARLIER, until=until, earlier=True)
        _cut(self._path, until=until, earlier=False)

    def append(self, *, instance: int, step: int, reason: str) -> None:
        """One line, on the disk when this returns.

        The file is opened each time: meanwhile an editor may have put another one in its place, or have left its last
        line without a newline.
        """
        row = {"by": "train", "instance": instance, "reason": reason, "step": step}
        with told("written", self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a+b") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                newline = b"" if not file.tell() or file.read(1) == b"\n" else b"\n"
                file.write(newline + orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
                file.flush()
                os.fsync(file.fileno())


def _cut(path: Path, *, until: int, earlier: bool) -> None:
    if not path.is_file():
        return
    before = path.read_bytes()
    kept = [raw for raw, line in _numbered(before, str(path), earlier=earlier) if not line.own or line.step <= until]
    after = b"".join(raw + b"\n" for raw in kept)
    if after != before:
        paths.write_bytes(path, after)


def _numbered(
    content: bytes, place: str, *, earlier: bool, num_instances: int | None = None, num_steps: int | None = None
) -> list[tuple[bytes, Line]]:
    """Each line as it stands, and what it says. What a kill left of the trainer's last line is left out."""
    raw = content.split(b"\n")
    last = raw.pop()
    if last and not _is_begun(last, earlier=earlier):
        raw.append(last)  # by hand, without its newline
    found = []
    for number, line in enumerate(raw, 1):
        told = _told(line, earlier=earlier)
        if isinstance(told, str):
            raise DataError(f"{place}:{number}: {told}: {line[:80].decode(errors='replace')!r}")
        if num_instances is not None and told.instance >= num_instances:
            raise DataError(
                f"{place}:{number}: instance {told.instance}, but there are {num_instances:,}, counted from 0. "
                "Correct the line, or take it out."
            )
        if num_steps is not None and not told.own and told.step >= num_steps:
            raise DataError(
                f'{place}:{number}: "step" is {told.step}, but training has {num_steps:,} steps, so the line would '
                "never count. Give a smaller step (0 counts from the first), or take it out."
            )
        found.append((line, told))
    return found


def _is_begun(last: bytes, *, earlier: bool) -> bool:
    """Whether a last line without its newline is one of the trainer's that a kill cut off."""
    try:
        orjson.loads(last)
    except orjson.JSONDecodeError:
        return earlier or last.startswith(_OWN) or _OWN.startswith(last)
    return False


def _told(line: bytes, *, earlier: bool) -> Line | str:
    """What a line says, or what is wrong with it."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        row = None
    if not isinstance(row, dict):
        return 'not an object with "instance"'
    if unknown := sorted(row.keys() - {*KEYS}):
        return f"unknown key {unknown[0]!r}; keys are {', '.join(KEYS)}"
    instance, step = row.get("instance"), row.get("step", 0)
    if not _is_count(instance):
        return '"instance" must be a whole number from 0 on'
    if not _is_count(step):
        return '"step" must be a whole number from 0 on'
    if (by := row.get("by", "hand")) not in ("train", "hand"):
        return f'"by" is {by!r}; it is "train" in lines of the trainer, "hand" or left out in others'
    assert isinstance(instance, int)
    return Line(instance, step, own=step > 0 if earlier else by == "train")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def refuse_late_lines(run_dir: Path, lines: Iterable[Line], *, done: int, known: str) -> None:
    """Stop where lines by hand should have counted in steps that are done, or counted there and are gone.

    Args:
        done: steps of the checkpoint that training goes on from. known: the digest in its commit.

    Raises:
        DataError: see above; says what to write instead.
    """
    if by_hand_digest(lines, before=done) != known:
        raise DataError(
            f"{run_dir / QUARANTINE}: lines by hand with a step below {done} are others than those that the {done} "
            f'steps of the checkpoint were trained with. A line with "step": {done} counts from there on. Put the '
            "others back as they were, or give --redo to train from the start with them."
        )
