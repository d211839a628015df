"""A saved step as a folder that transformers loads; the weights in a process of their own. Does not load torch.

All that is small is made and checked here, before that process starts. The folder appears under its name only when it
is whole; what a killed export leaves beside it goes with the next one there.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

from dolma_pipeline.errors import UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.storage.faults import told
from dolma_pipeline.storage.folder import RunFolder
from dolma_pipeline.storage.inputs import is_url
from dolma_pipeline.storage.scratch import OwnFolder
from dolma_pipeline.train.files import read_settings
from dolma_pipeline.train.hugging_face.card import card
from dolma_pipeline.train.hugging_face.shape import DTYPES, Dtype, Form, config_json
from dolma_pipeline.train.hugging_face.tokenizer import write_tokenizer
from dolma_pipeline.train.processes import num_cores, require_torch, supervise


def place_for(output: str) -> Path:
    """Where a model is to be written, checked before any work.

    Raises:
        UsageError: a URL, a file, or a folder that has files.
    """
    if is_url(output):
        raise UsageError(f"{output}: a model is exported to this machine's disk; give --output a path.")
    place = Path(paths.expanded(output)).absolute()
    if place.is_dir() and any(place.iterdir()):
        raise UsageError(f"{output}: has files in it already. Give --output a folder that is empty or not there yet.")
    if place.exists() and not place.is_dir():
        raise UsageError(f"{output} is a file. Give --output the name of a folder.")
    return place


def export(
    run_dir: Path,
    output: Path,
    *,
    folder: RunFolder,
    step: int,
    form: Form = "hf",
    dtype: Dtype = "fp32",
    stage: str = "train",
) -> dict[str, Any]:
    """Write the model of a saved step into a folder, with its tokenizer and a card.

    Args:
        run_dir: with train/ and tokenizer/, on this machine; of `sft` and `dpo` their own. output: see `place_for`.
        folder: the run's, whose manifests the card tells of. step: a saved one.
        form: `hf` is what a class of transformers loads; `safetensors` is our own names, for any shape.
        dtype: of the weights. stage: whose model it is, `train`, `sft` or `dpo`.

    Returns:
        The content of `config.json`.

    Raises:
        UsageError: torch is missing, or no class of transformers has this shape.
        RunError: the disk does not take it, or the process failed.
    """
    require_torch()
    settings = read_settings(run_dir)
    content = config_json(settings.model, form=form, eos_id=settings.eos_id, dtype=DTYPES[dtype])
    with told("written", output):
        output.parent.mkdir(parents=True, exist_ok=True)
    with closing(OwnFolder(output.parent)) as own:
        place = own.path / output.name
        place.mkdir()
        length = settings.model.sequence_length
        ends = write_tokenizer(
            run_dir / "tokenizer" / "tokenizer.json", place, eos_id=settings.eos_id, sequence_length=length
        )
        generation = {"eos_token_id": settings.eos_id, "pad_token_id": settings.eos_id}
        paths.write_bytes(place / "config.json", pretty(content))
        paths.write_bytes(place / "generation_config.json", pretty(generation))
        inside = "" if stage == "train" else f"{stage}/"
        told_of = card(folder, settings, step=step, content=content, ends=ends, inside=inside)
        paths.write_bytes(place / "README.md", told_of.encode())
        arguments = ["-m", "dolma_pipeline.train.hugging_face", str(run_dir.resolve()), str(step), str(place)]
        arguments += ["--form", form, "--dtype", dtype]
        supervise(arguments, name="export", log=run_dir / "log" / "export.txt", threads=num_cores())
        with told("written", output):
            os.replace(place, output)
    return content
