"""What a tokenizer does with text that it does not know: writes its bytes, writes `<unk>`, drops it, or gives up.

Byte-level BPE, and any model that falls back to bytes, knows all text. BERT's WordPiece, WordLevel and T5's or XLM-R's
Unigram write an unknown token. BPE over characters without an unknown token leaves characters out in silence. What
the other models do without one is an error in the middle of a run, so such a tokenizer is refused when it is read.
Source: the models of Hugging Face `tokenizers` (tokenizers/src/models/*/model.rs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dolma_pipeline.errors import DataError

if TYPE_CHECKING:
    from dolma_pipeline.tokens.tokenizer import TokenizerInfo


@dataclass(frozen=True, slots=True)
class Unknown:
    """What becomes of unknown text: `token` and `id` of what stands for it, or `dropped`. Neither: all is known."""

    token: str | None = None
    id: int | None = None
    dropped: bool = False


def unknown_text(tokenizer: Mapping[str, Any]) -> Unknown:
    """What a tokenizer.json does with text that it does not know.

    Args:
        tokenizer: the JSON, which `tokenizers` loads.

    Raises:
        DataError: it cannot encode such text: the unknown token is not in its vocabulary, or there is none.
    """
    model: Mapping[str, Any] = tokenizer["model"]
    kind = model.get("type") or ("Unigram" if isinstance(model["vocab"], list) else "BPE")
    pieces = [piece for piece, _ in model["vocab"]] if kind == "Unigram" else []
    ids = {piece: i for i, piece in enumerate(pieces)} if pieces else model["vocab"]
    if kind in ("BPE", "Unigram") and _knows_all_bytes(tokenizer, ids):
        return Unknown()
    if kind == "Unigram":
        unk_id = model.get("unk_id")
        if unk_id is None:
            raise DataError("it cannot encode text that it does not know: its Unigram model has no `unk_id`")
        return Unknown(pieces[unk_id], unk_id)
    token = model.get("unk_token")
    if token is None and kind == "BPE":
        return Unknown(dropped=True)
    if token not in ids:
        raise DataError(
            f"it cannot encode text that it does not know: the `unk_token` {token!r} of its {kind} model is not in the "
            "model's vocabulary"
        )
    return Unknown(token, ids[token])


def _knows_all_bytes(tokenizer: Mapping[str, Any], ids: Mapping[str, int]) -> bool:
    """Whether every text comes down to bytes that are all in the vocabulary."""
    from tokenizers import pre_tokenizers

    if tokenizer["model"].get("byte_fallback"):
        return all(f"<0x{byte:02X}>" in ids for byte in range(256))
    if "ByteLevel" in {*_types(tokenizer.get("pre_tokenizer")), *_types(tokenizer.get("normalizer"))}:
        return all(char in ids for char in pre_tokenizers.ByteLevel.alphabet())
    return False


def _types(part: Mapping[str, Any] | None) -> Iterator[str]:
    """Types of a pre-tokenizer or normalizer and of those within it."""
    if part:
        yield part["type"]
        for inner in [*(part.get("pretokenizers") or ()), *(part.get("normalizers") or ())]:
            yield from _types(inner)


def uncounted(info: TokenizerInfo) -> list[str]:
    """What to warn of, of a tokenizer that loses text without a trace in its ids."""
    if info.unknown.dropped:
        return [
            "the tokenizer leaves characters that it does not know out of texts, and nothing can count them: its BPE "
            "model has neither an unknown token nor all bytes"
        ]
    return []


def forewarnings(info: TokenizerInfo) -> list[str]:
    """What to warn of before a tokenizer is used, if it does not know all text."""
    if info.unknown.token is not None:
        return [
            f"the tokenizer writes {info.unknown.token} (id {info.unknown.id}) for text that it does not know; "
            "tokens/manifest.json will count how often"
        ]
    return uncounted(info)


def unknown_counts(info: TokenizerInfo, unk_by_source: Mapping[str, int]) -> dict[str, Any]:
    """`unk` and `unk_by_source` of a part, for its counts; nothing where the tokenizer has no unknown token."""
    if info.unknown.id is None:
        return {}
    return {"unk": sum(unk_by_source.values()), "unk_by_source": dict(unk_by_source)}


def unknown_found(info: TokenizerInfo, counts: Mapping[str, Any]) -> list[str]:
    """How much unknown text there was: a sentence for each split that has some.

    Args:
        counts: split -> `tokens`, `unk`, `unk_by_source`, as in the manifest of `tokens`.
    """
    lines = []
    for split, count in sorted(counts.items()):
        if unk := count.get("unk", 0):
            sources = ", ".join(f"{source} {n:,}" for source, n in sorted(count["unk_by_source"].items()) if n)
            lines.append(
                f"{unk:,} of the {count['tokens']:,} tokens of {split} ({100 * unk / count['tokens']:.2f} %) are "
                f"{info.unknown.token} (id {info.unknown.id}), text that the tokenizer does not know; "
                f"by source: {sources}"
            )
    return lines
