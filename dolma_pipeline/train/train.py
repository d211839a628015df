"""The training loop, read from top to bottom. Each process runs it; `step.py` is what it does again and again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from dolma_pipeline.errors import DataError, StoppedError
from dolma_pipeline.io.manifest import digest
from dolma_pipeline.tokens.stored_order import StoredShuffles
from dolma_pipeline.train import checkpoint
from dolma_pipeline.train.agree import agreed, any_asks, same_everywhere
from dolma_pipeline.train.blame import Patience, largest_weight
from dolma_pipeline.train.data_check import check_tokens
from dolma_pipeline.train.files import Settings, committed_steps, read_settings, step_folder
from dolma_pipeline.train.first_weights import draw, fill
from dolma_pipeline.train.hugging_face.read import read_hf
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.log import Log
from dolma_pipeline.train.micro_batches import micro_batch_instances
from dolma_pipeline.train.optim import adamw, forget
from dolma_pipeline.train.prefetch import Prefetched
from dolma_pipeline.train.quarantine import by_hand_digest, masked
from dolma_pipeline.train.resume import take_up
from dolma_pipeline.train.retention import superseded
from dolma_pipeline.train.schedule import clipping_norm, learning_rate
from dolma_pipeline.train.shard import shell
from dolma_pipeline.train.signals import Stop
from dolma_pipeline.train.source import find_source
from dolma_pipeline.train.speed import Speed, peak_flops
from dolma_pipeline.train.stages import is_saved, is_scored, stage_at
from dolma_pipeline.train.step import State, take_step
from dolma_pipeline.train.work import Data, open_data, sizes_of, work_of
from dolma_pipeline.train.world import World, joined, warn_of_idle_gpus

Score = Callable[[int, World], object]
"""Scores the checkpoint of a step; all processes call it together."""


def train(run_dir: Path, *, stop: Stop | None = None, scorer: Callable[[Path], Score] | None = None) -> None:
    """Train the run at `run_dir` to its end, from its newest checkpoint if it has one.

    Args:
        stop: tells when to save and end early. scorer: makes of the run's folder what `train.eval_every_steps` asks
            for.

    Raises:
        RunError: there is no `train/config.json`, no room for a checkpoint, or only skipped steps.
        UsageError: fewer instances than a batch, or a batch that does not divide by the number of processes.
        DataError: data, order, quarantine or checkpoint are not those of the settings; names the file.
        StoppedError: it was asked to stop, and has saved.
    """
    settings = read_settings(run_dir)
    dataset = open_data(run_dir, settings.train)
    with joined(shard_over=settings.train.shard_over) as world:
        warn_of_idle_gpus()
        if settings.train.objective == "next_token":
            agreed(lambda: check_tokens(run_dir, settings))
        same_everywhere("train/config.json", digest(settings.as_dict()))
        same_everywhere("data (instances)", sizes_of(dataset))
        score = scorer(run_dir) if scorer is not None and settings.train.eval_every_steps is not None else None
        fit(run_dir, settings=settings, dataset=dataset, world=world, stop=stop, score=score)


def fit(
    run_dir: Path,
    *,
    settings: Settings,
    dataset: Data,
    world: World,
    stop: Stop | None = None,
    score: Score | None = None,
) -> LanguageModel:
    """Train on `dataset` and return the sharded model; all processes of `world` call this together.

    Writes order.json, metrics.jsonl, the run's quarantine.jsonl and checkpoints: at the start, then as `is_saved` says,
    and where it is asked to stop. Raises what `train` does.

    Args:
        dataset: sequences, by section of the recipe where there are stages; or dialogues, or pairs.
    """
    # -- what is trained on what ------------------------------------------------------------------
    config, num_steps, stages = settings.train, settings.num_steps, settings.stages
    shuffles = StoredShuffles(run_dir / "cache" / "order")
    work = work_of(settings, dataset, world=world, shuffles=shuffles)
    micro_batch = micro_batch_instances(settings, processes=world.size, device=world.device.type)
    model = shell(
        settings.model,
        mesh=world.mesh,
        device=world.device,
        precision=config.precision,
        activation_checkpointing=config.activation_checkpointing,
        compile_blocks=config.compile,
    )
    state = State(model, adamw(model, config))

    # -- from the newest checkpoint, or from the first weights ------------------------------------
    found = checkpoint.load_newest(
        run_dir, model=model, optimizer=state.optimizer, allow_older=config.allow_older_checkpoint
    )
    if found is None and settings.init is not None:
        start_from(run_dir, state, settings=settings, world=world)
    elif found is None:
        draw(model, seed=settings.seed, mesh=world.mesh, device=world.device)
    state.done = settings.first_step if found is None else found
    begun = agreed(lambda: take_up(run_dir, settings, work.order, num_instances=work.num_instances, done=found))
    if work.begin is not None:
        work.begin(run_dir, model, found is None)
    state.masked = masked(begun.quarantine, done=state.done)
    patience = Patience(config.max_skipped_steps, in_a_row=begun.skipped_in_a_row)
    log = None
    if world.rank == 0:
        log = Log(
            run_dir,
            step=state.done,
            num_steps=num_steps,
            batch_tokens=config.batch_tokens,
            speed=_speed(settings, world),
            device_bytes=torch.cuda.max_memory_allocated if world.device.type == "cuda" else None,
        )
        _announce(log, settings, world, found)
        for line in (*work.remarks, *filter(None, [begun.disk])):
            log.say(line)

    passed_over = [step for step in committed_steps(run_dir) if found is not None and step > found]  # damaged

    def clear(step: int) -> None:
        for old in superseded(run_dir, config, until=step):
            checkpoint.remove(step_folder(run_dir, old))

    def save(step: int) -> None:
        if log:
            log.sync()
        checkpoint.save(
            run_dir,
            step,
            model=model,
            optimizer=state.optimizer,
            num_tokens=step * config.batch_tokens,
            quarantine=by_hand_digest(begun.quarantine, before=step),
        )
        if score is not None and is_scored(step, config):
            score(step, world)
        if world.rank == 0:
            for other in passed_over:
                if other != step:
                    checkpoint.remove(step_folder(run_dir, other))
            passed_over.clear()
            clear(step)

    if found is None:
        save(state.done)
    else:
        if world.rank == 0:
            clear(found)  # what a kill right after a save left
        if score is not None and is_scored(found, config):  # unless it was, before a kill
            score(found, world)

    # -- the steps --------------------------------------------------------------------------------
    ahead = Prefetched(work.batches, last_step=num_steps)
    for step in range(state.done + 1, num_steps + 1):
        state.masked |= begun.by_hand_at(state.done)
        before = frozenset(state.masked)
        stage = stage_at(stages, step)
        if stage.reset and step == stage.done + 1:
            forget(state.optimizer)
        rate = learning_rate(step - stage.done, config=stage.config, num_steps=stage.horizon)
        outcome = take_step(
            state,
            ahead.read(step, masked=before),
            objective=work.objective,
            rate=rate,
            max_grad_norm=clipping_norm(step, config=config),
            micro_batch=micro_batch,
            world=world,
        )
        blame = outcome.blame
        if log:
            for instance, reason in blame.instances if blame else ():
                if instance not in before:
                    log.quarantine.append(instance=instance, step=step, reason=reason)
                    log.say(f"step {step} skipped; instance {instance} into quarantine: {reason}")
            log.step(
                step,
                loss=outcome.loss,
                grad_norm=outcome.grad_norm,
                learning_rate=rate,
                skipped=outcome.skipped,
                more=({"stage": stage.name} if stage.name else {}) | outcome.reports,
            )
        patience.after(
            step, cause=blame and blame.cause, is_last=step == num_steps, largest=lambda: largest_weight(model)
        )
        stops = any_asks(stop is not None and bool(stop.by)) and step < num_steps
        if stops or is_saved(step, stages):
            save(step)
        if stops:
            raise StoppedError(f"step {step} of {num_steps} is saved; the same command goes on from there")
    if log:
        log.close()
        shuffles.remove()  # all have read their last batch: they saved with this one
    return model


def start_from(run_dir: Path, state: State, *, settings: Settings, world: World) -> None:
    """Put what `init_from` names into the model, and with `extend` into the optimizer; all processes call this.

    Raises:
        UsageError: it is not there. DataError: it is not what `config.json` says that training starts from.
    """
    assert settings.init is not None
    inside = settings.init.inside  # of the run, whose folder holds this stage's
    named = settings.train.init_from if inside is None else str(run_dir.parent / inside)
    assert named is not None
    source = find_source(named if inside is None else f"{named}@{settings.init.step}")
    if (source.step, source.weights) != (settings.init.step, settings.init.weights):
        raise DataError(f"{named}: step {source.step} has other weights than train/config.json says. Train anew.")
    if source.settings is None:
        weights = read_hf(source.folder, into=settings.model)[1]
        fill(state.model, weights, mesh=world.mesh, device=world.device)
        return
    checkpoint.check(step_folder(source.folder, source.step))
    optimizer = state.optimizer if settings.init.extend else None
    checkpoint.load_from(step_folder(source.folder, source.step), model=state.model, optimizer=optimizer)


def _speed(settings: Settings, world: World) -> Speed:
    name = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else ""
    peak = peak_flops(name, precision=settings.train.precision)
    return Speed(flops=settings.model.flops_per_token, peak=peak, num_processes=world.size)


def _announce(log: Log, settings: Settings, world: World, done: int | None) -> None:
    config = settings.train
    first = f"from {config.init_from or 'the stage before'}" if settings.init else "from the first weights"
    start = f"going on after step {done}" if done else first
    log.say(
        f"{config.model or config.objective}, {settings.model.num_parameters:,} parameters, {config.precision}, "
        f"{world.size} x {world.device.type}; {settings.num_steps} steps of {config.batch_tokens:,} tokens, "
        f"order {config.order}, {start}"
    )
