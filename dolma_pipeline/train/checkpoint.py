"""Checkpoints with torch's distributed checkpoint (DCP): weights and the optimizer's state, whatever the sharding.

Any number of processes reads what any other number wrote; the same number goes on bit for bit. Where the data stands
is arithmetic on the step, so nothing else is saved. A folder counts once `commit.json`, written last, is in it, and is
used only if every file is what that says.
Cost: 12 bytes a parameter on disk; each file is read once more to be hashed. Equal runs write equal bytes.
"""

from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import StorageMeta
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save as save_state

from dolma_pipeline.errors import DamagedCheckpointError
from dolma_pipeline.storage.faults import refused, told
from dolma_pipeline.train.agree import agreed, all_of
from dolma_pipeline.train.commit import COMMIT, Commit, file_record, read_commit, verify, write_commit
from dolma_pipeline.train.files import committed_steps, step_folder

STATE = "model_and_optim"


class _Writer(FileSystemWriter):
    """Leaves the path and the random id out of the metadata, which would differ between equal runs."""

    def storage_meta(self) -> StorageMeta | None:
        return None


def save(
    run_dir: Path,
    step: int,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    num_tokens: int,
    quarantine: str = "",
) -> None:
    """Write the checkpoint of a step; all processes call this together.

    Args:
        num_tokens: seen so far. quarantine: digest of the lines by hand that counted until now. For `commit.json`.

    Raises:
        RunError: on all processes, the disk refuses it; there is no commit then, so what was written does not count.
    """
    folder = step_folder(run_dir, step)
    if dist.get_rank() == 0:
        remove(folder)  # what a kill left behind, or a damaged one
    dist.barrier()
    try:
        save_state(_state(model, optimizer), storage_writer=_Writer(folder / STATE))
    except CheckpointException as error:  # on all processes, what one of them met
        met = [one for one, _ in error.failures.values()]
        if refusal := next((one for one in met if isinstance(one, OSError)), None):
            raise refused("written", folder, refusal) from error
        raise
    dist.barrier()
    files: dict[str, Any] = {}
    for part in all_of(lambda: {name: file_record(folder / name) for name in _own_files(folder)}):
        files |= part
    commit = Commit(step=step, tokens=num_tokens, files=files, quarantine=quarantine)

    def write() -> None:
        with told("written", folder):
            write_commit(folder, commit)

    agreed(write)


def remove(folder: Path) -> None:
    """Take a checkpoint away; its commit first, so that a kill leaves nothing that counts."""
    (folder / COMMIT).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def load_newest(
    run_dir: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer, allow_older: bool = False
) -> int | None:
    """Put the newest whole checkpoint into model and optimizer, in place; all processes call this together.

    Args:
        allow_older: take the one before where it is damaged.

    Returns:
        Its step, or None if there is none.

    Raises:
        DamagedCheckpointError: it is damaged, or, with `allow_older`, all are.
    """
    steps = agreed(lambda: committed_steps(run_dir))
    for place, step in reversed([*enumerate(steps)]):
        folder = step_folder(run_dir, step)
        try:
            check(folder)
        except DamagedCheckpointError as error:
            if not allow_older or place == 0:
                raise DamagedCheckpointError(f"{error}. {_advice(steps[:place])}") from error
            if dist.get_rank() == 0:
                print(f"train: {error}. It is not used; the one before is.", file=sys.stderr, flush=True)
            continue
        load(_state(model, optimizer), checkpoint_id=folder / STATE)
        return step
    return None


def check(folder: Path) -> Commit:
    """Verify all files of a checkpoint, each process some of them; all call this together.

    Raises:
        DamagedCheckpointError: on all processes, the first damage that one of them found.
    """
    commit = agreed(lambda: read_commit(folder))
    if commit.files is None:
        if dist.get_rank() == 0:
            print(f"train: {folder.name} is of an earlier version, without digests: not checked", file=sys.stderr)
        return commit
    names = sorted(commit.files)
    mine = names[dist.get_rank() :: dist.get_world_size()]
    all_of(lambda: verify(folder, commit, mine))
    return commit


def load_from(folder: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> None:
    """Put a checkpoint of any run into a model, and into its optimizer if there is one; all processes together."""
    state = {"model": model.state_dict()} if optimizer is None else _state(model, optimizer)
    load(state, checkpoint_id=folder / STATE)


def load_model(run_dir: Path, step: int, *, model: nn.Module, together: bool = False) -> None:
    """Put the weights of a saved step into a model, in place.

    Args:
        model: whole; or, `together`, spread over the processes of a group, all of which call this.

    Raises:
        DamagedCheckpointError: a file of the checkpoint is not what it was.
    """
    load_tensors(verified(run_dir, step), model.state_dict(), together=together)


def verified(run_dir: Path, step: int) -> Path:
    """Where the tensors of a saved step lie, all its files looked at, without other processes.

    Raises:
        DamagedCheckpointError: a file of the checkpoint is not what it was.
    """
    folder = step_folder(run_dir, step)
    commit = read_commit(folder)
    verify(folder, commit, sorted(commit.files or ()))
    return folder / STATE


def load_tensors(folder: Path, tensors: dict[str, Any], *, together: bool = False) -> None:
    """Put some of a model's tensors, by name, into tensors of their shape, in place.

    Args:
        folder: as `verified` gives it. together: all processes of a group call this, each with its share.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # as is meant
        load({"model": tensors}, checkpoint_id=folder, no_dist=not together)


def _own_files(folder: Path) -> list[str]:
    """The files that this process wrote; the first one's are all that no other has."""
    rank, size = dist.get_rank(), dist.get_world_size()
    others = tuple(f"__{other}_" for other in range(size) if other != rank)
    names = sorted(path.name for path in (folder / STATE).iterdir())
    own = [name for name in names if name.startswith(f"__{rank}_") or (rank == 0 and not name.startswith(others))]
    return [f"{STATE}/{name}" for name in own]


def _advice(older: Sequence[int]) -> str:
    if not older:
        return "There is no older checkpoint. Put the file back, or give --redo to train from the start."
    return (
        f"Put the file back, or set train.allow_older_checkpoint to true to go on after step {older[-1]}, or give "
        "--redo to train from the start."
    )


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    """The tensors themselves, which loading fills in place, in the model's order and under names as OLMo-core's."""
    moments = {name: optimizer.state[parameter] for name, parameter in model.named_parameters()}
    return {"model": model.state_dict(), "optim": {"state": moments}}
