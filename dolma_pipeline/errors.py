"""Every error that this library raises on purpose.

    DolmaError
    ├── UsageError             exit 2: the request is wrong, nothing was started
    │   ├── ConfigError            a recipe: names file:line:key
    │   ├── UnknownNameError       a name that does not exist: names what does
    │   ├── TaggerError            a tagger that breaks its contract
    │   └── SettingsChangedError   finished work was made with other settings
    ├── DataError              exit 1: the input is not what it says it is
    │   ├── MisalignedError        attributes that do not fit their documents: names file and row
    │   └── DamagedCheckpointError a file of a checkpoint is not what was written: names it
    ├── AssetError             exit 1: a model or list that cannot be had
    └── RunError               exit 1: a run that broke; the same command resumes
        ├── WorkerDiedError        a worker process was killed
        └── StageError             a stage raised
    TooManyFailuresError       exit 3: done, but more documents failed than the recipe allows

A message says what was asked, what was found, what exists and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DolmaError(Exception):
    """Base of all errors of this library; `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(DolmaError):
    """The request is wrong; nothing was started."""

    exit_code = 2


class ConfigError(UsageError):
    """A recipe, or an override of it, is wrong; the message starts with file:line:key."""


class UnknownNameError(UsageError):
    """A name that nothing carries: a tagger, attribute, key, source, model, asset."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(unknown_name(kind, name, self.known, hint=hint))

    def __reduce__(self) -> tuple[object, ...]:
        return UnknownNameError, (self.kind, self.name, self.known)


class TaggerError(UsageError):
    """A tagger breaks its contract: wrong name, fields, types, lengths or values."""


class SettingsChangedError(UsageError):
    """Finished work was made with other settings; `--redo` makes it again."""


class DataError(DolmaError):
    """An input is not what it says it is."""


class MisalignedError(DataError):
    """Attributes that do not fit their documents: another number of rows, or another id."""


class DamagedCheckpointError(DataError):
    """A file of a checkpoint is gone, cut or changed; nothing of the checkpoint is used."""


class AssetError(DolmaError):
    """A model or word list that cannot be had, or has another hash than the pinned one."""


class RunError(DolmaError):
    """A run broke before its end; what is done stays done and the same command resumes."""


class WorkerDiedError(RunError):
    """A worker process ended without a word (killed, or out of memory)."""


class StageError(RunError):
    """A stage raised; the message carries the worker's traceback."""


class StoppedError(RunError):
    """Training was asked to stop by a signal; it has saved, and the same command goes on from there."""

    exit_code = 143


class TooManyFailuresError(DolmaError):
    """Everything else is written, but more documents failed than `max_failed_share` allows.

    Attributes:
        result: what the run left all the same (`runner.Result`), where a run raised it.
    """

    exit_code = 3
    result: object = None


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """The known names most like `name`, best first; none if nothing is like it."""
    return difflib.get_close_matches(name, sorted(set(known)), n=count, cutoff=0.6)


def unknown_name(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> str:
    """One sentence on a name that does not exist: what is near it, or else what exists."""
    known = sorted(set(known))
    text = f"no {kind} named '{name}'."
    near = nearest(name, known)
    likeness = [difflib.SequenceMatcher(None, name, one).ratio() for one in near]
    # What is much less like it than the best is left out: all names that end in `_v1` are a little alike.
    near = [one for one, ratio in zip(near, likeness, strict=True) if ratio >= 0.9 * likeness[0]]
    if near:
        text += f" Did you mean {' or '.join(repr(n) for n in near)}?"
    elif known:
        shown = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
        text += f" There are: {shown}."
    else:
        text += " There are none."
    return f"{text} {hint}" if hint else text
