"""What tasks that let a model write ask of it: texts after prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Prompt(NamedTuple):
    """What a model goes on from. key: of the item, unique in its task; samples are drawn by it. text: the prompt."""

    key: str
    text: str


class Complete(Protocol):
    """A model that writes on. `evals.generate` makes one of a saved model; tests use plain functions."""

    def __call__(
        self, prompts: Sequence[Prompt], *, max_tokens: int, stop: Sequence[str], samples: int, temperature: float
    ) -> list[list[str]]:
        """What the model writes after each prompt, the prompt left out.

        Args:
            max_tokens: at most so many ids a text. stop: a text ends before the first of these; EOS ends it always.
            samples: texts for each prompt. temperature: 0 takes the likeliest id each time.

        Returns:
            `samples` texts for each prompt, in the order of the prompts.
        """
