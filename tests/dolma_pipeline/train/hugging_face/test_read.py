from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dolma_pipeline.errors import DataError, UnknownNameError
from dolma_pipeline.train.hugging_face.read import read_hf
from dolma_pipeline.train.hugging_face.shape import Form
from dolma_pipeline.train.hugging_face.tensor_file import TensorFile, write_tensors
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.spec import MODELS

Shape = Callable[..., ModelConfig]
RandomModel = Callable[..., Decoder]
SavedRun = Callable[..., Path]

LLAMA = {"norm": "rms_norm", "norm_eps": 1e-6, "num_kv_heads": 2, "rope_theta": 500_000.0}
CRYSTAL = {
    "norm": "layer_norm", "biases": True, "rope_fraction": 0.5, "rope_interleaved": True, "tied": True,
    "embedding_scale": 14.6, "logit_scale": 0.1, "attention_scale": 0.25,
}  # fmt: skip


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ("hf", {}),
        ("hf", {"tied": True, "clip_qkv": 1.5}),
        ("hf", LLAMA),
        ("hf", LLAMA | {"biases": True, "tied": True}),
        ("safetensors", CRYSTAL),
        ("safetensors", {}),
    ],
)
def test_what_is_written_is_read_bit_for_bit(
    exported: Callable[..., tuple[Path, Decoder]], form: Form, fields: dict[str, object]
) -> None:
    folder, model = exported(form, **fields)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    found, _ = read_hf(folder)
    assert dataclasses.replace(found, rows_multiple=64) == model.config
    config, weights = read_hf(folder, into=model.config)
    assert config == model.config
    parameters = dict(model.named_parameters())
    assert list(weights) == list(parameters)
    for name, value in weights.items():
        ours = parameters[name]
        if name in ("embedding.weight", "head.weight"):
            assert value.shape == (config.num_rows, 16)
            assert not value[60:].any()
            value, ours = value[:60], ours[:60]
        assert torch.equal(value, ours), name


def test_ids_that_the_tokenizer_lacks_are_left_out(
    exported: Callable[..., tuple[Path, Decoder]], shape: Callable[..., ModelConfig]
) -> None:
    folder, model = exported(tied=True)
    fewer = shape(tied=True, vocab_size=50, rows_multiple=8, sequence_length=99)
    config, weights = read_hf(folder, into=fewer)
    assert config is fewer
    assert torch.equal(weights["embedding.weight"][:50], model.embedding.weight[:50])
    assert weights["embedding.weight"].shape == (56, 16)
    assert not weights["embedding.weight"][50:].any()
    with pytest.raises(DataError, match=r"config\.json: the model has 60 ids, fewer than the 61 that are needed"):
        read_hf(folder, into=shape(tied=True, vocab_size=61))
    with pytest.raises(DataError, match=r"config\.json: another shape .*: hidden: 24 there, 32 here; tied: True there"):
        read_hf(folder, into=shape(hidden=32))


def test_bf16_is_read_as_float32(exported: Callable[..., tuple[Path, Decoder]]) -> None:
    folder, model = exported(dtype="bf16")
    _, weights = read_hf(folder)
    assert json.loads((folder / "config.json").read_bytes())["torch_dtype"] == "bfloat16"
    for name, value in weights.items():
        ours = dict(model.named_parameters())[name]
        assert value.dtype == torch.float32
        assert torch.equal(value[:16], ours[:16].bfloat16().float())


def test_one_file_needs_no_index(exported: Callable[..., tuple[Path, Decoder]]) -> None:
    folder, model = exported(dtype="bf16", num_layers=1, hidden=2, width=4, num_heads=1)
    assert [path.name for path in sorted(folder.iterdir())] == ["config.json", "model.safetensors"]
    _, weights = read_hf(folder)
    assert torch.equal(weights["blocks.0.mlp.down.weight"], model.blocks[0].mlp.down.weight.bfloat16().float())


