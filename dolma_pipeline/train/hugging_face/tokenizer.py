"""The tokenizer's files as transformers reads them, beside a model. Does not load torch.

`tokenizer.json` is the run's, byte for byte. Beside it stand which token ends documents, and how many tokens the model
was trained on at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from dolma_pipeline.errors import DataError
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.tokens.tokenizer import tokenizer_text


class Ends(NamedTuple):
    """eos: the token that ends documents. adds: what the tokenizer puts around a text unless it is told not to."""

    eos: str
    adds: tuple[str, ...]


def write_tokenizer(source: Path, folder: Path, *, eos_id: int, sequence_length: int) -> Ends:
    """Write tokenizer.json, tokenizer_config.json and special_tokens_map.json into a folder.

    Args:
        source: the run's tokenizer.json. eos_id: the id that ends documents. sequence_length: positions of the model.

    Raises:
        DataError: no such file, or it has no such id.
    """
    from tokenizers import Tokenizer

    text = tokenizer_text(source)
    tokenizer = Tokenizer.from_str(text)
    eos = tokenizer.id_to_token(eos_id)
    if eos is None:
        raise DataError(f"{source}: has no id {eos_id}, with which this run's documents end. It is another tokenizer.")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos,
        "model_max_length": sequence_length,
        "clean_up_tokenization_spaces": False,
    }
    paths.write_bytes(folder / "tokenizer.json", text.encode())
    paths.write_bytes(folder / "tokenizer_config.json", pretty(settings))
    paths.write_bytes(folder / "special_tokens_map.json", pretty({"eos_token": eos}))
    return Ends(eos, tuple(tokenizer.encode("").tokens))
