"""A saved step as a model of lm-evaluation-harness, for tasks that are written for it.

    from dolma_pipeline.evals.lm_eval import SavedModel
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    tasks = TaskManager(include_path="my_tasks", include_defaults=False)
    simple_evaluate(SavedModel("runs/quickstart", 200), tasks=["my_task"], task_manager=tasks)

All kinds of requests are answered: log-likelihoods, whole documents, texts. Scores are those of lm-eval's own Hugging
Face model on the same weights; answers that share their question cost less. lm-eval (0.4.13 was tried) is not among
what this package asks for: `pip install lm-eval`.
Source: EleutherAI, lm-evaluation-harness, docs/model_guide.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from numpy.typing import NDArray

from dolma_pipeline.errors import UsageError
from dolma_pipeline.evals.complete import Prompt
from dolma_pipeline.evals.generate import Completer
from dolma_pipeline.evals.questions import windows_of
from dolma_pipeline.evals.score import Scored, saved_model, score_greedy
from dolma_pipeline.tokens.encode import encoder
from dolma_pipeline.tokens.tokenizer import load_tokenizer
from dolma_pipeline.train.files import read_settings

MAX_TOKENS = 256
"""Ids of a text whose task does not say how many, as lm-eval's own models have it."""

_WRITING = {"until", "max_gen_toks", "do_sample", "temperature", "top_p"}


class SavedModel(TemplateLM):  # type: ignore[misc]
    """A saved step of a run."""

    def __init__(
        self,
        run_dir: str | Path,
        step: int,
        *,
        precision: Literal["fp32", "bf16"] = "fp32",
        prefix: Literal["eos", "none"] = "none",
        seed: int = 0,
    ) -> None:
        """Load it.

        Args:
            run_dir: with tokenizer/ and train/. step: a saved one.
            precision: of the arithmetic.
            prefix: `eos` has each context read after EOS, as documents are in training; `none`, lm-eval's way for
                tokenizers that add nothing, does so for empty contexts only.
            seed: of texts that are drawn.

        Raises:
            RunError: the run is not trained, or that step is not saved.
        """
        super().__init__()
        run_dir = Path(run_dir)
        settings = read_settings(run_dir)
        self._text = encoder(load_tokenizer(run_dir / "tokenizer" / "tokenizer.json", engine="tokenizers"))
        self._model = saved_model(run_dir, step, settings=settings)
        if precision == "bf16":
            self._model.to(torch.bfloat16)
        self._eos_id, self._prefix, self._seed = settings.eos_id, prefix, seed

    @property
    def eot_token_id(self) -> int:
        """EOS."""
        return self._eos_id

    @property
    def max_length(self) -> int:
        """Of the model's window."""
        return self._model.config.sequence_length

    @property
    def tokenizer_name(self) -> str:
        """By its hash."""
        return f"sha256:{self._text.info.sha256}"

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Ids of each text; the names of special tokens stay text."""
        return [row.values.to_numpy().astype(np.int64) for row in self._text.encode(pa.array(texts, pa.string()))]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids."""
        return self._text.decode(ids)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Ids of one text, as a list; the tokenizer adds none of its own."""
        (ids,) = self.encode([string])
        return [int(i) for i in ids]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        for (context, continuation), _ids, answer in requests:
            if not answer:
                raise UsageError(f"lm-eval: {continuation!r} after {context[-40:]!r} has no tokens to be scored.")
        prefix = [self._eos_id] if self._prefix == "eos" else []
        # A context of EOS is one that was empty.
        pairs = [(ids if ids == [self._eos_id] else prefix + ids, answer) for _, ids, answer in requests]
        return [(-found.nats, found.greedy) for found in self._scored(pairs)]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """Of each whole text, the first token after EOS; windows as lm-eval cuts them, each token a target once."""
        pairs, owners = [], []
        for number, ids in enumerate(self.encode([text for (text,) in (request.args for request in requests)])):
            windows = get_rolling_token_windows(
                ids.tolist(), prefix_token=self._eos_id, max_seq_len=self.max_length, context_len=1
            )
            for window in windows:
                pairs.append(make_disjoint_window(window))
                owners.append(number)
        sums: list[list[float]] = [[] for _ in requests]
        for owner, found in zip(owners, self._scored(pairs), strict=True):
            sums[owner].append(-found.nats)
        return [math.fsum(each) for each in sums]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """A text for each; requests that are alike are further samples of one prompt.

        Raises:
            UsageError: a setting that has no meaning here.
        """
        texts = [""] * len(requests)
        together: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            together.setdefault(repr(sorted(request.args[1].items())), []).append(number)
        for numbers in together.values():
            settings = _writing(requests[numbers[0]].args[1])
            complete = Completer(
                self._model,
                self,
                eos_id=self._eos_id,
                seed=str(self._seed),
                top_p=settings.pop("top_p"),
                prefix=self._prefix,
            )
            seen: Counter[str] = Counter()
            prompts = []
            for number in numbers:
                context = requests[number].args[0]
                prompts.append(Prompt(f"{context}\0{seen[context]}", context))
                seen[context] += 1
            for number, (text,) in zip(numbers, complete(prompts, samples=1, **settings), strict=True):
                texts[number] = text
        return texts

    def _scored(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[Scored]:
        windows, owners = [], []
        for number, (context, answer) in enumerate(pairs):
            found = windows_of(np.array(context, np.int64), np.array(answer, np.int64), length=self.max_length)
            windows += found
            owners += [number] * len(found)
        parts: list[list[Scored]] = [[] for _ in pairs]
        for owner, part in zip(owners, score_greedy(self._model, windows), strict=True):
            parts[owner].append(part)
        return [Scored(math.fsum(p.nats for p in each), all(p.greedy for p in each)) for each in parts]


def _writing(given: Mapping[str, Any]) -> dict[str, Any]:
    settings = normalize_gen_kwargs(dict(given), MAX_TOKENS)
    if unknown := sorted(settings.keys() - _WRITING):
        raise UsageError(
            f"lm-eval: generation_kwargs has {', '.join(unknown)}, which has no meaning here. There are: "
            f"{', '.join(sorted(_WRITING))}."
        )
    return {
        "max_tokens": settings["max_gen_toks"],
        "stop": [mark for mark in settings["until"] if mark],
        "temperature": settings["temperature"] if settings.get("do_sample") else 0.0,
        "top_p": settings.get("top_p", 1.0),
    }
