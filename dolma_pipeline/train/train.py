"""The training loop, read from top to bottom. Each process runs it; `step.py` is what it does again and again."""

from __future__ import annotations

from pathlib import Path

import torch

from dolma_pipeline.errors import StoppedError
from dolma_pipeline.io.manifest import digest
from dolma_pipeline.tokens.order import Order
from dolma_pipeline.tokens.stored_order import StoredShuffles
from dolma_pipeline.train import checkpoint
from dolma_pipeline.train.agree import agreed, any_asks, same_everywhere
from dolma_pipeline.train.blame import Patience, largest_weight
from dolma_pipeline.train.data import Instances, TokenBatches
from dolma_pipeline.train.data_check import check_tokens
from dolma_pipeline.train.files import Settings, read_settings, step_folder
from dolma_pipeline.train.first_weights import draw
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.log import Log
from dolma_pipeline.train.micro_batches import micro_batch_instances
from dolma_pipeline.train.objective import NextToken
from dolma_pipeline.train.optim import adamw
from dolma_pipeline.train.prefetch import Prefetched
from dolma_pipeline.train.quarantine import by_hand_digest, masked
from dolma_pipeline.train.resume import take_up
from dolma_pipeline.train.retention import superseded
from dolma_pipeline.train.schedule import clipping_norm, learning_rate
from dolma_pipeline.train.shard import shell
from dolma_pipeline.train.signals import Stop
from dolma_pipeline.train.speed import Speed, peak_flops
from dolma_pipeline.train.step import State, take_step
from dolma_pipeline.train.world import World, joined, warn_of_idle_gpus


def train(run_dir: Path, *, stop: Stop | None = None) -> None:
    """Train the run at `run_dir` to its end, from its newest checkpoint if it has one.

    Args:
        stop: tells when to save and end early.

    Raises:
        RunError: there is no `train/config.json`, no room for a checkpoint, or only skipped steps.
        UsageError: fewer instances than a batch, or a batch that does not divide by the number of processes.
        DataError: data, order, quarantine or checkpoint are not those of the settings; names the file.
        StoppedError: it was asked to stop, and has saved.
    """
    from dolma_pipeline.tokens.dataset import TokenDataset

    settings = read_settings(run_dir)
    dataset = TokenDataset(run_dir / "tokens" / "train", sequence_length=settings.train.sequence_length)
    with joined(shard_over=settings.train.shard_over) as world:
        warn_of_idle_gpus()
        agreed(lambda: check_tokens(run_dir, settings))
        same_everywhere("train/config.json", digest(settings.as_dict()))
        same_everywhere("tokens/train (instances, tokens)", (len(dataset), dataset.num_tokens))
        fit(run_dir, settings=settings, dataset=dataset, world=world, stop=stop)


def fit(
    run_dir: Path, *, settings: Settings, dataset: Instances, world: World, stop: Stop | None = None
) -> LanguageModel:
    """Train on `dataset` and return the sharded model; all processes of `world` call this together.

    Writes order.json, metrics.jsonl, the run's quarantine.jsonl and a checkpoint at step 0, every `save_every_steps`,
    the end, and where it is asked to stop. Raises what `train` does.
    """
    # -- what is trained on what ------------------------------------------------------------------
    config, num_steps = settings.train, settings.num_steps
    order = Order(
        num_instances=len(dataset), batch_instances=settings.batch_instances, seed=settings.seed, kind=config.order
    )
    shuffles = StoredShuffles(run_dir / "cache" / "order")
    batches = TokenBatches(dataset, order, world.rank, world.size, settings.eos_id, settings.model.vocab_size, shuffles)
    objective = NextToken()
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
    if found is None:
        draw(model, seed=settings.seed, mesh=world.mesh, device=world.device)
    state.done = found or 0
    begun = agreed(lambda: take_up(run_dir, settings, order, done=found))
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
        _announce(log, settings, order, world, found)
        if begun.disk:
            log.say(begun.disk)

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
        if world.rank == 0:
            for old in superseded(run_dir, config):
                checkpoint.remove(step_folder(run_dir, old))

    if found is None:
        save(0)

    # -- the steps --------------------------------------------------------------------------------
    ahead = Prefetched(batches, last_step=num_steps)
    for step in range(state.done + 1, num_steps + 1):
        state.masked |= begun.by_hand_at(state.done)
        before = frozenset(state.masked)
        rate = learning_rate(step, config=config, num_steps=num_steps)
        outcome = take_step(
            state,
            ahead.read(step, masked=before),
            objective=objective,
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
            )
        patience.after(
            step, cause=blame and blame.cause, is_last=step == num_steps, largest=lambda: largest_weight(model)
        )
        stops = any_asks(stop is not None and bool(stop.by)) and step < num_steps
        if stops or step % config.save_every_steps == 0 or step == num_steps:
            save(step)
        if stops:
            raise StoppedError(f"step {step} of {num_steps} is saved; the same command goes on from there")
    if log:
        log.close()
        shuffles.remove()  # all have read their last batch: they saved with this one
    return model


def _speed(settings: Settings, world: World) -> Speed:
    name = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else ""
    peak = peak_flops(name, precision=settings.train.precision)
    return Speed(flops=settings.model.flops_per_token, peak=peak, num_processes=world.size)


def _announce(log: Log, settings: Settings, order: Order, world: World, done: int | None) -> None:
    config = settings.train
    start = f"going on after step {done}" if done else "from the first weights"
    log.say(
        f"{config.model}, {settings.model.num_parameters:,} parameters, {config.precision}, {world.size} x "
        f"{world.device.type}; {settings.num_steps} steps of {config.batch_tokens:,} tokens, "
        f"order {order.kind}, {start}"
    )
    epochs = settings.num_steps / order.steps_per_epoch
    if epochs > 1:
        log.say(f"the data is seen {epochs:.1f} times: {order.num_instances:,} sequences make one epoch")
