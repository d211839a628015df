"""The training loop, read from top to bottom. Each process runs it.

Divisor: a step's loss is summed over all processes and divided by the count of valid labels over all processes, so
gradients depend neither on the number of processes nor on where masked instances fall.
Bad numbers: the gradient's norm is one number, the same everywhere, and not finite if anything anywhere was not. It
is looked at before the optimizer runs; a bad step leaves weights and moments as they were, bit for bit, and its
instances go into quarantine.
Cost: `tiny` trains at about 5,000 tokens a CPU-second; memory is 16 bytes a parameter and about 12 a logit.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.tokens.order import Order
from dolma_pipeline.train import checkpoint
from dolma_pipeline.train.data import Batch, Instances, read_batch
from dolma_pipeline.train.files import FORMAT, Settings, read_settings, train_folder
from dolma_pipeline.train.log import Log, masked_instances
from dolma_pipeline.train.model import IGNORED, Decoder, nats
from dolma_pipeline.train.optim import adamw, learning_rate
from dolma_pipeline.train.shard import build
from dolma_pipeline.train.world import World, joined

LOGITS_AT_ONCE = 2**28
"""A process computes as many sequences at once as make at most this many logits (1 GB as float32), or one."""


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


def fit(run_dir: Path, *, settings: Settings, dataset: Instances, world: World) -> Decoder:
    """Train on `dataset` and return the sharded model; all processes of `world` call this together.

    Writes order.json, metrics.jsonl, quarantine.jsonl and a checkpoint at step 0, every `save_every_steps` and the end.
    """
    # -- what is trained on what ------------------------------------------------------------------
    config, num_steps = settings.train, settings.num_steps
    order = Order(num_instances=len(dataset), batch_instances=settings.batch_instances, seed=settings.seed)
    model = build(settings.model, seed=settings.seed, mesh=world.mesh, device=world.device, precision=config.precision)
    optimizer = adamw(model, config)

    # -- from the newest checkpoint, or from the first weights ------------------------------------
    done = checkpoint.load_newest(run_dir, model=model, optimizer=optimizer)
    masked = masked_instances(run_dir, until=done or 0)
    dist.barrier()  # all have read quarantine.jsonl before it is cut
    log = None
    if world.rank == 0:
        _write_order(run_dir, settings, order)
        log = Log(run_dir, step=done or 0, num_steps=num_steps, batch_tokens=config.batch_tokens)
        _announce(log, settings, order, world, done)
    if done is None:
        done = 0
        checkpoint.save(run_dir, 0, model=model, optimizer=optimizer, num_tokens=0)

    # -- the steps --------------------------------------------------------------------------------
    for step in range(done + 1, num_steps + 1):
        batch = read_batch(
            step,
            dataset=dataset,
            order=order,
            rank=world.rank,
            world_size=world.size,
            masked=masked,
            eos_id=settings.eos_id,
            vocab_size=settings.model.vocab_size,
        )
        num_labels = _sum_over_all((batch.labels != IGNORED).sum(), world)
        nats_B = forward_backward(model, batch, num_labels=num_labels, world=world)
        sum_nats = _sum_over_all(nats_B.sum(dtype=torch.float64), world)
        loss = sum_nats / num_labels if num_labels else math.nan
        grad_norm = _clip(model, config.max_grad_norm)
        rate = learning_rate(step, config=config, num_steps=num_steps)
        skipped = num_labels == 0 or not math.isfinite(grad_norm)
        if not skipped:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        elif num_labels:
            for instance, reason in blame(batch, nats_B, grad_norm=grad_norm, world=world):
                if log and instance not in masked:
                    log.quarantine.append({"instance": instance, "step": step, "reason": reason})
                    log.say(f"step {step} skipped; instance {instance} into quarantine: {reason}")
                masked.add(instance)
        optimizer.zero_grad()
        if log:
            log.step(step, loss=loss, grad_norm=grad_norm, learning_rate=rate, skipped=skipped)
        if step % config.save_every_steps == 0 or step == num_steps:
            if log:
                log.sync()
            checkpoint.save(run_dir, step, model=model, optimizer=optimizer, num_tokens=step * config.batch_tokens)
    if log:
        log.close()
    return model


def forward_backward(model: Decoder, batch: Batch, *, num_labels: float, world: World) -> Tensor:
    """Gradients of a process's share of the loss, in as many passes as memory asks for.

    Args:
        num_labels: valid labels of the step over all processes.

    Returns:
        Nats of each instance summed over its labels, float32 [B].
    """
    size = max(1, LOGITS_AT_ONCE // (batch.tokens.shape[1] * model.config.vocab_size))
    parts = list(zip(torch.split(batch.tokens, size), torch.split(batch.labels, size), strict=True))
    parts_nats = []
    for number, (tokens_BT, labels_BT) in enumerate(parts, 1):
        model.set_requires_gradient_sync(number == len(parts))  # type: ignore[operator]
        logits_BTV = model(tokens_BT.to(world.device))
        nats_B = nats(logits_BTV, labels_BT.to(world.device)).sum(dim=1)
        # FSDP takes the mean over processes; times their number makes it the sum. (gloo has no scaled sum.)
        (nats_B.sum() / max(num_labels, 1) * world.size).backward()  # type: ignore[no-untyped-call]
        parts_nats.append(nats_B.detach())
    return torch.cat(parts_nats)


def blame(batch: Batch, nats_B: Tensor, *, grad_norm: float, world: World) -> list[tuple[int, str]]:
    """The instances that made a step invalid, the same everywhere: those of no finite loss, or all if every loss is."""
    losses = list(zip(batch.instances, nats_B.tolist(), strict=True))
    gathered: list[list[tuple[int, float]]] = [[] for _ in range(world.size)]
    dist.all_gather_object(gathered, losses)
    every = sorted(pair for part in gathered for pair in part)
    guilty = [(instance, f"loss is {loss}") for instance, loss in every if not math.isfinite(loss)]
    reason = f"one of a step whose gradient norm is {grad_norm}, though each loss is finite"
    return guilty or [(instance, reason) for instance, _ in every]


def _sum_over_all(value: Tensor, world: World) -> float:
    total = value.to(world.device, torch.float64)
    dist.all_reduce(total)
    return total.item()


def _clip(model: nn.Module, max_norm: float) -> float:
    """Clip gradients to a global norm; returns the norm before."""
    total = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    return float(total.full_tensor() if isinstance(total, DTensor) else total)


def _write_order(run_dir: Path, settings: Settings, order: Order) -> None:
    content = asdict(order) | {
        "format": FORMAT,
        "dataset": settings.dataset,
        "sequence_length": settings.train.sequence_length,
        "num_steps": settings.num_steps,
    }
    paths.write_bytes(train_folder(run_dir) / "order.json", pretty(content))


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
