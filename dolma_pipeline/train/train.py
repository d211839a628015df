"""The training loop, read from top to bottom. Each process runs it; `step.py` is what it does again and again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist

from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.tokens.order import Order
from dolma_pipeline.train import checkpoint
from dolma_pipeline.train.data import Instances, TokenBatches
from dolma_pipeline.train.files import FORMAT, Settings, read_settings, train_folder
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.log import Log, masked_instances
from dolma_pipeline.train.objective import NextToken
from dolma_pipeline.train.optim import adamw, learning_rate
from dolma_pipeline.train.shard import build
from dolma_pipeline.train.speed import Speed, peak_flops
from dolma_pipeline.train.step import State, take_step
from dolma_pipeline.train.world import World, joined


def train(run_dir: Path) -> None:
    """Train the run at `run_dir` to its end, from its newest checkpoint if it has one.

    Raises:
        RunError: there is no `train/config.json`.
        UsageError: fewer instances than a batch, or a batch that does not divide by the number of processes.
        DataError: shards that do not fit the settings.
    """
    from dolma_pipeline.tokens.dataset import TokenDataset

    settings = read_settings(run_dir)
    dataset = TokenDataset(run_dir / "tokens" / "train", sequence_length=settings.train.sequence_length)
    with joined() as world:
        fit(run_dir, settings=settings, dataset=dataset, world=world)


def fit(run_dir: Path, *, settings: Settings, dataset: Instances, world: World) -> LanguageModel:
    """Train on `dataset` and return the sharded model; all processes of `world` call this together.

    Writes order.json, metrics.jsonl, quarantine.jsonl and a checkpoint at step 0, every `save_every_steps` and the end.
    """
    # -- what is trained on what ------------------------------------------------------------------
    config, num_steps = settings.train, settings.num_steps
    order = Order(num_instances=len(dataset), batch_instances=settings.batch_instances, seed=settings.seed)
    batches = TokenBatches(dataset, order, world.rank, world.size, settings.eos_id, settings.model.vocab_size)
    objective = NextToken()
    model = build(settings.model, seed=settings.seed, mesh=world.mesh, device=world.device, precision=config.precision)
    state = State(model, adamw(model, config))

    # -- from the newest checkpoint, or from the first weights ------------------------------------
    found = checkpoint.load_newest(run_dir, model=model, optimizer=state.optimizer)
    state.done = found or 0
    state.masked = masked_instances(run_dir, until=state.done)
    dist.barrier()  # all have read quarantine.jsonl before it is cut
    log = None
    if world.rank == 0:
        _write_order(run_dir, settings, order)
        log = Log(
            run_dir,
            step=state.done,
            num_steps=num_steps,
            batch_tokens=config.batch_tokens,
            speed=_speed(settings, world),
            device_bytes=torch.cuda.max_memory_allocated if world.device.type == "cuda" else None,
        )
        _announce(log, settings, order, world, found)
    if found is None:
        checkpoint.save(run_dir, 0, model=model, optimizer=state.optimizer, num_tokens=0)

    # -- the steps --------------------------------------------------------------------------------
    for step in range(state.done + 1, num_steps + 1):
        masked = frozenset(state.masked)
        rate = learning_rate(step, config=config, num_steps=num_steps)
        batch = batches.read(step, masked=masked)
        outcome = take_step(
            state, batch, objective=objective, rate=rate, max_grad_norm=config.max_grad_norm, world=world
        )
        if log:
            for instance, reason in outcome.blamed:
                if instance not in masked:
                    log.quarantine.append({"instance": instance, "step": step, "reason": reason})
                    log.say(f"step {step} skipped; instance {instance} into quarantine: {reason}")
            log.step(
                step,
                loss=outcome.loss,
                grad_norm=outcome.grad_norm,
                learning_rate=rate,
                skipped=outcome.skipped,
            )
        if step % config.save_every_steps == 0 or step == num_steps:
            if log:
                log.sync()
            num_tokens = step * config.batch_tokens
            checkpoint.save(run_dir, step, model=model, optimizer=state.optimizer, num_tokens=num_tokens)
    if log:
        log.close()
    return model


def _write_order(run_dir: Path, settings: Settings, order: Order) -> None:
    content = asdict(order) | {
        "format": FORMAT,
        "dataset": settings.dataset,
        "sequence_length": settings.train.sequence_length,
        "num_steps": settings.num_steps,
    }
    paths.write_bytes(train_folder(run_dir) / "order.json", pretty(content))


def _speed(settings: Settings, world: World) -> Speed:
    name = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else ""
    peak = peak_flops(name, precision=settings.train.precision)
    return Speed(flops=settings.model.flops_per_token, peak=peak, num_processes=world.size)


def _announce(log: Log, settings: Settings, order: Order, world: World, done: int | None) -> None:
    config = settings.train
    start = f"going on after step {done}" if done else "from the first weights"
    log.say(
        f"{config.model}, {settings.model.num_parameters:,} parameters, {config.precision}, {world.size} x "
        f"{world.device.type}; {settings.num_steps} steps of {config.batch_tokens:,} tokens, {start}"
    )
    epochs = settings.num_steps / order.steps_per_epoch
    if epochs > 1:
        log.say(f"the data is seen {epochs:.1f} times: {order.num_instances:,} sequences make one epoch")
