"""Small tokenizers of every kind of model, made with the `tokenizers` library."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

TEXTS = [f"The miller counts {i} sacks of flour before noon by the river." for i in range(20)]
SPECIAL = ["<pad>", "</s>", "<unk>"]


def unigram(**changes: Any) -> str:
    """T5's kind: pieces over Metaspace, `<unk>` and `</s>` among the pieces."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    return _trained(tokenizer, trainer, changes)


def word_piece(**changes: Any) -> str:
    """BERT's kind."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[SEP]"]
    return _trained(tokenizer, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special), changes)


def word_level(**changes: Any) -> str:
    """Whole words between blanks."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _trained(tokenizer, trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False), changes)


def char_bpe(**changes: Any) -> str:
    """BPE over the characters that were seen."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=SPECIAL, show_progress=False)
    return _trained(tokenizer, trainer, changes)


def _trained(tokenizer: Tokenizer, trainer: trainers.Trainer, changes: dict[str, Any]) -> str:
    tokenizer.train_from_iterator(TEXTS, trainer)
    made = json.loads(tokenizer.to_str())
    made["model"] |= changes
    return json.dumps(made)
