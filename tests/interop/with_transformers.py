"""Loads models and tokenizers with transformers and says what they give; makes models of its own and saves them.

Run by the Python of an environment that has transformers, not by ours.

    python with_transformers.py '{"models": {NAME: FOLDER}, "made": {NAME: {"folder": …, "config": {…}}},
                                  "ids": [[…]], "tokenizers": {NAME: FOLDER}, "texts": […], "num_written": 5,
                                  "out": FOLDER}'

Logits go to OUT/NAME.npy, float32 [B, T, V]. Printed: `version`; `models`, NAME -> class, dtype of the weights, whether
embedding and output are one matrix, what `generate` adds to the first three ids; `tokens`, NAME -> ids of each text.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers


def logits(model: Any, ids: list[list[int]], path: Path) -> None:
    """Write what a model gives for ids."""
    with torch.inference_mode():
        np.save(path, model(torch.tensor(ids)).logits.float().numpy())


def loaded(folder: str, ids: list[list[int]], path: Path, *, num_written: int) -> dict[str, Any]:
    """What is known of a model that is loaded as its config says; it must have all weights, and no others."""
    model, told = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    wrong = {name: [*map(str, found)] for name, found in told.items() if found}
    if wrong:
        raise SystemExit(f"{folder}: {wrong}")
    logits(model.eval(), ids, path)
    written = model.generate(torch.tensor([ids[0][:3]]), max_new_tokens=num_written, do_sample=False)
    return {
        "class": type(model).__name__,
        "dtype": str(model.dtype),
        "tied": model.get_input_embeddings().weight is model.get_output_embeddings().weight,
        "written": written[0, 3:].tolist(),
    }


def make(folder: str, config: dict[str, Any], ids: list[list[int]], path: Path) -> None:
    """Save a model of random weights, and its logits."""
    torch.manual_seed(1)
    built = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(std=0.3)
    built.eval().save_pretrained(folder, max_shard_size="20KB")
    logits(built, ids, path)


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """What stands in the module's docstring."""
    out, ids = Path(asked["out"]), asked["ids"]
    for name, one in asked["made"].items():
        make(one["folder"], one["config"], ids, out / f"{name}.npy")
    found = {
        name: loaded(folder, ids, out / f"{name}.npy", num_written=asked["num_written"])
        for name, folder in asked["models"].items()
    }
    tokens = {}
    for name, folder in asked["tokenizers"].items():
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        split = transformers.AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
        tokens[name] = {
            "ids": [tokenizer(text, add_special_tokens=False)["input_ids"] for text in asked["texts"]],
            "as_text": [split(text)["input_ids"] for text in asked["texts"]],
            "eos": tokenizer.eos_token_id,
            "decoded": [tokenizer.decode(tokenizer(text)["input_ids"]) for text in asked["texts"]],
        }
    return {"version": transformers.__version__, "models": found, "tokens": tokens}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
