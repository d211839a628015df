"""The weights of a saved step as safetensors, in files of a few GB, read and written one parameter at a time.

Memory: the largest parameter, twice where it is cast or scaled (1.6 GB each in float32 for an embedding of 65B). Equal
weights give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.checkpoint import load_tensors, verified
from dolma_pipeline.train.files import read_settings
from dolma_pipeline.train.hugging_face.names import own_part
from dolma_pipeline.train.hugging_face.read import INDEX, WEIGHTS
from dolma_pipeline.train.hugging_face.shape import DTYPES, Dtype, Form
from dolma_pipeline.train.hugging_face.tensor_file import write_tensors
from dolma_pipeline.train.hugging_face.weights import as_theirs, first_rows
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.spec import spec_of

MAX_FILE_BYTES = 5_000_000_000
"""Of one file; a parameter that is larger has a file of its own. transformers cuts so as well."""


def write_weights(
    run_dir: Path,
    step: int,
    folder: Path,
    *,
    form: Form,
    dtype: Dtype,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> int:
    """Write `model.safetensors`, or several such files and their index, into a folder.

    Args:
        run_dir: with train/. step: a saved one. folder: that has none of these files.
        form: whose names. dtype: of the written tensors; muP's multipliers go in before the cast.

    Returns:
        Bytes of all tensors.

    Raises:
        DamagedCheckpointError: a file of the checkpoint is not what it was.
    """
    config = read_settings(run_dir).model
    with torch.device("meta"):
        parameters = {name: value.detach() for name, value in spec_of(config).build(config).named_parameters()}

    def converted(name: str, value: Tensor) -> dict[str, Tensor]:
        if form == "hf" and isinstance(config, ModelConfig):
            found = as_theirs(name, value, config)
        else:
            found = {one: first_rows(value, rows) for one, rows in own_part(name, value.shape, config)}
        return {one: tensor.to(getattr(torch, DTYPES[dtype])) for one, tensor in found.items()}

    planned = {name: converted(name, value) for name, value in parameters.items()}
    saved = verified(run_dir, step)
    files = _cut(planned, max_file_bytes)
    names = [WEIGHTS] if len(files) == 1 else [_numbered(i, len(files)) for i in range(1, len(files) + 1)]

    def read(chosen: list[str]) -> Iterator[tuple[str, Tensor]]:
        for name in chosen:
            value = torch.empty(parameters[name].shape)
            load_tensors(saved, {name: value})
            yield from converted(name, value).items()

    total, places = 0, dict[str, str]()
    for file, chosen in zip(names, files, strict=True):
        tensors = {theirs: like for name in chosen for theirs, like in planned[name].items()}
        write_tensors(folder / file, tensors, read(chosen))
        total += sum(map(_num_bytes, tensors.values()))
        places |= dict.fromkeys(tensors, file)
    if len(files) > 1:
        paths.write_bytes(folder / INDEX, pretty({"metadata": {"total_size": total}, "weight_map": places}))
    return total


def _cut(planned: dict[str, dict[str, Tensor]], max_bytes: int) -> list[list[str]]:
    """Our parameters file by file, in order."""
    files, size = [list[str]()], 0
    for name, tensors in planned.items():
        more = sum(map(_num_bytes, tensors.values()))
        if files[-1] and size + more > max_bytes:
            files.append([])
            size = 0
        files[-1].append(name)
        size += more
    return files


def _num_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _numbered(number: int, count: int) -> str:
    return f"model-{number:05d}-of-{count:05d}.safetensors"
