"""A tokenizer.json as the engines get it, so that no text gives a special token.

Two ways lead from a text to a special token. Entries of `added_tokens` are looked for in the text; an engine is told
not to, or does not get them. And a model whose vocabulary holds `</s>` as a piece may find it like any other: WordLevel
and WordPiece look whole words up, Unigram looks for its pieces everywhere, BPE with `ignore_merges` looks words up
before it merges. So such a piece gets a name here that no text has. Its id stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dolma_pipeline.tokens.tokenizer import TokenizerInfo


def plain_json(info: TokenizerInfo) -> str:
    """The JSON without what would cut or fill texts; its tokens have their own names."""
    return json.dumps(_plain(info), ensure_ascii=False)


def reference_json(info: TokenizerInfo) -> str:
    """For `tokenizers`: every special token marked as such, so that `encode_special_tokens` covers it."""
    plain, names = _hidden(info)
    for entry in plain.get("added_tokens") or ():
        entry["special"] = entry["content"] in info.special_ids
        entry["content"] = names.get(entry["content"], entry["content"])
    return json.dumps(plain, ensure_ascii=False)


def special_free_json(info: TokenizerInfo) -> str:
    """For gigatoken: without the special entries. What cannot be matched cannot be read out of a text.

    Only for gigatoken, which takes the other entries' ids from the file; `tokenizers` would number those that
    are not in the model's vocabulary anew, and give a mask the id of the special token taken out before it.
    """
    plain, _ = _hidden(info)
    plain["added_tokens"] = [e for e in plain.get("added_tokens") or () if e["content"] not in info.special_ids]
    return json.dumps(plain, ensure_ascii=False)


def hides_pieces(info: TokenizerInfo) -> bool:
    """Whether some token has another name in `reference_json`, which must then not decode."""
    return bool(_new_names(info, _plain(info)["model"]))


def _plain(info: TokenizerInfo) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(info.json)
    tree["truncation"] = tree["padding"] = None
    return tree


def _hidden(info: TokenizerInfo) -> tuple[dict[str, Any], Mapping[str, str]]:
    """The JSON with special pieces of the model renamed, and their names: old -> new."""
    plain = _plain(info)
    model = plain["model"]
    names = _new_names(info, model)
    if names:
        if isinstance(model["vocab"], list):
            model["vocab"] = [[names.get(piece, piece), score] for piece, score in model["vocab"]]
        else:
            model["vocab"] = {names.get(piece, piece): id_ for piece, id_ in model["vocab"].items()}
        if "unk_token" in model:
            model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    return plain, names


def _new_names(info: TokenizerInfo, model: Mapping[str, Any]) -> dict[str, str]:
    """Special tokens that this model may find in a text by itself, and what they are called instead."""
    vocabulary = model["vocab"]
    pieces = {piece for piece, _ in vocabulary} if isinstance(vocabulary, list) else vocabulary
    tokens = [token for token in info.special_ids if token in pieces]
    if "merges" in model:  # a piece that is merged cannot be renamed, and a longer one that is not is never reached
        looked_up = bool(model.get("ignore_merges"))
        tokens = [t for t in tokens if looked_up or len(t) == 1]
        if not tokens:
            return {}
        parts = {part for merge in model["merges"] for part in (merge.split(" ") if isinstance(merge, str) else merge)}
        made = {"".join(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]}
        tokens = [t for t in tokens if t not in parts and t not in made]
    # A blank parts words, or is written otherwise (`▁`), and a control character is not text: no piece is so called.
    return {token: f"\x00 special \x00 {info.special_ids[token]} \x00" for token in tokens}
