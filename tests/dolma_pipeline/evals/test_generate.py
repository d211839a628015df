"""Texts with a cache are the texts without one, whatever they are written beside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from dolma_pipeline.errors import UsageError
from dolma_pipeline.evals import generate as writing
from dolma_pipeline.evals.complete import Prompt
from dolma_pipeline.evals.generate import Completer, Start, generate, prompt_room, until
from dolma_pipeline.evals.sampling import Sampling, Text
from dolma_pipeline.train.model import Decoder

SAMPLED = Sampling(temperature=1.0, top_p=0.9, seed="s")


def starts(model: Decoder, *, texts: int = 2) -> list[Start]:
    random = np.random.default_rng(2)
    prompts = [random.integers(1, model.config.vocab_size, n) for n in (5, 1, 12, 5, 9)]
    return [Start(ids, Text(f"p{i}", k)) for i, ids in enumerate(prompts) for k in range(texts)]


def plain(model: Decoder, start: Start, *, max_tokens: int, sampling: Sampling, eos_id: int) -> list[int]:
    """The whole sequence read anew for each id."""
    ids = start.ids.tolist()
    while len(ids) < min(model.config.sequence_length, len(start.ids) + max_tokens):
        logits = model(torch.tensor([ids]))[:, -1]
        (new,) = sampling.choose(logits, [start.text], position=len(ids) - len(start.ids))
        if new == eos_id:
            break
        ids.append(new)
    return ids[len(start.ids) :]


@pytest.mark.parametrize("sampling", [Sampling(), SAMPLED])
@pytest.mark.parametrize("at_once", [1, 50, 2**13])
def test_the_cache_and_the_batch_change_nothing(
    model: Decoder, monkeypatch: pytest.MonkeyPatch, sampling: Sampling, at_once: int
) -> None:
    monkeypatch.setitem(writing.TOKENS_AT_ONCE, "cpu", at_once)
    wanted = starts(model)
    expected = [plain(model, start, max_tokens=8, sampling=sampling, eos_id=7) for start in wanted]
    assert generate(model, wanted, max_tokens=8, eos_id=7, sampling=sampling) == expected
    assert len({tuple(ids) for ids in expected}) >= 5
    assert generate(model, wanted[::-1], max_tokens=8, eos_id=7, sampling=sampling) == expected[::-1]


def test_eos_and_the_end_of_the_window_end_a_text(model: Decoder) -> None:
    first, *_ = wanted = starts(model, texts=1)
    (ids, *_) = generate(model, wanted, max_tokens=6, eos_id=-1, sampling=SAMPLED)
    place = ids.index(ids[3])
    assert generate(model, [first], max_tokens=6, eos_id=ids[3], sampling=SAMPLED) == [ids[:place]]
    window = model.config.sequence_length
    long = generate(model, wanted, max_tokens=99, eos_id=-1, sampling=SAMPLED)
    assert [len(each) for each in long] == [window - len(start.ids) for start in wanted]


def test_a_prompt_leaves_room_for_its_text() -> None:
    assert prompt_room(24, max_tokens=4) == 20
    assert prompt_room(24, max_tokens=12) == prompt_room(24, max_tokens=500) == 12


def test_texts_end_before_the_first_stop() -> None:
    assert until("a\nb. c", [".", "\n"]) == "a"
    assert until("a b", [".", "\n"]) == "a b"


class Codec:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, np.int64) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)


def test_texts_of_a_saved_model(model: Decoder, tokenizer: Tokenizer) -> None:
    complete = Completer(model, Codec(tokenizer), eos_id=0, seed="task")
    prompts = [Prompt("a", "the cat"), Prompt("b", "sat on the mat" * 9), Prompt("c", "")]
    found = complete(prompts, max_tokens=10, stop=[], samples=3, temperature=1.0)
    assert complete.num_cut == 1
    assert [len(set(texts)) for texts in found] == [3, 3, 3]
    alone = complete(prompts[2:], max_tokens=10, stop=[], samples=2, temperature=1.0)
    assert alone == [found[2][:2]]
    assert Completer(model, Codec(tokenizer), eos_id=0, seed="other")(
        prompts[2:], max_tokens=10, stop=[], samples=2, temperature=1.0
    ) != [found[2][:2]]
    (likeliest, *_) = complete(prompts, max_tokens=10, stop=[], samples=3, temperature=0)
    assert likeliest == likeliest[:1] * 3
    mark = found[0][1][2:4]
    stopped = complete(prompts, max_tokens=10, stop=[mark], samples=3, temperature=1.0)
    assert stopped == [[until(text, [mark]) for text in texts] for texts in found]
    assert stopped[0][1] == found[0][1][: found[0][1].index(mark)]


def test_numbers_out_of_their_range(model: Decoder, tokenizer: Tokenizer) -> None:
    complete = Completer(model, Codec(tokenizer), eos_id=0)
    with pytest.raises(UsageError, match="max_tokens 0, samples 1: at least 1"):
        complete([Prompt("a", "x")], max_tokens=0, stop=[], samples=1, temperature=0)
    with pytest.raises(UsageError, match="a stop must not be empty"):
        complete([Prompt("a", "x")], max_tokens=1, stop=[""], samples=1, temperature=0)
    with pytest.raises(UsageError, match=r"temperature is -1; it must be 0 or more"):
        complete([Prompt("a", "x")], max_tokens=1, stop=[], samples=1, temperature=-1)
