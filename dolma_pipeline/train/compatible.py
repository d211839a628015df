"""Which settings decide a training run, and how those of an earlier version are read. Does not load torch.

A setting that comes later, with a default that changes nothing, never keeps an older run from going on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields
from typing import Any

import orjson

from dolma_pipeline.config.recipe import DpoConfig, SftConfig, TrainConfig
from dolma_pipeline.io.manifest import differences
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.schedule import CLIP_FACTOR, DECAY_SHARE, FINAL_SHARE

KINDS = {kind.objective: kind for kind in (TrainConfig, SftConfig, DpoConfig)}
"""Objective -> the section of a recipe that has it."""

HOW = (
    "processes",
    "save_every_steps",
    "keep_last",
    "keep_every_steps",
    "allow_older_checkpoint",
    "max_skipped_steps",
    "micro_batch_tokens",
    "activation_checkpointing",
    "compile",
    "shard_over",
    "checkpoints",
    "init_from",
    "loss_by_source",
    "eval_every_steps",
)
"""Keys of `train` that say how, not what: of the result at most the rounding of sums depends on them. They may change
at any time."""

FIRST = (
    "model",
    "sequence_length",
    "batch_tokens",
    "max_tokens",
    "lr",
    "weight_decay",
    "beta1",
    "beta2",
    "eps",
    "max_grad_norm",
    "warmup_steps",
    "schedule",
    "precision",
)
"""Keys of `train` that every run has; digests of all other keys count only where they are not their default."""

DECODER = "decoder"
"""The architecture of every run before there were others."""

BEFORE: Mapping[str, Any] = {"order": "olmo-core"}
"""What was done before there was a key, where that is not its default. Older runs go on so, whatever the recipe has."""


LEFT_OUT: Mapping[str, Any] = {
    "final_lr_share": FINAL_SHARE,
    "decay_share": DECAY_SHARE,
    "grad_clip_warmup_factor": CLIP_FACTOR,
}
"""What these keys are where they are left out: to write that out changes nothing."""


def deciding(config: TrainConfig) -> dict[str, Any]:
    """The keys that a trained model's digest depends on, with their values; what it starts from is not among them."""
    defaults = {one.name: _default(one) for one in fields(config)}
    return {
        key: value
        for key, value in _spelled_alike(asdict(config)).items()
        if key not in HOW and (key in FIRST or value != defaults[key])
    }


def filled(content: Mapping[str, Any]) -> dict[str, Any]:
    """What `config.json` holds, with the keys that came later than it: their defaults, or what was done before."""
    found = {"architecture": DECODER, "module": None, "objective": "next_token", **content}
    return found | {
        "train": {**_defaults(KINDS[found["objective"]]), **BEFORE, **content["train"]},
        "model": {**(_defaults(ModelConfig) if found["architecture"] == DECODER else {}), **content["model"]},
    }


def conflicts(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for each setting that an older `config.json` and the one of now do not have in common."""
    now = orjson.loads(orjson.dumps(new))
    now["train"] |= {key: value for key, value in BEFORE.items() if key not in old["train"]}
    before, after = (one | {"train": _spelled_alike(one["train"])} for one in (filled(old), filled(now)))
    lines = differences(before, after)
    return [line for line in lines if not line.startswith(tuple(f"train.{key}:" for key in HOW))]


def carried_on(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The older `config.json` with what may change as it is now."""
    return {**old, "train": {**old["train"], **{key: new["train"][key] for key in HOW if key in new["train"]}}}


def _spelled_alike(train: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings, however they were written: values that are those of a key left out, and the order of kinds."""
    left_out = {key: None for key, value in LEFT_OUT.items() if train[key] == value}
    kinds = train["weight_decay_on"]
    return {**train, **left_out, "weight_decay_on": type(kinds)(sorted(kinds))}


def _default(one: Field[Any]) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _defaults(kind: type) -> dict[str, Any]:
    given = {one.name: _default(one) for one in fields(kind) if one.name != "processes"}
    found = {name: value for name, value in given.items() if value is not MISSING}
    return orjson.loads(orjson.dumps(found))  # type: ignore[no-any-return]
