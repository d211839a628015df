"""Weights from a folder in the files of Hugging Face, under our names: OLMo's, LLaMA's, and what `export` writes.

A tensor is read when it is asked for, so memory is that of one parameter, twice, whatever the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import torch
from torch import Tensor

from dolma_pipeline.errors import DataError
from dolma_pipeline.train.hugging_face.names import (
    EMBEDDING,
    HEAD,
    THEIR_EMBEDDING,
    THEIR_HEAD,
    Parts,
    own_part,
    their_parts,
)
from dolma_pipeline.train.hugging_face.shape import OWN
from dolma_pipeline.train.hugging_face.shape_read import differing, shape_of
from dolma_pipeline.train.hugging_face.tensor_file import TensorFile
from dolma_pipeline.train.hugging_face.weights import as_ours, first_rows
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.spec import Shape, spec_of

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

_COMPUTED = ".rotary_emb.inv_freq"
"""Ending of tensors in old files of LLaMA: what positions turn by, which follows from `rope_theta`."""
_SHOWN = 5
_Files = Mapping[str, TensorFile]
"""Of each tensor the file that it is in."""


class Weights(Mapping[str, Tensor]):
    """Parameters of a model by name, float32 on the CPU; each is read anew when it is asked for.

    Made by `read_hf`, which has checked that all are there and fit.
    """

    def __init__(self, shapes: Mapping[str, torch.Size], parts: Mapping[str, Parts], files: _Files) -> None:
        self._shapes, self._parts, self._files = shapes, parts, files

    def __getitem__(self, name: str) -> Tensor:
        """The parameter, with padding rows of 0. KeyError where the model has none of that name."""
        pieces = [first_rows(self._files[theirs].read(theirs), rows) for theirs, rows in self._parts[name]]
        return as_ours(pieces, self._shapes[name])

    def __iter__(self) -> Iterator[str]:
        """Names in the order of the model."""
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def read_hf(folder: str | Path, *, into: Shape | None = None) -> tuple[Shape, Weights]:
    """The shape and the weights in a folder.

    Args:
        folder: with config.json and model.safetensors, or several such files and their index.
        into: the shape that the weights are for. A decoder's ids may be fewer (released models have rows above those
            of their tokenizer), and sequences shorter or longer. None takes the folder's.

    Returns:
        `into`, or the folder's shape, and all parameters of it.

    Raises:
        DataError: no such files, another model, tensors that are missing, unknown or of another shape, or another
            shape than `into`; it names the differences.
        UnknownNameError: an architecture of our own form that no module here declares.
    """
    place = Path(folder)
    path = place / "config.json"
    content = _json(path)
    there = shape_of(content, str(path))
    here = there if into is None else into
    if differences := differing(there, here):
        raise DataError(f"{path}: another shape than the model that its weights are for: {'; '.join(differences)}.")
    if here.vocab_size > there.vocab_size:
        raise DataError(
            f"{path}: the model has {there.vocab_size:,} ids, fewer than the {here.vocab_size:,} that are needed."
        )
    files = _files(place)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in spec_of(here).build(here).named_parameters()}
    theirs = here if content["model_type"] != OWN and isinstance(here, ModelConfig) else None
    parts = {
        name: their_parts(name, theirs) if theirs else own_part(name, shape, here) for name, shape in shapes.items()
    }
    wanted: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        cut = isinstance(here, ModelConfig) and name in (EMBEDDING, HEAD)
        rows_there = {one: there.vocab_size if cut else rows for one, rows in parts[name]}
        wanted |= {one: (rows, *shape[1:]) if shape else () for one, rows in rows_there.items()}
    _check(place, wanted, files, tied=theirs is not None and theirs.tied)
    return here, Weights(shapes, parts, files)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file. A folder of a model in the files of Hugging Face has it.")
    try:
        content = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a JSON object.")
    return content


def _files(folder: Path) -> _Files:
    """Every tensor's file, by the tensor's name."""
    if (folder / WEIGHTS).is_file():
        names = [WEIGHTS]
    elif (folder / INDEX).is_file():
        listed = _json(folder / INDEX).get("weight_map")
        if not isinstance(listed, dict):
            raise DataError(f"{folder / INDEX}: has no weight_map, which says in which file a tensor is.")
        names = sorted({str(name) for name in listed.values()})
    else:
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        cure = "they can run code when they are read: write them anew as safetensors with transformers' save_pretrained"
        hint = f" There is {', '.join(pickled[:_SHOWN])}; {cure}." if pickled else ""
        raise DataError(f"{folder}: neither {WEIGHTS} nor {INDEX}.{hint}")
    found: dict[str, TensorFile] = {}
    for name in names:
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: no such file, though {INDEX} names it.")
        file = TensorFile(folder / name)
        if twice := sorted(found.keys() & file.places.keys()):
            raise DataError(f"{folder}: {twice[0]} is in {found[twice[0]].path.name} and in {name}.")
        found |= dict.fromkeys(file.places, file)
    return found


def _check(folder: Path, wanted: Mapping[str, tuple[int, ...]], files: _Files, *, tied: bool) -> None:
    """Hold that the files have what the model needs, in these shapes, and nothing else."""
    extra = {name for name in files if name not in wanted and not name.endswith(_COMPUTED)}
    if tied and THEIR_HEAD in extra and THEIR_EMBEDDING in files:
        head, embedding = (files[name].read(name) for name in (THEIR_HEAD, THEIR_EMBEDDING))
        if not torch.equal(head, embedding):
            raise DataError(
                f"{folder}: by config.json embedding and output are one matrix, but {THEIR_HEAD} is another than "
                f"{THEIR_EMBEDDING}. Set tie_word_embeddings to false there."
            )
        extra.remove(THEIR_HEAD)
    for what, names in (("it lacks", wanted.keys() - files.keys()), ("no such model has", extra)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            shown = ", ".join(sorted(names)[:_SHOWN])
            raise DataError(f"{folder}: the weights do not fit config.json; {what} {shown}{more}.")
    for name, shape in wanted.items():
        if (found := files[name].places[name].shape) != shape:
            raise DataError(f"{folder}: {name} is {list(found)}; by config.json it would be {list(shape)}.")
