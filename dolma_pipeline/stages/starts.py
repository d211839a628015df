"""What a training stage starts from, as its artifact sees it: looked for once a process, its weights hashed."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from dolma_pipeline.config.keys import fields_of
from dolma_pipeline.config.recipe import TrainConfig, fail
from dolma_pipeline.errors import UsageError
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.stage import at
from dolma_pipeline.stages.tokenizer import given_text, run_tokenizer
from dolma_pipeline.train import Init, Shape, Source, check_fit, check_tokenizer, find_source, model_config

CONFIG = "train/config.json"
"""Where a training says what it started from, in its folder."""


def source_of(process: Process, named: str) -> Source:
    """What `init_from` names.

    Raises:
        UsageError: it is not there.
    """
    return process.kept(("init_from", named), lambda: find_source(named))


def init_of(process: Process, section: str, config: TrainConfig, *, folder: str = "") -> Init | None:
    """What a section of the recipe starts from; None: from weights drawn from the seed.

    Once training has begun it reads `init_from` no more, so a model that is gone by then is what `config.json` says.

    Args:
        section: name of the section. folder: its folder in the run's, with a `/` at its end; of `train`, none.

    Raises:
        UsageError: what it names is not there, and never was.
    """
    named = config.init_from
    if named is None:
        return None

    def look() -> Init:
        try:
            source = source_of(process, named)
        except UsageError:
            begun = _begun(process, folder, named)
            if begun is None:
                raise
            return begun
        return Init(step=source.step, weights=source.weights, extend=config.extend)

    with at(process.run.recipe, f"{section}.init_from"):
        return process.kept(("init", section), look)


def init_reads(section: str, config: TrainConfig, init: Init | None) -> dict[str, Any]:
    """What of it an artifact depends on: weights, not the path where they lie."""
    if init is None:
        return {}
    reads: dict[str, Any] = {f"{section}.init_from": {"step": init.step, "weights": init.weights}}
    return reads | ({f"{section}.extend": True} if config.extend else {})


def _begun(process: Process, folder: str, named: str) -> Init | None:
    """What a training that has begun says that it started from, if that has this name."""
    name = f"{folder}{CONFIG}"
    if process.run.folder.stat(name) is None:
        return None
    content = orjson.loads(process.run.folder.read(name))
    same = content["train"].get("init_from") == named and "init" in content
    return Init(**content["init"]) if same else None


def own_keys(section: str, config: TrainConfig) -> dict[str, Any]:
    """Keys of a training section that its artifact depends on (`compatible.deciding`), but for what it starts from."""
    from dolma_pipeline.train.compatible import deciding

    known = {field.yaml_name for field in fields_of(type(config))} - {"extend", "data"}
    return {f"{section}.{key}": value for key, value in deciding(config).items() if key in known}


def check_start(process: Process, section: str, config: TrainConfig) -> None:
    """What can be known before the run of the model that `train` starts from: its shape, its tokenizer, its steps.

    Raises:
        UsageError: it does not fit the recipe.
    """
    recipe, named = process.run.recipe, config.init_from
    if config.extend and named is None:
        raise fail(recipe, f"{section}.extend", "there is nothing to go on from; write init_from, or leave it out")
    if named is None or (source := _source_unless_begun(process, section, config)) is None:
        return
    with at(recipe, f"{section}.init_from"):
        size = source.model.vocab_size
        check_fit(source, _model(config, vocab_size=size), named=named)
        if recipe.tokenizer and recipe.tokenizer.load:
            check_tokenizer(source.tokenizer, hashlib.sha256(given_text(process).encode()).hexdigest(), named=named)
    if not config.extend:
        return
    if source.settings is None:
        raise fail(recipe, f"{section}.extend", f"{named} has weights alone, no optimizer to go on with; leave it out")
    theirs = source.settings.train
    if (theirs.batch_tokens, theirs.sequence_length) != (config.batch_tokens, config.sequence_length):
        raise fail(
            recipe,
            f"{section}.extend",
            f"steps go on only with the same batches: {named} has batch_tokens {theirs.batch_tokens} and "
            f"sequence_length {theirs.sequence_length}, here {config.batch_tokens} and {config.sequence_length}",
        )


def check_fits(process: Process, section: str, config: TrainConfig, *, vocab_size: int) -> None:
    """The same once the run's tokenizer is made. vocab_size: its ids.

    Raises:
        UsageError: the model that is started from was trained with another one.
    """
    if config.init_from is None or (source := _source_unless_begun(process, section, config)) is None:
        return
    with at(process.run.recipe, f"{section}.init_from"):
        check_tokenizer(source.tokenizer, run_tokenizer(process).sha256, named=config.init_from)
        model = _model(config, vocab_size=vocab_size)
        check_fit(source, model, named=config.init_from)


def _model(config: TrainConfig, *, vocab_size: int) -> Shape:
    return model_config(config.model, vocab_size=vocab_size, sequence_length=config.sequence_length, shape=config.shape)


def _source_unless_begun(process: Process, section: str, config: TrainConfig) -> Source | None:
    """What it starts from; None where it has begun, and its model is gone since."""
    assert config.init_from is not None
    init_of(process, section, config)  # raises where it is not there and has not begun
    try:
        return source_of(process, config.init_from)
    except UsageError:
        return None
