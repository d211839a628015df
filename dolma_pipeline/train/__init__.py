"""A small FSDP2 trainer: shards of tokens in, checkpoints and metrics out.

Read in this order: `train` (the loop, top to bottom) and `step` (one of them); then, as far as you need it,

the model       spec, presets, model, decoder, initial, shard, mesh, first_weights
the data        work, data, stages, prefetch; chat, adapted, examples, reference for dialogues and pairs
learning        objective, optim, schedule, micro_batches, blame, quarantine
what is kept    files, compatible, checkpoint, commit, retention, resume, order_file; source, adapt to start from others
around it       processes, world, agree, signals, data_check, log, speed, board, curves, hugging_face

Importing this package does not load torch.
"""

from dolma_pipeline.train.adapt import prepare
from dolma_pipeline.train.decoder import DECODER
from dolma_pipeline.train.files import (
    Init,
    Settings,
    committed_steps,
    read_settings,
    step_folder,
    train_folder,
    write_config,
)
from dolma_pipeline.train.presets import PRESETS, ModelConfig
from dolma_pipeline.train.processes import launch, require_torch, resolve_processes
from dolma_pipeline.train.source import Source, check_fit, check_tokenizer, find_source
from dolma_pipeline.train.spec import (
    MODELS,
    USUAL_VOCABULARY,
    ModelSpec,
    Role,
    Shape,
    model_config,
    register_model,
    spec_for,
)
from dolma_pipeline.train.stages import dataset_of, sections_of

__all__ = [
    "DECODER",
    "MODELS",
    "PRESETS",
    "USUAL_VOCABULARY",
    "Init",
    "ModelConfig",
    "ModelSpec",
    "Role",
    "Settings",
    "Shape",
    "Source",
    "check_fit",
    "check_tokenizer",
    "committed_steps",
    "dataset_of",
    "find_source",
    "launch",
    "model_config",
    "prepare",
    "read_settings",
    "register_model",
    "require_torch",
    "resolve_processes",
    "sections_of",
    "spec_for",
    "step_folder",
    "train_folder",
    "write_config",
]
