"""The most tokens that a text can give, by its bytes: what a budget in tokens is held against before a run.

Known of byte-level BPE, whose words are cut out of the text and never added to: each byte is at most one token. Nothing
is known of tokenizers that put something in (a blank before the text, `▁` for a blank) or write it another way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MOST_BYTES_OF_NFC = 3
"""NFC makes of a text in UTF-8 at most so many times its bytes (UAX #15, table 5)."""

_CUTTERS = ("ByteLevel", "Digits", "Split")


def most_tokens_a_byte(tokenizer: Mapping[str, Any]) -> int | None:
    """The most tokens, special ones aside, for each byte of a text; None where that is not known.

    Args:
        tokenizer: a tokenizer.json.
    """
    if tokenizer["model"].get("type", "BPE") != "BPE" or "merges" not in tokenizer["model"]:
        return None
    normalizers = list(_parts(tokenizer.get("normalizer"), "normalizers"))
    cutters = list(_parts(tokenizer.get("pre_tokenizer"), "pretokenizers"))
    if not any(one["type"] == "ByteLevel" for one in cutters):
        return None
    if any(one["type"] not in _CUTTERS or one.get("add_prefix_space") for one in cutters):
        return None
    if any(one["type"] != "NFC" for one in normalizers):
        return None
    return MOST_BYTES_OF_NFC if normalizers else 1


def _parts(part: Mapping[str, Any] | None, inner: str) -> Iterator[Mapping[str, Any]]:
    """A normalizer or pre-tokenizer; of a sequence what it consists of."""
    if part and part["type"] == "Sequence":
        for one in part[inner]:
            yield from _parts(one, inner)
    elif part:
        yield part
