from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dolma_pipeline.errors import DamagedCheckpointError
from dolma_pipeline.train.hugging_face.tensor_file import TensorFile
from dolma_pipeline.train.hugging_face.write import write_weights
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import ModelConfig
from tests.saved_models import STEP, random_model, saved_run


@pytest.fixture
def run(tmp_path: Path, shape: Callable[..., ModelConfig]) -> tuple[Path, Decoder]:
    model = random_model(shape())
    return saved_run(tmp_path / "run", model, eos_id=3), model


def test_files_hold_what_fits_and_the_index_says_where(run: tuple[Path, Decoder], tmp_path: Path) -> None:
    limit = 5_000
    (tmp_path / "out").mkdir()
    total = write_weights(run[0], STEP, tmp_path / "out", form="hf", dtype="fp32", max_file_bytes=limit)
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_bytes())
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert [path.name for path in files] == [
        f"model-{i:05d}-of-{len(files):05d}.safetensors" for i in range(1, len(files) + 1)
    ]
    places = {name: path.name for path in files for name in TensorFile(path).places}
    assert index == {"metadata": {"total_size": total}, "weight_map": places}
    without_padding = 2 * 60 * 16 + 2 * (4 * 16 * 16 + 3 * 16 * 24)
    assert total == 4 * without_padding
    sizes = [sum(place.end - place.start for place in TensorFile(path).places.values()) for path in files]
    assert sum(sizes) == total
    queries = "model.layers.0.self_attn.q_proj.weight"
    assert places[queries] == places[queries.replace("q_proj", "v_proj")]
    # One more parameter would not have gone into a file.
    assert all(a + b > limit for a, b in itertools.pairwise(sizes))


def test_equal_weights_give_equal_bytes(run: tuple[Path, Decoder], tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_weights(run[0], STEP, tmp_path / name, form="hf", dtype="bf16")
        contents.append((tmp_path / name / "model.safetensors").read_bytes())
    assert contents[0] == contents[1]


def test_our_own_names(run: tuple[Path, Decoder], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_weights(run[0], STEP, tmp_path / "out", form="safetensors", dtype="bf16")
    file = TensorFile(tmp_path / "out/model.safetensors")
    parameters = dict(run[1].named_parameters())
    assert list(file.places) == list(parameters)
    for name in file.places:
        ours = parameters[name][:60] if name in ("embedding.weight", "head.weight") else parameters[name]
        assert torch.equal(file.read(name), ours.bfloat16())


def test_a_damaged_checkpoint_is_named_and_not_used(run: tuple[Path, Decoder], tmp_path: Path) -> None:
    (part,) = (run[0] / f"train/step-{STEP:06d}/model_and_optim").glob("*.distcp")
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(DamagedCheckpointError, match=rf"{part.name}: damaged: its sha256 is"):
        write_weights(run[0], STEP, tmp_path / "out", form="hf", dtype="fp32")
    assert not [*(tmp_path / "out").iterdir()]
