"""`find TEXT --run RUN`: where a text stands in token parts; with --file, which runs of a model's output do."""

from __future__ import annotations

import json

from dolma_pipeline.cli.arguments import Arguments, Reply
from dolma_pipeline.errors import DataError, UsageError

NUMBER = {"text": 10, "file": 3}
"""Places that are shown of a text, and of each run of a file, unless --number says."""
AT_LEAST = 10


def main(arguments: Arguments) -> Reply:
    """Look up.

    Raises:
        UsageError: not exactly one of a text and --file, an empty one, no --run, or no index that can be used.
        DataError: the file cannot be read, or the index is damaged.
    """
    from dolma_pipeline.look.find import Index
    from dolma_pipeline.look.find_text import forms_text, trace_text

    (place, *_) = arguments.values.get("--run", ("",))
    (file, *_) = arguments.values.get("--file", ("",))
    if not place:
        raise UsageError("'find' needs a run: dolma-pipeline find 'some words' --run runs/quickstart")
    if len(arguments.words) + bool(file) != 1:
        found = " and ".join([*(f"'{word}'" for word in arguments.words), *(["--file"] if file else [])]) or "neither"
        raise UsageError(f"'find' takes one text (in quotes), or --file FILE; found {found}")
    if "--at-least" in arguments.values and not file:
        raise UsageError("--at-least is for --file: a text is looked for as a whole")
    number = _number(arguments, "--number", NUMBER["file" if file else "text"])
    at_least = _number(arguments, "--at-least", AT_LEAST)
    text = _read(file) if file else arguments.words[0]
    if not text:
        raise UsageError(f"{file or 'the text to find'} is empty; give some words that are looked for")
    with Index(place) as index:
        if file:
            trace = index.trace(text, at_least=at_least, number=number)
            record, said = {"run": place, "file": file, **trace.record()}, trace_text(trace, file, at_least)
        else:
            forms = index.find(text, number=number)
            record, said = {"run": place, "forms": [one.record() for one in forms]}, forms_text(forms)
    if arguments.format == "json":
        return Reply(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return Reply(said)


def _number(arguments: Arguments, name: str, default: int) -> int:
    given = arguments.values.get(name, (str(default),))[-1]
    if not (given.isascii() and given.isdigit()) or int(given) == 0:
        raise UsageError(f"{name} takes a whole number from 1 on, found '{given}'")
    return int(given)


def _read(file: str) -> str:
    """A file's text.

    Raises:
        DataError: it is not there, a folder, or not UTF-8.
    """
    from dolma_pipeline.storage.inputs import read_whole

    try:
        return read_whole(file).decode()
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; --file names a text, such as a model's output") from None
    except IsADirectoryError:
        raise DataError(f"{file}: a folder; --file names one file with a text, such as a model's output") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not a text in UTF-8: {error}") from error
