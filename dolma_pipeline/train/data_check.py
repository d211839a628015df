"""Whether the data is that of the settings, and the order that of the checkpoints; at every start. Does not load torch.

Hashing terabytes of ids would take hours, so what is compared is what the tokens stage wrote down of them: the digest
of the dataset, the list of parts with their hashes, and the size that each part has on the disk now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import differences, pretty
from dolma_pipeline.io.paths import sha256_file
from dolma_pipeline.train.compatible import BEFORE
from dolma_pipeline.train.files import Settings, committed_steps, train_folder
from dolma_pipeline.train.stages import dataset_of, sections_of


def check_tokens(run_dir: Path, settings: Settings) -> None:
    """Compare a run's tokens with the settings, as their manifest and its list of parts tell of them.

    Raises:
        DataError: another dataset, another list of parts than the manifest tells of, or a part of another size.
    """
    manifests = {section: _manifest(run_dir / section) for section in sections_of(settings.train)}
    found = dataset_of({section: str(manifest.get("dataset")) for section, manifest in manifests.items()})
    if found != settings.dataset:
        raise DataError(
            f"{run_dir / ', '.join(manifests)}/manifest.json: dataset is {found}, but training is of "
            f"{settings.dataset}. Give --redo to train on what is there now, or bring back the shards that training "
            "began with."
        )
    for section, manifest in manifests.items():
        _check_parts(run_dir / section, manifest)


def _manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        raise DataError(f"{path}: no such file; the tokens stage writes it. Run it first.")
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _check_parts(folder: Path, manifest: Mapping[str, Any]) -> None:
    path, listed = folder / "manifest.json", manifest.get("shards")
    if listed is None:
        return  # shards that were made elsewhere have no list
    lines = folder / listed["file"]
    if not lines.is_file() or sha256_file(lines) != listed["sha256"]:
        raise DataError(f"{lines}: gone, or not the list that {path} tells of. Run the tokens stage again.")
    for line in lines.read_bytes().splitlines():
        for output in orjson.loads(line)["outputs"]:
            part = folder / output["path"]
            if output["path"].startswith("train/") and part.suffix == ".npy":
                size = part.stat().st_size if part.is_file() else 0
                if size != output["bytes"]:
                    raise DataError(f"{part}: {size:,} bytes, where {lines} lists {output['bytes']:,}. Make it anew.")


def check_order(run_dir: Path, content: Mapping[str, Any]) -> None:
    """Write `train/order.json`; where there are checkpoints, only if it is not there: else it must say the same.

    Args:
        content: what it is to say.

    Raises:
        DataError: the checkpoints were trained in another order; names the keys.
    """
    path = train_folder(run_dir) / "order.json"
    if not committed_steps(run_dir) or not path.is_file():
        paths.write_bytes(path, pretty(content))
        return
    try:
        old = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: damaged: not valid JSON ({error}). Delete it; it is written anew.") from error
    if changes := differences({"kind": BEFORE["order"], **old}, content):
        raise DataError(
            f"{path}: the checkpoints there were trained in another order: {'; '.join(changes)}. Bring back the data "
            "and settings that they were trained with, or give --redo to train from the start."
        )
