"""A saved model over several processes, for one that fits no single device.

Under torchrun the first process does all that one alone would do; what it holds is a stand-in whose weights are spread
over all of them by FSDP. Whenever it reads something, it tells the others to read a single id beside it, for gathering
a block's weights takes all of them. So nothing in the rest of `evals` knows of processes, and the numbers are those of
one process bit for bit. Sharding is for memory, not for speed: a single device does the arithmetic.
Cost: in each forward pass all weights go over the wire once; larger batches make up for it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from enum import IntEnum
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from dolma_pipeline.train.agree import agreed
from dolma_pipeline.train.checkpoint import load_model
from dolma_pipeline.train.files import Settings, read_settings
from dolma_pipeline.train.language_model import LanguageModel
from dolma_pipeline.train.spec import spec_of
from dolma_pipeline.train.world import World, joined

_leading: ContextVar[World | None] = ContextVar("leading", default=None)


class _Say(IntEnum):
    """What the first process says to the others; each comes with a number."""

    END = 0
    LOAD = 1  # the checkpoint of this step
    READ = 2
    WEIGHT = 3  # the parameter of this number, whole
    BFLOAT16 = 4


@contextlib.contextmanager
def followed(run_dir: Path) -> Iterator[None]:
    """In the first of several processes, or the only one: go on; the others follow it and end with it.

    Args:
        run_dir: of the checkpoints that `saved_model` will be asked for.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    with joined() as world:
        if world.rank:
            _follow(run_dir, world)
            raise SystemExit(0)
        with _leads(world):
            yield


def led(run_dir: Path, world: World, work: Callable[[], object]) -> None:
    """Do some work in the first process of a world, which the others follow; one alone just does it.

    Raises:
        DolmaError: what the work raises, in all processes.
    """
    if world.rank:
        _follow(run_dir, world)

    def lead_it() -> None:
        with contextlib.nullcontext() if world.size == 1 else _leads(world):
            work()

    agreed(lead_it)


@contextlib.contextmanager
def _leads(world: World) -> Iterator[None]:
    token = _leading.set(world)
    try:
        yield
    finally:
        _leading.reset(token)
        _tell(_Say.END)


def leading() -> World | None:
    """The processes that follow this one, itself among them; None if it is alone."""
    return _leading.get()


def lead(run_dir: Path, step: int, *, settings: Settings, world: World) -> LanguageModel:
    """In the first process: the model of a saved step, float32, spread over all."""
    _tell(_Say.LOAD, step)
    return _Led(_loaded(run_dir, step, settings=settings, world=world))


class _Led(LanguageModel):
    """The stand-in: a whole model to those who use it."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.spread, self.config = model, model.config

    def forward(self, tokens_BT: Tensor, **reading: Any) -> Tensor:
        _tell(_Say.READ)
        logits: Tensor = self.spread(tokens_BT, **reading)
        return logits

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """As they are spread."""
        return self.spread.parameters(recurse)

    def named_parameters(self, *_: Any, **__: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Whole, one after the other."""
        for number, name in enumerate(name for name, _ in self.spread.named_parameters()):
            _tell(_Say.WEIGHT, number)
            yield name, nn.Parameter(_whole(self.spread, number), requires_grad=False)

    def to(self, dtype: torch.dtype) -> LanguageModel:  # type: ignore[override]
        """In bfloat16, which is the one that is asked for."""
        if dtype != torch.bfloat16:
            raise TypeError(f"a model over several processes goes to bfloat16, not {dtype}")
        _tell(_Say.BFLOAT16)
        self.spread.to(dtype)
        return self


def _follow(run_dir: Path, world: World) -> None:
    """In the other processes: do what the first one says until it ends."""
    settings = read_settings(run_dir)
    model: LanguageModel | None = None
    while True:
        said, number = _heard()
        if said is _Say.END:
            return
        if said is _Say.LOAD:
            model = None  # before there is another
            model = _loaded(run_dir, number, settings=settings, world=world)
            continue
        assert model is not None
        if said is _Say.READ:
            with torch.no_grad():
                model(torch.zeros(1, 1, dtype=torch.int64, device=world.device))
        elif said is _Say.WEIGHT:
            _whole(model, number)
        else:
            model.to(torch.bfloat16)


def _loaded(run_dir: Path, step: int, *, settings: Settings, world: World) -> LanguageModel:
    spec = spec_of(settings.model)
    with torch.device("meta"):
        model = spec.build(settings.model)
    for block in spec.blocks(model):
        fully_shard(block, mesh=world.mesh)
    fully_shard(model, mesh=world.mesh)
    model.to_empty(device=world.device)
    load_model(run_dir, step, model=model, together=True)
    return model.eval().requires_grad_(False)


def _whole(model: LanguageModel, number: int) -> Tensor:
    assert isinstance(model, FSDPModule)
    model.reshard()
    parameter = [parameter for _, parameter in model.named_parameters()][number]
    assert isinstance(parameter, DTensor)
    return parameter.full_tensor()


def _tell(what: _Say, number: int = 0) -> None:
    dist.broadcast(torch.tensor([what, number]), src=0)


def _heard() -> tuple[_Say, int]:
    message = torch.zeros(2, dtype=torch.int64)
    dist.broadcast(message, src=0)
    what, number = message.tolist()
    return _Say(what), number
