"""Scores the answers to questions with a model of first weights: `score_once.py WHO MODEL TOKENIZER ITEMS TIMES`.

WHO is `ours` or `lm_eval` (its Hugging Face model at batch size 16, run by the Python of its environment). What is
timed: encoding, reading, probabilities; of so many times the cheapest. Neither puts anything before a question.
Prints one JSON line: items, cpu_s, choices (the likeliest answer of each item), nats of each answer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "peers"), str(HERE.parent / "interop")]

LENGTH = 512
SPREAD = 2.0
"""First weights are made larger by it, so that answers differ clearly."""


def first_model(name: str, vocab_size: int) -> Any:
    """A model of its first weights, the same in every process."""
    import torch

    from dolma_pipeline.train.initial import initial_value
    from dolma_pipeline.train.spec import model_config, spec_of

    config = model_config(name, vocab_size=vocab_size, sequence_length=LENGTH)
    model = spec_of(config).build(config)
    with torch.no_grad():
        for name_, weight in model.named_parameters():
            weight.copy_(SPREAD * initial_value(name_, weight.shape, config=config, seed=1))
    return model.eval().requires_grad_(False)


def ours(model: Any, tokenizer: Any, items: list[dict[str, Any]]) -> Callable[[], list[list[float]]]:
    """Our scores."""
    import numpy as np

    from dolma_pipeline.evals.questions import Question, score_questions

    def encode(text: str) -> Any:
        return np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int64)

    return lambda: score_questions(
        model,
        [Question(encode(item["context"]), tuple(encode(choice) for choice in item["choices"])) for item in items],
    )


def lm_eval(model: Any, tokenizer: Any, items: list[dict[str, Any]]) -> Callable[[], list[list[float]]]:
    """The scores of lm-eval's Hugging Face model, of the same weights."""
    from as_transformers import as_transformers
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import PreTrainedTokenizerFast

    token = tokenizer.id_to_token(0)
    theirs = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=token, bos_token=token, pad_token=token)
    scorer = HFLM(
        pretrained=as_transformers(model),
        tokenizer=theirs,
        backend="causal",
        batch_size=16,
        device="cpu",
        max_length=LENGTH,
    )
    asked = [
        Instance(request_type="loglikelihood", doc=item, arguments=(item["context"], choice), idx=number)
        for item in items
        for number, choice in enumerate(item["choices"])
    ]

    def score() -> list[list[float]]:
        nats = iter([-found[0] for found in scorer.loglikelihood(asked, disable_tqdm=True)])
        return [[next(nats) for _ in item["choices"]] for item in items]

    return score


if __name__ == "__main__":
    import timing
    import torch
    from tokenizers import Tokenizer

    who, name, tokenizer_path, path, times = sys.argv[1:]
    torch.set_num_threads(1)
    with open(path, encoding="utf-8") as lines:
        items = [json.loads(line) for line in lines]
    tokenizer = Tokenizer.from_file(tokenizer_path)
    make = {"ours": ours, "lm_eval": lm_eval}[who]
    score = make(first_model(name, tokenizer.get_vocab_size()), tokenizer, items)
    nats = score()
    cpu_s = min(timing.cpu_seconds(score) for _ in range(int(times)))
    choices = [each.index(min(each)) for each in nats]
    print(json.dumps({"items": len(items), "cpu_s": cpu_s, "choices": choices, "nats": nats}))
