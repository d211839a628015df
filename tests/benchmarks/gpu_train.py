"""Tokens a second and MFU of a model on a GPU: `python tests/benchmarks/gpu_train.py [MODEL] [--steps N]`.

Utilisation (MFU) is flops that the model needs (6 a parameter and token, and 12 x layers x width x T of attention;
Chowdhery et al. 2022, appendix B) over the peak that is given. The first steps are left out: they warm the GPU up.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.train import model_config
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.world import joined

VOCABULARY = 50_280


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="tokens a second and MFU of a model on a GPU")
    parser.add_argument("model", nargs="?", default="150m")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--sequence-length", type=int, default=2048)
    parser.add_argument("--batch-tokens", type=int, default=65_536)
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="dense bf16 of an H100 SXM: 989")
    parser.add_argument("--compile", action="store_true", help="the blocks, by torch.compile")
    parser.add_argument("--activation-checkpointing", choices=("none", "block"), default="none")
    parser.add_argument("--micro-batch-tokens", type=int, help="default: as the trainer chooses")
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU here")
    length = given.sequence_length
    shape = model_config(given.model, vocab_size=VOCABULARY, sequence_length=length)
    config = TrainConfig(
        model=given.model,
        sequence_length=length,
        batch_tokens=given.batch_tokens,
        max_tokens=given.steps * given.batch_tokens,
        precision="bf16",
        save_every_steps=given.steps,
        compile=given.compile,
        activation_checkpointing=given.activation_checkpointing,
        micro_batch_tokens=given.micro_batch_tokens or "auto",
    )
    random = np.random.Generator(np.random.PCG64(1))
    instances = given.steps * given.batch_tokens // length
    times: list[float] = []

    class Clocked:
        """Random ids; notes when each step's first sequence is asked for."""

        def __init__(self) -> None:
            self.ids = random.integers(0, VOCABULARY, (instances, length)).astype(np.uint16)
            self.reads = 0

        def __len__(self) -> int:
            return instances

        def __getitem__(self, instance: int, /) -> np.ndarray:
            if self.reads % (given.batch_tokens // length) == 0:
                torch.cuda.synchronize()
                times.append(time.perf_counter())
            self.reads += 1
            return self.ids[instance]

    with tempfile.TemporaryDirectory() as folder, joined() as world:
        settings = Settings(train=config, model=shape, eos_id=0, dataset="sha256:random", seed=1)
        fit(Path(folder), settings=settings, dataset=Clocked(), world=world)
    steps = np.diff(times[len(times) // 4 :])
    rate = given.batch_tokens / float(np.median(steps))
    flops = 6 * shape.num_parameters + 12 * shape.num_layers * shape.width * length
    print(
        json.dumps(
            {
                "gpu": torch.cuda.get_device_name(),
                "model": given.model,
                "compile": given.compile,
                "activation_checkpointing": given.activation_checkpointing,
                "micro_batch_tokens": given.micro_batch_tokens or "auto",
                "parameters": shape.num_parameters,
                "tokens_per_second": round(rate),
                "mfu": round(rate * flops / (given.peak_tflops * 1e12), 4),
                "peak_memory_bytes": torch.cuda.max_memory_allocated(),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
