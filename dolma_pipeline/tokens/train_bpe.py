"""Training of a byte-level BPE tokenizer, the kind that GPT-2 and OLMo use.

Every text can be encoded and comes back to the byte: there is no normalizer and all 256 bytes are in the
alphabet. The same texts in the same order give the same bytes of JSON, whatever the number of threads.
Special tokens have the first ids; added tokens, such as masks, the last. What is left out of a text: `tokens.sample`.
Cost: about 3 MB of text per CPU-second for 4,096 ids; memory grows with the number of different words.
Source: Sennrich et al. 2016 (BPE); Radford et al. 2019 (bytes, and the pattern that splits words).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence

from dolma_pipeline.errors import ConfigError, DataError
from dolma_pipeline.tokens.sample import Sample

_NUM_BYTES = 256
_MIN_PAIR_COUNT = 2  # a pair seen once teaches nothing: it would only copy the sample into the vocabulary


def train_bpe(
    texts: Iterable[str],
    *,
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    added_tokens: Sequence[str] = (),
    report: Callable[[str], None] | None = None,
) -> str:
    """Train a tokenizer and give the text of its tokenizer.json.

    Args:
        texts: the sample; read once, in order.
        vocab_size: ids in all, special and added ones included; fewer come out where the sample holds too few
            pairs that occur twice.
        special_tokens: get ids 0, 1, …; such words in the sample are text like any other.
        added_tokens: matched in texts as wholes, `special: false`; nothing is learned from within them.
        report: gets what should be known of a sample that served badly (see `sample.Sample.warnings`), a call each;
            None makes RuntimeWarnings of it.

    Raises:
        ConfigError: a vocabulary too small for 256 bytes and these tokens; a token named twice, empty, or with
            characters beyond ASCII (which the byte-level decoder would not give back).
        DataError: no text to train on; it says what was left out, and why.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    _check_tokens(vocab_size, special_tokens, added_tokens)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(added_tokens),
        min_frequency=_MIN_PAIR_COUNT,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special_tokens],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    sample = Sample(texts, added_tokens)
    tokenizer.train_from_iterator(iter(sample), trainer)
    if sample.is_empty:
        raise DataError(sample.why_empty())
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in added_tokens])
    for text in sample.warnings(vocab_size=vocab_size, num_ids=tokenizer.get_vocab_size()):
        if report is None:
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        else:
            report(text)
    return str(tokenizer.to_str(pretty=False))


def _check_tokens(vocab_size: int, special_tokens: Sequence[str], added_tokens: Sequence[str]) -> None:
    """ConfigError for what cannot be trained."""
    tokens = [*special_tokens, *added_tokens]
    for token in tokens:
        if not token or not token.isascii():
            raise ConfigError(f"tokenizer: the token {token!r} must be one or more ASCII characters")
        if tokens.count(token) > 1:
            raise ConfigError(f"tokenizer: the token {token!r} is named twice in special_tokens and added_tokens")
    least = _NUM_BYTES + len(tokens)
    if vocab_size < least:
        raise ConfigError(
            f"tokenizer.vocab_size: {vocab_size} is too small; {_NUM_BYTES} bytes and {len(tokens)} special and "
            f"added tokens need at least {least}"
        )
