from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from dolma_pipeline.errors import DamagedCheckpointError
from dolma_pipeline.train.commit import Commit, file_record, read_commit, verify, write_commit

NAME = "model_and_optim/__0_0.distcp"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint of one file."""
    folder = tmp_path / "step-000200"
    (folder / NAME).parent.mkdir(parents=True)
    (folder / NAME).write_bytes(b"weights")
    files = {NAME: file_record(folder / NAME)}
    write_commit(folder, Commit(step=200, tokens=800, files=files, quarantine="sha256:q"))
    return folder


def test_a_commit_comes_back(folder: Path) -> None:
    commit = read_commit(folder)
    assert (commit.step, commit.tokens, commit.quarantine) == (200, 800, "sha256:q")
    assert commit.files == {NAME: {"bytes": 7, "sha256": hashlib.sha256(b"weights").hexdigest()}}
    verify(folder, commit, [NAME])


def test_a_flipped_bit_in_any_byte_and_any_cut_of_it_is_found(folder: Path) -> None:
    path = folder / "commit.json"
    content = path.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(DamagedCheckpointError, match=r"commit.json: "):
            read_commit(folder)
        path.write_bytes(content[:place])
        with pytest.raises(DamagedCheckpointError, match=r"commit.json: damaged"):
            read_commit(folder)


def test_files_are_compared(folder: Path) -> None:
    commit = read_commit(folder)
    (folder / NAME).write_bytes(b"weightz")
    found, expected = (hashlib.sha256(content).hexdigest() for content in (b"weightz", b"weights"))
    with pytest.raises(DamagedCheckpointError, match=f"__0_0.distcp: damaged: its sha256 is {found}, .* {expected}$"):
        verify(folder, commit, [NAME])
    (folder / NAME).write_bytes(b"weight")
    with pytest.raises(DamagedCheckpointError, match=r"__0_0.distcp: damaged: 6 bytes, expected are 7"):
        verify(folder, commit, [NAME])
    (folder / NAME).unlink()
    with pytest.raises(DamagedCheckpointError, match=r"__0_0.distcp: gone; expected are 7 bytes"):
        verify(folder, commit, [NAME])


def test_a_folder_under_another_name(folder: Path) -> None:
    moved = folder.rename(folder.with_name("step-000300"))
    with pytest.raises(DamagedCheckpointError, match="it is of step 200, in the folder step-000300"):
        read_commit(moved)


def test_one_of_the_first_format_has_no_hashes(tmp_path: Path) -> None:
    folder = tmp_path / "step-000004"
    folder.mkdir()
    (folder / "commit.json").write_text('{\n  "format": 1,\n  "step": 4,\n  "tokens": 512\n}\n')
    assert read_commit(folder) == Commit(step=4, tokens=512)


def test_one_of_a_later_format(folder: Path) -> None:
    content = json.loads((folder / "commit.json").read_text()) | {"format": 3}
    (folder / "commit.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    with pytest.raises(DamagedCheckpointError, match="of a later version: format 3, where this version reads up to 2"):
        read_commit(folder)


def test_none(tmp_path: Path) -> None:
    with pytest.raises(DamagedCheckpointError, match="no such file: there is no checkpoint, or it was never whole"):
        read_commit(tmp_path)
