"""Speed of training a few steps in one thread: `trained_once.py ours|plain|processes MODEL STEPS [PROCESSES]`.

`ours` is the trainer's loop; `plain` the same model, batches and optimizer in the loop that one writes by hand. Only
what the first landing had is imported, so that `ours` measures it as well.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.tokens.order import Order
from dolma_pipeline.train import model_config
from dolma_pipeline.train.data import read_batch
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.model import IGNORED, Decoder
from dolma_pipeline.train.optim import adamw

LENGTH, SEED, WARM_UP = 256, 1, 3
VOCABULARY = {"tiny": 4096, "20m": 50_280}
SEQUENCES = {"tiny": 16, "20m": 8}


class Clocked:
    """Random ids; notes CPU and wall time when the first sequence of a step is asked for."""

    def __init__(self, model: str, num_steps: int, *, processes: int) -> None:
        random = np.random.Generator(np.random.PCG64(SEED))
        self.ids = random.integers(0, VOCABULARY[model], (SEQUENCES[model] * num_steps, LENGTH)).astype(np.uint16)
        self.a_step, self.reads = SEQUENCES[model] // processes, 0
        self.times: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, instance: int, /) -> np.ndarray:
        if self.reads % self.a_step == 0:
            self.times.append((time.process_time(), time.perf_counter()))
        self.reads += 1
        return self.ids[instance]

    def speeds(self, model: str) -> dict[str, float]:
        """Tokens of all processes in a second of this one's CPU and of wall time; by the median step."""
        cpu, wall = (np.diff(column) for column in np.array(self.times[WARM_UP:]).T)
        tokens = SEQUENCES[model] * LENGTH
        return {"a_cpu_s": tokens / statistics.median(cpu), "a_wall_s": tokens / statistics.median(wall)}


def settings_of(model: str, num_steps: int) -> Settings:
    """Of a run of so many steps that saves at its ends only."""
    tokens = SEQUENCES[model] * LENGTH
    config = TrainConfig(
        model=model,
        sequence_length=LENGTH,
        batch_tokens=tokens,
        max_tokens=tokens * num_steps,
        warmup_steps=2,
        save_every_steps=10 * num_steps,
        **({"order": "olmo-core"} if "order" in TrainConfig.__dataclass_fields__ else {}),  # the only one of before
    )
    shape = model_config(model, vocab_size=VOCABULARY[model], sequence_length=LENGTH)
    return Settings(train=config, model=shape, eos_id=0, dataset="sha256:random", seed=SEED)


def ours(model: str, num_steps: int) -> dict[str, Any]:
    """The trainer, in this process or as one of several."""
    from dolma_pipeline.train.train import fit
    from dolma_pipeline.train.world import joined

    data = Clocked(model, num_steps, processes=int(os.environ.get("WORLD_SIZE", "1")))
    with tempfile.TemporaryDirectory() as own, joined() as world:
        folder = Path(os.environ.get("TRAINED_ONCE", own))
        fit(folder, settings=settings_of(model, num_steps), dataset=data, world=world)
        rows = (folder / "train" / "metrics.jsonl").read_text().splitlines()
    return {**data.speeds(model), "losses": [json.loads(row)["loss"] for row in rows]}


def plain(model: str, num_steps: int) -> dict[str, Any]:
    """A loop written by hand, from the same first weights."""
    from dolma_pipeline.train.initial import initial_value
    from dolma_pipeline.train.schedule import learning_rate

    settings, data = settings_of(model, num_steps), Clocked(model, num_steps, processes=1)
    order = Order(num_instances=len(data), batch_instances=SEQUENCES[model], seed=SEED, kind="olmo-core")
    decoder = Decoder(settings.model)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            parameter.copy_(initial_value(name, parameter.shape, config=settings.model, seed=SEED))
    optimizer = adamw(decoder, settings.train)
    losses = []
    for step in range(1, num_steps + 1):
        batch = read_batch(
            step,
            dataset=data,
            order=order,
            rank=0,
            world_size=1,
            masked=(),
            eos_id=0,
            vocab_size=VOCABULARY[model],
        )
        logits = decoder(batch.tokens)
        loss = F.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), settings.train.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config=settings.train, num_steps=num_steps)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return {**data.speeds(model), "losses": losses}


def several(model: str, num_steps: int, processes: int) -> dict[str, Any]:
    """The trainer in processes of torchrun; what the first of them found."""
    with tempfile.TemporaryDirectory() as folder:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, *torchrun, __file__, "ours", model, str(num_steps)]
        environment = os.environ | {"TRAINED_ONCE": folder}
        printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return found


def main(what: str, model: str, num_steps: int, processes: int) -> None:
    torch.set_num_threads(1)
    if what == "processes":
        found = several(model, num_steps, processes)
    else:
        found = {"ours": ours, "plain": plain}[what](model, num_steps)
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int((sys.argv[4:] or ["1"])[0]))
