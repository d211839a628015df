"""A tokenizer of single letters: an id is a code point and 2, 0 is <eos>, 1 is <turn>; both are special tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dolma_pipeline.tokens.tokenizer import TokenizerInfo

EOS, SHIFT = 0, 2


class Letters:
    """An `Encoder` of ASCII; never reads a special token out of a text."""

    def __init__(self) -> None:
        self.info = TokenizerInfo("{}", "0" * 64, 130, 130, {"<eos>": EOS, "<turn>": 1}, {})

    def encode(self, texts: pa.StringArray) -> pa.ListArray:
        return pa.array([[ord(letter) + SHIFT for letter in text] for text in texts.to_pylist()], pa.list_(pa.uint32()))

    def decode(self, ids: Sequence[int] | np.ndarray[Any, Any]) -> str:
        return text_of([int(one) for one in ids])

    def check(self, texts: pa.StringArray, *, names: Sequence[str] = ()) -> None:
        """It is the only one."""


def text_of(ids: list[int]) -> str:
    """The letters of ids; special ones stand for none."""
    return "".join(chr(one - SHIFT) for one in ids if one >= SHIFT)
