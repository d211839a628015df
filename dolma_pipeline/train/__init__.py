"""A small FSDP2 trainer: shards of tokens in, checkpoints and metrics out.

Read in this order: presets (shapes), model (the decoder), shard (FSDP2), data (order to batches), objective, optim,
step (one of them), checkpoint, log, train (the loop, top to bottom), processes (what starts it). Importing this
package does not load torch.
"""

from dolma_pipeline.train.files import (
    Settings,
    committed_steps,
    read_settings,
    step_folder,
    train_folder,
    write_config,
)
from dolma_pipeline.train.presets import PRESETS, ModelConfig, model_config
from dolma_pipeline.train.processes import launch, require_torch, resolve_processes

__all__ = [
    "PRESETS",
    "ModelConfig",
    "Settings",
    "committed_steps",
    "launch",
    "model_config",
    "read_settings",
    "require_torch",
    "resolve_processes",
    "step_folder",
    "train_folder",
    "write_config",
]
