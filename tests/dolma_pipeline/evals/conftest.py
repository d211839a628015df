"""A small tokenizer, a model of random weights, and a run's folder with both and held-out documents."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.distributed.checkpoint.state_dict_saver import save

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.errors import UsageError
from dolma_pipeline.evals import sandbox
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.initial import initial_value
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import ModelConfig

LENGTH = 24
TEXTS = {
    "web": ["The cat sat on the mat.", "Grüße aus Köln – 你好, 世界! 😀", "a" * 90 + " end", "", "x"],
    "code": ["def f(x):\n    return x + 1\n", "print('<|endoftext|> is text here')\n"],
}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Two threads share matrices this small at many times the cost on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Byte-level BPE of about 300 ids, EOS 0, and a mask that is an ordinary added token."""
    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    built.train_from_iterator(["the cat sat on the mat and that is that, return"] * 3, trainer)
    built.add_tokens(["|||EMAIL|||"])
    return built


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Decoder:
    shape = ModelConfig(
        vocab_size=tokenizer.get_vocab_size(),
        sequence_length=LENGTH,
        width=32,
        num_layers=2,
        num_heads=2,
        hidden=48,
        tied=False,
    )
    built = Decoder(shape)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            # Larger than at a real start, so that answers differ clearly.
            parameter.copy_(3 * initial_value(name, parameter.shape, config=shape, seed=1))
    return built.requires_grad_(False)


@pytest.fixture
def run(tmp_path: Path, tokenizer: Tokenizer, model: Decoder) -> Path:
    """As the stages before leave it, with a checkpoint of step 7."""
    folder = tmp_path / "run"
    paths.write_bytes(folder / "tokenizer/tokenizer.json", tokenizer.to_str().encode())
    paths.write_bytes(folder / "tokens/manifest.json", pretty({"dtype": "uint16"}))
    tokenizer.encode_special_tokens = True
    for source, texts in TEXTS.items():
        ids = [i for text in texts for i in [*tokenizer.encode(text, add_special_tokens=False).ids, 0]]
        paths.write_bytes(folder / f"tokens/held_out/{source}/part-00000.npy", np.array(ids, "<u2").tobytes())
    config = TrainConfig(sequence_length=LENGTH, batch_tokens=4 * LENGTH)
    settings = Settings(train=config, model=model.config, eos_id=0, dataset="sha256:train", seed=1)
    paths.write_bytes(folder / "train/config.json", pretty(settings.as_dict()))
    saved = folder / "train/step-000007"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no other processes
        save({"model": model.state_dict()}, checkpoint_id=saved / "model_and_optim", no_dist=True)
    paths.write_bytes(saved / "commit.json", pretty({"format": 1, "step": 7, "tokens": 7 * 256}))
    return folder


NAMESPACES = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x7E020000) or libc.mount(b"none", b"/", None, 0x44000, None):
    sys.exit(os.strerror(ctypes.get_errno()))
"""
"""All of them, and a mount in the new ones."""


@pytest.fixture(scope="session")
def sandboxed() -> None:
    """Skips, with the reason, where this machine cannot lock code in; elsewhere the sandbox has to work.

    That it is refused there is tested everywhere.
    """
    try:
        sandbox.machine()
    except UsageError as error:
        pytest.skip(str(error))
    tried = subprocess.run([sys.executable, "-c", NAMESPACES], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this machine allows no namespaces: {tried.stderr.strip()}")
    sandbox.require_sandbox(allow_code=True)
