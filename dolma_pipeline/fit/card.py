"""What is written beside a model: what it was made of, how, what it is worth. Same inputs, same bytes."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dolma_pipeline import __version__
from dolma_pipeline.errors import UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.storage.inputs import is_url

FORMAT = 1
ENDING = ".card.json"
_PIECE = 1 << 20


def card_path(model: Path) -> Path:
    """Where the card of a model lies."""
    return model.with_name(model.name + ENDING)


def place_for(out: str, *, replace: bool) -> Path:
    """Where a model is to be written, checked before any work.

    Raises:
        UsageError: a URL, a folder, a place below a file, or a file that is there already.
    """
    if is_url(out):
        raise UsageError(f"{out}: a model is written to this machine's disk; give --out a path.")
    place = Path(paths.expanded(out))
    if place.is_dir() or out.endswith("/"):
        raise UsageError(f"{out} is a folder; give --out the name of a file in it, such as {place / 'quality.bin'}.")
    above = next((one for one in place.parents if one.exists()), None)
    if above is not None and not above.is_dir():
        raise UsageError(f"{out}: {above} is a file, so nothing can be written below it. Give another --out.")
    there = [one for one in (place, card_path(place)) if one.exists()]
    if there and not replace:
        raise UsageError(f"{there[0]} is there already. Give another --out, or --replace.")
    return place


def write(place: Path, model: Path, told: Mapping[str, Any], *, libraries: tuple[str, ...]) -> dict[str, Any]:
    """Write a model and its card; gives the card.

    Args:
        model: the model's file, in scratch. told: all but what is known of the file. libraries: distributions whose
            version the bytes depend on.
    """
    with paths.committing(place) as target, open(model, "rb") as source:
        while piece := source.read(_PIECE):
            target.write(piece)
    card = {
        "format": FORMAT,
        "file": place.name,
        "sha256": paths.sha256_file(place),
        "num_bytes": place.stat().st_size,
        "versions": {"dolma_pipeline": __version__} | {name: importlib.metadata.version(name) for name in libraries},
        **told,
    }
    paths.write_bytes(card_path(place), (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())
    return card