def rewritten(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """The folder's tensors, changed, in one file."""
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        file = TensorFile(path)
        tensors |= {name: file.read(name) for name in file.places}
        path.unlink()
    (folder / "model.safetensors.index.json").unlink()
    change(tensors)
    planned = {name: tensor.to("meta") for name, tensor in tensors.items()}
    write_tensors(folder / "model.safetensors", planned, tensors.items())


HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@pytest.mark.parametrize(
    ("fields", "change", "message"),
    [
        ({}, lambda t: t.pop(HEAD), "do not fit config.json; it lacks lm_head.weight"),
        ({}, lambda t: t.clear(), r"it lacks lm_head\.weight, model\.embed_tokens\.weight, .* and 11 more"),
        ({}, lambda t: t.update(x=t[HEAD]), r"no such model has x\."),
        ({}, lambda t: t.update({HEAD: t[HEAD][:-1]}), r"lm_head\.weight is \[59, 16\]; .* it would be \[60, 16\]"),
        (
            {},
            lambda t: t.update({"model.layers.0.mlp.up_proj.weight": t[HEAD].T}),
            r"model\.layers\.0\.mlp\.up_proj\.weight is \[16, 60\]; .* it would be \[24, 16\]",
        ),
        ({"tied": True}, lambda t: t.update({HEAD: t[EMBEDDING] + 1}), "one matrix, but lm_head.weight is another"),
    ],
)
def test_weights_that_do_not_fit(
    exported: Callable[..., tuple[Path, Decoder]],
    fields: dict[str, object],
    change: Callable[..., object],
    message: str,
) -> None:
    folder, _ = exported(**fields)
    rewritten(folder, change)
    with pytest.raises(DataError, match=message):
        read_hf(folder)


def test_what_follows_from_other_tensors_may_be_there(exported: Callable[..., tuple[Path, Decoder]]) -> None:
    """Old files have the output of a tied model, and what positions turn by."""
    folder, model = exported(tied=True)
    more = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2)}
    rewritten(folder, lambda tensors: tensors.update({HEAD: tensors[EMBEDDING]} | more))
    _, weights = read_hf(folder)
    assert set(weights) == {name for name, _ in model.named_parameters()}


def test_folders_that_hold_no_such_model(exported: Callable[..., tuple[Path, Decoder]], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config\.json: no such file"):
        read_hf(tmp_path)
    folder, _ = exported()
    index, shards = folder / "model.safetensors.index.json", sorted(folder.glob("*.safetensors"))
    listed = index.read_bytes()
    index.write_text("{}")
    with pytest.raises(DataError, match=r"index\.json: has no weight_map"):
        read_hf(folder)
    index.write_bytes(listed)
    shards[1].rename(folder / "kept")
    with pytest.raises(
        DataError, match=r"model-00002-of-\d+\.safetensors: no such file, though .*index\.json names it"
    ):
        read_hf(folder)
    shards[1].write_bytes(shards[0].read_bytes())
    with pytest.raises(DataError, match=r"embed_tokens\.weight is in model-00001-of-\d+\S+ and in model-00002-"):
        read_hf(folder)
    index.unlink()
    with pytest.raises(DataError, match=r"neither model\.safetensors nor model\.safetensors\.index\.json\.$"):
        read_hf(folder)
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(DataError, match=r"There is pytorch_model\.bin; they can run code .* save_pretrained"):
        read_hf(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(DataError, match=r"config\.json: not a JSON object"):
        read_hf(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json: not JSON"):
        read_hf(folder)


def test_another_architecture(exported: Callable[..., tuple[Path, Decoder]], pairs: Any, shape: Any) -> None:
    folder, model = exported("safetensors", config=pairs)
    found, weights = read_hf(folder, into=pairs)
    assert found is pairs
    assert list(weights) == ["heat", "embedding.weight", "head.weight"]
    for name, value in model.named_parameters():
        assert torch.equal(weights[name], value)
    assert read_hf(folder)[0] == pairs
    with pytest.raises(DataError, match=r"another shape .*: architecture: pairs there, decoder here\."):
        read_hf(folder, into=shape())
    with pytest.raises(DataError, match=r"another shape .*: width: 4 there, 5 here\."):
        read_hf(folder, into=dataclasses.replace(pairs, width=5))
    with pytest.raises(DataError, match=r"weight is \[13, 4\]; by config\.json it would be \[12, 4\]"):
        read_hf(folder, into=dataclasses.replace(pairs, vocab_size=12))
    del MODELS["pairs"]
    with pytest.raises(UnknownNameError, match="no architecture named 'pairs'"):
        read_hf(folder)
