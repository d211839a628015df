"""`commit.json`, written last: that a checkpoint is whole, and what each of its files must be. Does not load torch.

It holds the size and sha256 of every file, and a digest of itself, so that a flipped bit or a cut anywhere in a
checkpoint is found and named before anything of it is used. Cost: one reading of each file, about 1 GB/s a process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from dolma_pipeline.errors import DamagedCheckpointError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import digest, pretty

COMMIT = "commit.json"
FORMAT = 2
"""1 had `format`, `step` and `tokens` only; such checkpoints are still read, unchecked."""

_FIRST_KEYS = {"format", "step", "tokens"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What a commit says.

    step, tokens: seen so far. files: name in the checkpoint's folder -> `bytes` and `sha256`; None in format 1.
    quarantine: digest of the lines by hand that its steps were masked by; "" where it does not say.
    """

    step: int
    tokens: int
    files: Mapping[str, Mapping[str, Any]] | None = field(default=None)
    quarantine: str = ""


def file_record(path: Path) -> dict[str, Any]:
    """Size and sha256 of a file, as a commit keeps them; read in pieces."""
    return {"bytes": path.stat().st_size, "sha256": paths.sha256_file(path)}


def write_commit(folder: Path, commit: Commit) -> None:
    """Write a checkpoint's `commit.json`; from then on it counts."""
    content = {
        "format": FORMAT,
        "step": commit.step,
        "tokens": commit.tokens,
        "files": commit.files,
        "quarantine": commit.quarantine,
    }
    paths.write_bytes(folder / COMMIT, pretty(content | {"digest": digest(content)}))


def read_commit(folder: Path) -> Commit:
    """The commit of a checkpoint.

    Raises:
        DamagedCheckpointError: it is not what `write_commit` wrote.
    """
    path = folder / COMMIT
    if not path.is_file():
        raise DamagedCheckpointError(f"{path}: no such file: there is no checkpoint, or it was never whole")
    written = path.read_bytes()
    try:
        content = orjson.loads(written)
    except orjson.JSONDecodeError as error:
        raise DamagedCheckpointError(f"{path}: damaged: not valid JSON ({error}), {len(written)} bytes") from error
    if not isinstance(content, dict) or pretty(content) != written:
        raise DamagedCheckpointError(f"{path}: damaged: its {len(written)} bytes are not as they were written")
    if content.get("format") == 1 and content.keys() == _FIRST_KEYS:
        commit = Commit(step=content["step"], tokens=content["tokens"])
    else:
        expected = content.pop("digest", None)
        if content.get("format") != FORMAT or digest(content) != expected:
            raise DamagedCheckpointError(
                f"{path}: damaged, or of a later version: format {content.get('format')}, where this version reads up "
                f"to {FORMAT}; its digest is {digest(content)}, and it should be {expected}"
            )
        commit = Commit(
            step=content["step"],
            tokens=content["tokens"],
            files=content["files"],
            quarantine=content["quarantine"],
        )
    if folder.name != f"step-{commit.step:06d}":
        raise DamagedCheckpointError(f"{path}: it is of step {commit.step}, in the folder {folder.name}")
    return commit


def verify(folder: Path, commit: Commit, names: Iterable[str]) -> None:
    """Compare files of a checkpoint with what its commit says of them.

    Raises:
        DamagedCheckpointError: the first that is gone, or has another size or content; says what was expected.
    """
    for name in names:
        path, expected = folder / name, (commit.files or {})[name]
        if not path.is_file():
            raise DamagedCheckpointError(f"{path}: gone; expected are {expected['bytes']:,} bytes")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise DamagedCheckpointError(f"{path}: damaged: {size:,} bytes, expected are {expected['bytes']:,}")
        if (found := paths.sha256_file(path)) != expected["sha256"]:
            raise DamagedCheckpointError(f"{path}: damaged: its sha256 is {found}, expected is {expected['sha256']}")
