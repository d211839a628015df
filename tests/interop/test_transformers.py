"""Models that are exported give their logits in transformers, and models of transformers give theirs here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.storage.folder import run_folder
from dolma_pipeline.tokens.encode import encoder
from dolma_pipeline.tokens.tokenizer import parse_tokenizer
from dolma_pipeline.train.hugging_face.read import read_hf
from dolma_pipeline.train.hugging_face.shape import DTYPES, config_json
from dolma_pipeline.train.hugging_face.start import export
from dolma_pipeline.train.hugging_face.write import write_weights
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import ModelConfig
from tests.saved_models import STEP, random_model, saved_run

pytestmark = pytest.mark.interop

LENGTH = 24
EOS = "<|endoftext|>"
WRITTEN = 5
TEXTS = [
    "The cat sat on the mat.", "Grüße aus Köln – 你好, 世界! 😀", "  a  b\n\n\tc ", "", "def f(x):\n    return x + 1\n",
    "mail |||EMAIL|||, twice |||EMAIL|||", "don't , . ! 'll", "\u00e9 e\u0301 \ufffd \x00",
    f"it ends with {EOS} and goes on",
]  # fmt: skip

OURS: dict[str, dict[str, Any]] = {
    "olmo": {},
    "olmo_tied": {"tied": True},
    "olmo_clipped_grouped": {"clip_qkv": 0.4, "num_kv_heads": 2, "rope_theta": 500.0},
    "olmo_mup": {"mup_base_width": 8, "embedding_scale": 3.7},
    "olmo_interleaved": {"rope_interleaved": True},
    "olmo_mup_tied": {"tied": True, "embedding_scale": 3.7, "logit_scale": 0.3, "attention_scale": 0.11},
    "llama": {"norm": "rms_norm", "norm_eps": 1e-6},
    "llama_tied_grouped": {"norm": "rms_norm", "tied": True, "num_kv_heads": 1, "rope_theta": 20_000.0},
    "llama_biases_mup": {"norm": "rms_norm", "biases": True, "logit_scale": 0.3, "attention_scale": 0.11},
}
"""Name -> the fields of the shape that are not as in the first."""

_SIZES = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 44, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": LENGTH, "eos_token_id": 0, "pad_token_id": None, "bos_token_id": None,
}  # fmt: skip
THEIRS: dict[str, dict[str, Any]] = {
    "their_olmo": {"model_type": "olmo", **_SIZES},
    "their_olmo_tied": {"model_type": "olmo", **_SIZES, "tie_word_embeddings": True, "clip_qkv": 0.4},
    "their_llama": {"model_type": "llama", **_SIZES, "num_key_value_heads": 2, "rms_norm_eps": 1e-5},
    "their_llama_biases": {
        "model_type": "llama", **_SIZES, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 300.0},
    },
}  # fmt: skip
"""Name -> the config of a model that transformers makes."""


def tokenizer() -> Tokenizer:
    """Byte-level BPE, EOS 0, and a mask that is an ordinary added token."""
    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=[EOS], initial_alphabet=alphabet)
    built.train_from_iterator(["the cat sat on the mat and that is that, return"] * 3, trainer)
    built.add_tokens(["|||EMAIL|||"])
    return built


@pytest.fixture(scope="module")
def ids() -> torch.Tensor:
    return torch.randint(0, 61, (3, LENGTH), generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def ours() -> dict[str, Decoder]:
    sizes = {"vocab_size": tokenizer().get_vocab_size(), "sequence_length": LENGTH, "width": 32, "num_layers": 2}
    common = sizes | {"num_heads": 4, "hidden": 44, "tied": False}
    return {name: random_model(ModelConfig(**(common | fields))) for name, fields in OURS.items()}


@pytest.fixture(scope="module")
def theirs(
    answers: Callable[..., dict[str, Any]],
    ours: dict[str, Decoder],
    ids: torch.Tensor,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, Any]]:
    """A folder with logits and with the models that transformers made, and what else it says."""
    folder = tmp_path_factory.mktemp("interop")
    models = {"whole": str(folder / "whole")}
    for name, model in ours.items():
        run = saved_run(folder / "runs" / name, model, eos_id=0)
        for dtype in DTYPES:
            place = folder / f"{name}_{dtype}"
            place.mkdir()
            content = config_json(model.config, form="hf", eos_id=0, dtype=DTYPES[dtype])
            (place / "config.json").write_bytes(pretty(content))
            write_weights(run, STEP, place, form="hf", dtype=dtype, max_file_bytes=20_000)
            models[place.name] = str(place)
    run = folder / "runs" / "olmo"
    paths.write_bytes(run / "tokenizer/tokenizer.json", tokenizer().to_str().encode())
    export(run, folder / "whole", folder=run_folder(str(run)), step=STEP)
    asked = {
        "models": models,
        "made": {name: {"folder": str(folder / name), "config": config} for name, config in THEIRS.items()},
        "ids": ids.tolist(),
        "tokenizers": {"whole": models["whole"]},
        "texts": TEXTS,
        "num_written": WRITTEN,
        "out": str(folder),
    }
    return folder, answers("with_transformers.py", asked, folder=folder)


@pytest.mark.parametrize("name", OURS)
def test_their_logits_are_ours(
    name: str, ours: dict[str, Decoder], ids: torch.Tensor, theirs: tuple[Path, dict[str, Any]]
) -> None:
    folder, told = theirs
    model = ours[name]
    assert told["models"][f"{name}_fp32"]["class"] == ("LlamaForCausalLM" if "llama" in name else "OlmoForCausalLM")
    assert told["models"][f"{name}_fp32"]["dtype"] == "torch.float32"
    assert told["models"][f"{name}_fp32"]["tied"] == (model.config.tied and "mup" not in name)
    logits = model(ids)
    found = np.load(folder / f"{name}_fp32.npy")
    np.testing.assert_allclose(found, logits.numpy(), rtol=1e-5, atol=1e-5)
    written = ids[:1, :3]
    while written.shape[1] < 3 + WRITTEN and (written.shape[1] == 3 or written[0, -1] != 0):
        written = torch.cat((written, model(written)[:, -1:].argmax(dim=-1)), dim=1)
    assert told["models"][f"{name}_fp32"]["written"] == written[0, 3:].tolist()


@pytest.mark.parametrize("name", OURS)
def test_in_bf16_they_are_as_near_as_rounded_weights_are(
    name: str, ours: dict[str, Decoder], ids: torch.Tensor, theirs: tuple[Path, dict[str, Any]]
) -> None:
    folder, told = theirs
    assert told["models"][f"{name}_bf16"]["dtype"] == "torch.bfloat16"
    config, weights = read_hf(folder / f"{name}_bf16")
    for value in weights.values():
        assert torch.equal(value, value.bfloat16().float())
    model = Decoder(config).requires_grad_(False)
    model.load_state_dict(dict(weights))
    logits = model.bfloat16()(ids).float().numpy()
    found = np.load(folder / f"{name}_bf16.npy")
    assert np.abs(found - logits).max() < 0.05 * np.abs(logits).max()


@pytest.mark.parametrize("name", THEIRS)
def test_models_of_theirs_are_read(name: str, ids: torch.Tensor, theirs: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = theirs
    assert len(list((folder / name).glob("*.safetensors"))) > 1
    config, weights = read_hf(folder / name)
    model = Decoder(config).requires_grad_(False)
    model.load_state_dict(dict(weights))
    found = np.load(folder / f"{name}.npy")
    np.testing.assert_allclose(model(ids).numpy(), found, rtol=1e-5, atol=1e-5)


def test_a_whole_folder_is_what_its_parts_are(theirs: tuple[Path, dict[str, Any]]) -> None:
    folder, told = theirs
    assert told["models"]["whole"] == told["models"]["olmo_fp32"]
    assert np.array_equal(np.load(folder / "whole.npy"), np.load(folder / "olmo_fp32.npy"))


def test_the_tokenizer_is_ours(theirs: tuple[Path, dict[str, Any]]) -> None:
    _, told = theirs
    encode = encoder(parse_tokenizer(tokenizer().to_str())).encode
    ours = encode(pa.array(TEXTS)).to_pylist()
    assert 0 not in ours[-1]  # here a special token that a text shows is text
    assert told["tokens"]["whole"]["as_text"] == ours
    assert told["tokens"]["whole"]["ids"][:-1] == ours[:-1]
    assert 0 in told["tokens"]["whole"]["ids"][-1]
    assert told["tokens"]["whole"]["eos"] == 0
    assert told["tokens"]["whole"]["decoded"] == TEXTS
