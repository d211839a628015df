"""Taggers as a worker elsewhere has them: another process, another folder, another order of sets and dicts of hashes.

A module's text travels, and so does what taggers name among their `assets`, as in a run; files beside a module do not.
What a tagger says must not hang on the folder that it is called from, on hashes of strings, or on what ran before it.
Cost: the start of a process, a second or two, and a copy of the assets.
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DolmaError, TaggerError
from dolma_pipeline.registry import UserModule, install_modules, load_tagger
from dolma_pipeline.stages.fixed_files import sha256_of
from dolma_pipeline.stages.tagger_files import short_names
from dolma_pipeline.tagging import LoadedTagger
from dolma_pipeline.tagging.loaded import RAISED
from dolma_pipeline.testing import awkward_documents, check_same

_CODE = "from dolma_pipeline.look.elsewhere import answer; answer()"
_HASH_SEED = 1729
"""Of the other process; if it is that of this one, the next number is taken."""


def check_elsewhere(uses: Sequence[tuple[str, Mapping[str, Any]]], modules: Sequence[UserModule]) -> dict[str, str]:
    """What goes wrong with taggers in another process; "" of those that say the same there as here.

    Args:
        uses: names of taggers, with their parameters. modules: those that they come from.

    Raises:
        TaggerError: the other process does not even begin, or a module does not run there. AssetError: an asset is not
        here, or two files of a tagger have one name.
    """
    documents = awkward_documents()
    wrong = {}
    taggers = [load_tagger(name, **parameters) for name, parameters in uses]
    with tempfile.TemporaryDirectory(prefix="dolma_pipeline-") as folder:
        replies = _replies(uses, modules, folder, _packed(taggers, Path(folder)))
    for tagger, (name, _), reply in zip(taggers, uses, replies, strict=True):
        here, _ = tagger.attributes(Batch.of(documents))
        try:
            if isinstance(reply, str):
                raise TaggerError(f"tagger '{name}': in another process: {reply}")
            there = pa.ipc.open_stream(reply).read_all().column(0).combine_chunks()
            check_same(tagger, here, there, documents, "gave another answer in another process, folder and hash seed")
            wrong[name] = ""
        except TaggerError as error:
            wrong[name] = str(error)
    return wrong


def answer() -> None:
    """In the other process: read a request from stdin, write what its taggers say of `awkward_documents`."""
    uses, modules, folder, given = pickle.load(sys.stdin.buffer)
    assets.use_folder(folder)
    assets.use_given(given)
    out, sys.stdout = sys.stdout.buffer, sys.stderr  # what a module prints is no reply
    try:
        install_modules(modules)
        replies: Any = [_column(name, parameters) for name, parameters in uses]
    except DolmaError as error:
        replies = str(error)
    out.write(pickle.dumps(replies))


def _column(name: str, parameters: Mapping[str, Any]) -> bytes | str:
    """A tagger's column as an Arrow stream, or why there is none."""
    try:
        column, failures = load_tagger(name, **parameters).attributes(Batch.of(awkward_documents()))
    except DolmaError as error:
        return str(error).removeprefix(f"tagger '{name}': ")
    except RAISED as error:  # by the user's class, as it is made
        return f"raised {type(error).__name__}: {error}"
    if failures:
        return f"raised {failures[0].reason}"
    sink = pa.BufferOutputStream()
    table = pa.table({name: column})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _packed(taggers: Sequence[LoadedTagger], folder: Path) -> dict[str, str]:
    """Puts the assets of taggers in a folder, as a run does.

    Returns:
        Path of each file of the user's -> its sha256.
    """
    assets.copy_to((name for tagger in taggers for name in tagger.assets if not assets.is_path(name)), folder)
    given = {}
    for name in dict.fromkeys(name for tagger in taggers for name in short_names(tagger)):
        path = assets.asset(name)
        given[name] = sha256_of(str(path))
        target = folder / assets.given_name(name, given[name])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return given


def _replies(
    uses: Sequence[tuple[str, Mapping[str, Any]]], modules: Sequence[UserModule], folder: str, given: Mapping[str, str]
) -> Sequence[bytes | str]:
    seed = _HASH_SEED + (os.environ.get("PYTHONHASHSEED") == str(_HASH_SEED))
    path = os.pathsep.join(str(Path(place).absolute()) for place in sys.path if place)
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": path}
    used = [(name, dict(parameters)) for name, parameters in uses]
    request = pickle.dumps((used, tuple(modules), folder, dict(given)))
    command = [sys.executable, "-c", _CODE]
    done = subprocess.run(command, input=request, capture_output=True, cwd=os.sep, env=environment, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        raise TaggerError(f"the taggers do not run in another process: {last[0]}")
    replies: Sequence[bytes | str] | str = pickle.loads(done.stdout)
    if isinstance(replies, str):
        raise TaggerError(f"in another process and folder: {replies}")
    return replies
