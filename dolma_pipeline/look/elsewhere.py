"""Taggers as a worker elsewhere has them: another process, another folder, another order of sets and dicts of hashes.

A module's text travels, the files beside it do not; what a tagger says must not hang on the folder that it is called
from, on hashes of strings, or on what ran before it. Cost: the start of a process, a second or two.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import DolmaError, TaggerError
from dolma_pipeline.registry import UserModule, install_modules, load_tagger
from dolma_pipeline.testing import awkward_documents, check_same

_CODE = "from dolma_pipeline.look.elsewhere import answer; answer()"
_HASH_SEED = 1729
"""Of the other process; if it is that of this one, the next number is taken."""


def check_elsewhere(uses: Sequence[tuple[str, Mapping[str, Any]]], modules: Sequence[UserModule]) -> dict[str, str]:
    """What goes wrong with taggers in another process; "" of those that say the same there as here.

    Args:
        uses: names of taggers, with their parameters. modules: those that they come from.

    Raises:
        TaggerError: the other process does not even begin, or a module does not run there.
    """
    documents = awkward_documents()
    wrong = {}
    for (name, parameters), reply in zip(uses, _replies(uses, modules), strict=True):
        tagger = load_tagger(name, **parameters)
        here, _ = tagger.attributes(Batch.of(documents))
        try:
            if isinstance(reply, str):
                raise TaggerError(f"tagger '{name}' in another process: {reply}")
            there = pa.ipc.open_stream(reply).read_all().column(0).combine_chunks()
            check_same(tagger, here, there, documents, "gave another answer in another process, folder and hash seed")
            wrong[name] = ""
        except TaggerError as error:
            wrong[name] = str(error)
    return wrong


def answer() -> None:
    """In the other process: read uses and modules from stdin, write what the taggers say of `awkward_documents`."""
    uses, modules = pickle.load(sys.stdin.buffer)
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
    except Exception as error:  # noqa: BLE001 the user's code: anything may come out of it
        return f"raised {type(error).__name__}: {error}"
    if failures:
        return f"raised {failures[0].reason}"
    sink = pa.BufferOutputStream()
    table = pa.table({name: column})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _replies(uses: Sequence[tuple[str, Mapping[str, Any]]], modules: Sequence[UserModule]) -> Sequence[bytes | str]:
    seed = _HASH_SEED + (os.environ.get("PYTHONHASHSEED") == str(_HASH_SEED))
    path = os.pathsep.join(str(Path(place).absolute()) for place in sys.path if place)
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": path}
    request = pickle.dumps(([(name, dict(parameters)) for name, parameters in uses], tuple(modules)))
    command = [sys.executable, "-c", _CODE]
    done = subprocess.run(command, input=request, capture_output=True, cwd=os.sep, env=environment, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        raise TaggerError(f"the taggers do not run in another process: {last[0]}")
    replies: Sequence[bytes | str] | str = pickle.loads(done.stdout)
    if isinstance(replies, str):
        raise TaggerError(f"in another process and folder: {replies}")
    return replies
