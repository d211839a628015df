"""A stage's model as people name it: `runs/chat/sft` is that of the stage `sft` of the run `runs/chat`."""

from __future__ import annotations

from dolma_pipeline.run import layout
from dolma_pipeline.storage.folder import run_folder

ADAPTED = ("sft", "dpo")
"""Stages that go on with a model, in a folder of their own."""


def run_and_stage(place: str) -> tuple[str, str | None]:
    """The folder of a run, and the stage, where a place is the folder of a stage in it; else the place and None.

    Args:
        place: a path or a URL.

    Raises:
        UsageError: a scheme that run folders cannot have.
    """
    run, _, stage = place.rstrip("/").rpartition("/")
    if stage not in ADAPTED:
        return place, None
    run = run or ("/" if place.startswith("/") else ".")
    folder = run_folder(run)
    is_run = folder.stat(layout.SHARDS) is not None or folder.stat(layout.RECIPE) is not None
    has_model = is_run and folder.stat(layout.of_model(stage, "train/config.json")) is not None
    return (run, stage) if has_model else (place, None)
