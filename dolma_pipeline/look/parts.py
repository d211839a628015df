"""Token parts that can have an index: those of a run, and folders of parts that others made with the same tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dolma_pipeline.errors import DataError, UnknownNameError, UsageError
from dolma_pipeline.io.manifest import digest
from dolma_pipeline.run import layout
from dolma_pipeline.run.manifests import read_lines, read_manifest
from dolma_pipeline.storage.folder import RunFolder, run_folder
from dolma_pipeline.tokens.tokenizer import TokenizerInfo, parse_tokenizer, tokenizer_text

ENDINGS = (".npy", ".bin")
"""Of files of ids."""
TOKENS = "tokens"
"""The stage whose parts are looked into, and its folder in a run."""
FIND = "find"
"""Where an index lies, beside the parts."""


@dataclass(frozen=True)
class PartAt:
    """A file of ids. name: in the folder; size: in bytes; sha256: hex, "" where nothing tells of it."""

    name: str
    size: int
    sha256: str = ""

    @property
    def stem(self) -> str:
        """The name without its ending; the files beside it have this name."""
        return self.name.rpartition(".")[0]


@dataclass(frozen=True)
class TokenParts:
    """Parts with all that an index of them depends on.

    place: as the user names it. folder: that it is. root: where in the folder the parts lie, "" at its top.
    parts: in order. tokenizer: that made them. dtype: of raw ids. eos: id that ends a document, None where nobody says.
    normalize: what a run has done to its texts, and what so must be done to a text that is looked for.
    """

    place: str
    folder: RunFolder
    root: str
    parts: tuple[PartAt, ...]
    tokenizer: TokenizerInfo
    dtype: np.dtype[Any]
    eos: int | None
    state: str
    normalize: tuple[str, ...] = ()

    @property
    def index_root(self) -> str:
        """Where their index lies."""
        return index_root(self.root)


def index_root(root: str) -> str:
    """Where the index of the parts below `root` lies."""
    return f"{root}/{FIND}" if root else FIND


def opened_folder(place: str) -> tuple[RunFolder, bool]:
    """A folder, and whether it is a run's.

    Raises:
        UsageError: it cannot be used, or nothing is there.
    """
    folder = run_folder(place)
    folder.check()
    if folder.stat(layout.SHARDS) is not None:
        return folder, True
    if next(folder.list(), None) is None:
        raise UsageError(f"{place}: nothing is there. Give the `output` of a recipe, or a folder of token parts.")
    return folder, False


def state_of_run(folder: RunFolder, place: str) -> str:
    """What tells one state of a run's token parts from another: the hash of their manifest.

    Raises:
        UsageError: they are not finished.
    """
    name = layout.manifest(TOKENS)
    if folder.stat(name) is None:
        raise UsageError(f"{place}: this run has no finished token parts. First: dolma-pipeline tokens RECIPE.")
    return f"sha256:{hashlib.sha256(folder.read(name)).hexdigest()}"


def state_of_others(parts: tuple[PartAt, ...]) -> str:
    """The same for parts that others made: names and sizes, for nothing tells of their contents."""
    return digest([[part.name, part.size] for part in parts])


def listed_parts(folder: RunFolder, place: str) -> tuple[PartAt, ...]:
    """The files of ids below a folder that is no run's, by name.

    Raises:
        UsageError: there are none.
    """
    found = [
        PartAt(one.name, one.size)
        for one in folder.list()
        if one.name.endswith(ENDINGS) and not one.name.startswith(f"{FIND}/")
    ]
    if not found:
        raise UsageError(
            f"{place}: neither a run's folder ({layout.SHARDS} is not there) nor a folder with token parts "
            f"({' or '.join(f'*{ending}' for ending in ENDINGS)}). Give the `output` of a recipe, or a folder of parts."
        )
    return tuple(found)


def parts_of_run(folder: RunFolder, place: str) -> TokenParts:
    """The parts that a run trains on.

    Raises:
        UsageError: they are not finished. DataError: the tokenizer is not the one that they were made with.
    """
    state = state_of_run(folder, place)
    manifest = read_manifest(folder, TOKENS)
    assert manifest is not None
    text = folder.read(layout.TOKENIZER).decode()
    special = (read_manifest(folder, "tokenizer") or {}).get("tokenizer", {}).get("special", {})
    info = parse_tokenizer(text, special_tokens=[*special], engine="tokenizers", name=f"{place}/{layout.TOKENIZER}")
    if f"sha256:{info.sha256}" != manifest["tokenizer"]:
        raise DataError(
            f"{place}/{layout.TOKENIZER}: not the tokenizer that the token parts were made with (its sha256 is "
            "another). Put it back, or make the tokens again: dolma-pipeline tokens RECIPE --redo."
        )
    parts = tuple(_trained_on(folder))
    if not parts:
        raise UsageError(f"{place}: its token parts have no file of raw ids (*.npy); no index can be made of them.")
    dtype = np.dtype(manifest["dtype"]).newbyteorder("<")
    normalize = (read_manifest(folder, layout.INDEX) or {}).get("config", {}).get("normalize", ())
    return TokenParts(place, folder, TOKENS, parts, info, dtype, int(manifest["eos"]), state, tuple(normalize))


def parts_of_others(
    folder: RunFolder, place: str, *, tokenizer: str | None, eos: str | None, dtype: str | None
) -> TokenParts:
    """Parts that others made.

    Args:
        tokenizer: path of their tokenizer.json. eos: token that ends a document; default what their tables say.
        dtype: of raw ids; default the smallest that holds the tokenizer's.

    Raises:
        UsageError: no parts, or no tokenizer. DataError: not a tokenizer.
    """
    parts = listed_parts(folder, place)
    if tokenizer is None:
        raise UsageError(f"{place} is not a run's folder, so its tokenizer is not known: give --tokenizer FILE.")
    info = parse_tokenizer(tokenizer_text(tokenizer), engine="tokenizers", name=tokenizer)
    kind = np.dtype(dtype).newbyteorder("<") if dtype else info.dtype
    return TokenParts(place, folder, "", parts, info, kind, _eos_id(info, eos), state_of_others(parts))


def _eos_id(info: TokenizerInfo, eos: str | None) -> int | None:
    if eos is None:
        return None
    known = {**info.special_ids, **info.added_ids}
    if eos not in known:
        raise UnknownNameError("token", eos, known, hint="--eos names the token that ends a document.")
    return known[eos]


def _trained_on(folder: RunFolder) -> Iterator[PartAt]:
    """Files of ids of the split `train`, in the order of their names."""
    for record in read_lines(folder, TOKENS):
        if record["shard"].startswith("train/"):
            for output in record["outputs"]:
                if output["path"].endswith(".npy"):
                    yield PartAt(f"{TOKENS}/{output['path']}", output["bytes"], output["sha256"])
