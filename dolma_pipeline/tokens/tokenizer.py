"""A tokenizer.json, read and described: how many ids, which tokens are special, which engine encodes with it.

Special tokens (EOS, BOS, PAD) are never read out of a text: a web page that shows `<|endoftext|>` does not
end a document. They are all entries of `added_tokens` with `special: true` and those that the recipe names.
The token for unknown text, such as `<unk>`, is the exception, for it is the model's answer to text.
Ordinary added tokens (`special: false`, such as masks for personal data) are matched in texts and keep their
ids. The meaning is that of `encode_special_tokens=True` in Hugging Face `tokenizers`.
Cost: 0.6 CPU-seconds for a vocabulary of 50,000: two engines are loaded, and one checked against the other.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dolma_pipeline.errors import DataError, RunError, UnknownNameError
from dolma_pipeline.storage.inputs import read_whole
from dolma_pipeline.tokens.unknown import Unknown, unknown_text

Engine = Literal["gigatoken", "tokenizers"]


@dataclass(frozen=True, slots=True)
class TokenizerInfo:
    """What must be known of a tokenizer; small enough to travel to workers (the JSON text is some MB at most).

    json: text of the tokenizer.json as found. sha256: of its UTF-8 bytes, hex.
    vocab_size: number of tokens, added ones included. num_ids: largest id + 1, what a model's embedding and
    the shards' dtype must hold. special_ids: special token -> id. added_ids: ordinary added token -> id.
    engine: which library encodes with it, as found by `load_tokenizer`. unknown: what becomes of text that it does
    not know; its token may come out of a text even if it is a special one.
    """

    json: str = field(repr=False)
    sha256: str
    vocab_size: int
    num_ids: int
    special_ids: Mapping[str, int]
    added_ids: Mapping[str, int] = field(repr=False)
    engine: Engine = "tokenizers"
    unknown: Unknown = field(default_factory=Unknown)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The smallest of uint8, uint16 and uint32 that holds every id."""
        return token_dtype(self.num_ids)

    def special_id(self, token: str) -> int:
        """The id of a special token; UnknownNameError where it is not one of this tokenizer's."""
        if token not in self.special_ids:
            hint = (
                "Special tokens are those with `special: true` in the tokenizer's added_tokens or named in the recipe."
            )
            raise UnknownNameError("special token", token, self.special_ids, hint=hint)
        return self.special_ids[token]


def token_dtype(num_ids: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The smallest of uint8, uint16 and uint32, little-endian, that holds ids below `num_ids`.

    This is what OLMo-core assumes where it is told the vocabulary's size only. DataError above 2^32 ids.
    """
    for dtype in ("<u1", "<u2", "<u4"):
        if num_ids - 1 <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    raise DataError(f"{num_ids} token ids do not fit in 32 bits")


def load_tokenizer(
    path: str | Path, *, special_tokens: Sequence[str] = (), engine: Engine | None = None
) -> TokenizerInfo:
    """Read a tokenizer.json and find out which engine encodes with it.

    Args:
        path: a local file in the format of Hugging Face `tokenizers`.
        special_tokens: tokens to treat as special beside those that the file marks.
        engine: see `parse_tokenizer`.

    Raises:
        DataError: no such file, or not a tokenizer.
        UnknownNameError: a special token that the tokenizer does not have.
    """
    return parse_tokenizer(tokenizer_text(path), special_tokens=special_tokens, engine=engine, name=str(path))


def tokenizer_text(path: str | Path) -> str:
    """The text of a tokenizer.json, at a path or URL.

    Raises:
        DataError: no such file, or not UTF-8. RunError: the place refuses it.
    """
    try:
        return read_whole(path if isinstance(path, str) else str(path)).decode()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `tokenizer.load` names a tokenizer.json") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a tokenizer.json: {error}") from error


def parse_tokenizer(
    text: str, *, special_tokens: Sequence[str] = (), engine: Engine | None = None, name: str = "tokenizer.json"
) -> TokenizerInfo:
    """The same for the text of a tokenizer.json.

    Args:
        text: JSON.
        special_tokens: tokens to treat as special beside those that the file marks.
        engine: None takes gigatoken where it loads this tokenizer and gives the ids of `tokenizers` on a fixed
            set of awkward strings, and else `tokenizers`, 30 times slower, with a RuntimeWarning that says why.
            An engine named here is taken or is an error.
        name: what errors call it.

    Raises:
        DataError: not a tokenizer, one that `tokenizers` cannot load, one that cannot encode all texts, or one that
            gives a special token for its own text.
        RunError: the engine asked for cannot load it or gives other ids.
    """
    from dolma_pipeline.tokens import encode

    described = _described(text, special_tokens, name)
    if engine == "tokenizers":
        return described
    fast = replace(described, engine="gigatoken")
    try:
        encode.encoder(fast)
    except RunError as error:
        if engine == "gigatoken":
            raise
        warnings.warn(
            f"{name}: encoding with tokenizers, about 30 times slower than gigatoken: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return described
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    return fast


def _described(text: str, special_tokens: Sequence[str], name: str) -> TokenizerInfo:
    """What the JSON says, and `tokenizers` of it."""
    from tokenizers import Tokenizer

    try:
        tree = json.loads(text)
    except ValueError as error:
        raise DataError(f"{name}: not a tokenizer.json: {error}") from error
    if not isinstance(tree, dict) or "model" not in tree:
        raise DataError(f"{name}: not a tokenizer.json: it has no `model`")
    try:
        vocabulary = Tokenizer.from_str(text).get_vocab(with_added_tokens=True)
    except Exception as error:  # tokenizers raises the bare class
        raise DataError(f"{name}: not a tokenizer that `tokenizers` can load: {error}") from error
    try:
        unknown = unknown_text(tree)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    added = {entry["content"]: bool(entry["special"]) for entry in tree.get("added_tokens") or ()}
    for token in special_tokens:
        if token not in vocabulary:
            raise UnknownNameError("token", token, added, hint=f"{name} has no such token.")
    special = {token for token, is_special in added.items() if is_special} | set(special_tokens)
    return TokenizerInfo(
        json=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        vocab_size=len(vocabulary),
        num_ids=max(vocabulary.values()) + 1,
        special_ids={token: vocabulary[token] for token in sorted(special, key=vocabulary.__getitem__)},
        added_ids={token: vocabulary[token] for token in added if token not in special},
        unknown=unknown,
    )
