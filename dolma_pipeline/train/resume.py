"""What training finds when it starts or goes on, beside weights: found by one process, the same for all.

Does not load torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dolma_pipeline.train.commit import read_commit
from dolma_pipeline.train.data_check import check_order
from dolma_pipeline.train.files import Settings, step_folder
from dolma_pipeline.train.log import skipped_in_a_row
from dolma_pipeline.train.quarantine import Line, read_quarantine, refuse_late_lines
from dolma_pipeline.train.retention import disk_told


@dataclass(frozen=True, slots=True)
class Begun:
    """What was found.

    quarantine: its lines, without those of the trainer's own that are cut. skipped_in_a_row: the last steps that were
    skipped. disk: a sentence on the room that checkpoints need, or "".
    """

    quarantine: list[Line]
    skipped_in_a_row: int
    disk: str

    def by_hand_at(self, done: int) -> set[int]:
        """Instances that count no more once so many steps are done, by hand."""
        return {line.instance for line in self.quarantine if line.step == done and not line.own}


def take_up(
    run_dir: Path, settings: Settings, order: Mapping[str, Any], *, num_instances: int, done: int | None
) -> Begun:
    """Check the order, the quarantine and the disk against the checkpoint that training goes on from.

    Args:
        order: what `order.json` is to say. num_instances: in all parts.
        done: its step; None: training starts.

    Raises:
        DataError: the checkpoint was trained in another order, or with other lines of quarantine; or a line is wrong.
        RunError: no room for one checkpoint.
    """
    check_order(run_dir, order)
    steps = done or 0
    every = read_quarantine(run_dir, num_instances=num_instances, num_steps=settings.num_steps)
    lines = [line for line in every if not line.own or line.step <= steps]
    if done is not None and (commit := read_commit(step_folder(run_dir, done))).files is not None:
        refuse_late_lines(run_dir, lines, done=done, known=commit.quarantine)
    return Begun(lines, skipped_in_a_row(run_dir, until=steps), disk_told(run_dir, settings, done=done))
