"""Small classifiers of made-up words, trained with fasttext-community: of every loss, n-gram and quantisation."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

oracle = pytest.importorskip("fasttext", reason="fasttext-community is not installed")
oracle.FastText.eprint = lambda *_: None

NAMES = ("de", "en", "fr", "it", "ja")
_RNG = random.Random(1)
WORDS = ["".join(_RNG.choices("abcdefghijé漢", k=_RNG.randint(1, 7))) for _ in range(300)]


def train(folder: Path, name: str, *, names: tuple[str, ...] = NAMES, **options: Any) -> Path:
    """A model `folder/name.bin`, the same for the same arguments."""
    rng = random.Random(2)
    lines = []
    for i in range(600):
        at = i % len(names)
        words = " ".join(
            WORDS[min(299, int(rng.expovariate(1 / 60)) + at % 10 * 20)] for _ in range(rng.randint(1, 12))
        )
        lines.append(f"__label__{names[at]} {words}\n")
    (folder / "lines.txt").write_text("".join(lines))
    settings = {"dim": 10, "epoch": 5, "lr": 0.5, "minn": 0, "maxn": 0, "bucket": 2000, "thread": 1, "verbose": 0}
    model = oracle.train_supervised(str(folder / "lines.txt"), **{**settings, **options})
    model.save_model(str(folder / f"{name}.bin"))
    return folder / f"{name}.bin"


def quantised(path: Path, name: str, **options: Any) -> Path:
    """The model of `path`, quantised, as `name.ftz` beside it."""
    model = oracle.load_model(str(path))
    model.quantize(thread=1, verbose=0, **options)
    model.save_model(str(path.parent / f"{name}.ftz"))
    return path.parent / f"{name}.ftz"


def texts(number: int) -> list[str]:
    """Texts of the models' words and of others."""
    rng = random.Random(3)
    return [" ".join(rng.choices([*WORDS, "xyz", "unknown", "q" * 40], k=rng.randint(1, 30))) for _ in range(number)]
