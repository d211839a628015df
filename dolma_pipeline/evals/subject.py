"""The model that is scored, and what stands between it and texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import RunError

if TYPE_CHECKING:
    from dolma_pipeline.evals.generate import Completer
    from dolma_pipeline.train.language_model import LanguageModel

Ids = NDArray[np.int64]
Encode = Callable[[Sequence[str]], list[Ids]]
Decode = Callable[[NDArray[Any] | Sequence[int]], str]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model to score.

    model: float32 or bfloat16, on its device. eos_id: the id that ends documents, and begins what is read.
    encode: texts -> their ids; a special token's name in a text stays text. decode: ids -> text. step: of training.
    allow_code: code that the model writes may be run.
    """

    model: LanguageModel
    eos_id: int
    encode: Encode
    decode: Decode
    step: int
    allow_code: bool = False

    @property
    def length(self) -> int:
        """Of the model's window."""
        return self.model.config.sequence_length

    def completer(self, name: str, *, seed: int) -> Completer:
        """The model as one that writes.

        Args:
            name: of the task. seed: of what is drawn, which differs between tasks of one seed, too.

        Raises:
            RunError: its weights are not finite.
        """
        from dolma_pipeline.evals.generate import Completer

        self.require_finite_weights(name=name)
        where = f"step {self.step}, {name}: "
        return Completer(self.model, self, eos_id=self.eos_id, seed=f"{name}/{seed}", where=where)

    def require_finite(self, nats: Iterable[float], *, name: str) -> None:
        """Stop where a score would be made of numbers that are none.

        Comparisons with NaN are all false, so without this a broken model would have an accuracy like any other.

        Args:
            name: of the task or the source.

        Raises:
            RunError: one is not finite; names step, task and the first weights that are not.
        """
        values = list(nats)
        if bad := sum(not math.isfinite(value) for value in values):
            raise RunError(f"step {self.step}, {name}: {bad} of {len(values)} numbers are not finite{self._why()}")

    def require_finite_weights(self, *, name: str) -> None:
        """The same before a model writes, where no numbers are seen."""
        if self._broken():
            raise RunError(f"step {self.step}, {name}: nothing can be scored{self._why()}")

    def _why(self) -> str:
        if broken := self._broken():
            return f": {broken} of this checkpoint has weights that are not finite. Score an earlier step."
        return ", though all weights are: the arithmetic overflows. Score with precision fp32, or an earlier step."

    def _broken(self) -> str:
        named = self.model.named_parameters()
        return next((name for name, weight in named if not bool(weight.isfinite().all())), "")
