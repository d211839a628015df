from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dolma_pipeline.config.keys import rows_of
from dolma_pipeline.errors import UsageError
from dolma_pipeline.train.model import Decoder
from dolma_pipeline.train.presets import PRESETS, ModelConfig
from dolma_pipeline.train.spec import model_config

OLMO = {"vocab_size": 50_280, "sequence_length": 2048}


def counted(config: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Decoder(config).parameters())


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_count_of_parameters_is_that_of_the_model(name: str) -> None:
    config = model_config(name, **OLMO)
    assert counted(config) == config.num_parameters


@pytest.mark.parametrize(
    "fields",
    [
        {"num_kv_heads": 2, "biases": True},
        {"num_kv_heads": 1, "norm": "rms_norm", "tied": True},
        {"norm": "layer_norm", "rows_multiple": 7},
    ],
)
def test_the_count_of_parameters_of_other_shapes(fields: dict[str, Any]) -> None:
    config = model_config("tiny", vocab_size=300, sequence_length=8, shape=fields)
    assert counted(config) == config.num_parameters


@pytest.mark.parametrize(
    ("name", "vocab_size", "count"),
    [
        ("olmo-1b", 50_280, 1_176_764_416),  # 1.18B: Groeneveld et al. 2024, table 1
        ("olmo-7b", 50_280, 6_888_095_744),  # 6.89B: the same
        ("amber-7b", 32_000, 6_738_415_616),  # 6.7B: Liu et al. 2023; LLaMA-7B's count (Touvron et al. 2023, table 2)
        ("20m", 50_280, 21_266_432),
        ("60m", 50_280, 57_065_472),
        ("150m", 50_280, 151_879_680),
        ("tiny", 4_096, 1_900_544),
        ("1m", 4_096, 983_040),
        ("4m", 4_096, 3_883_008),
    ],
)
def test_sizes(name: str, vocab_size: int, count: int) -> None:
    assert model_config(name, vocab_size=vocab_size, sequence_length=256).num_parameters == count


@pytest.mark.parametrize(
    ("name", "vocab_size", "published"),
    [
        ("olmo-65b", 50_280, 65e9),  # Groeneveld et al. 2024, table 1 gives it to two digits
        ("crystalcoder-7b", 32_032, 6.6e9),  # by its released parameters; the paper says 7B
    ],
)
def test_sizes_of_which_no_exact_count_is_published(name: str, vocab_size: int, published: float) -> None:
    count = model_config(name, vocab_size=vocab_size, sequence_length=2048).num_parameters
    assert count == pytest.approx(published, rel=0.01)


def test_the_page_on_models_has_every_field_and_every_preset() -> None:
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    table = "".join(f"| `{row.path}` | {row.type} | {row.default} | {row.purpose} |\n" for row in rows_of(ModelConfig))
    assert f"|---|---|---|---|\n{table}\n" in page
    for name, shape in PRESETS.items():
        shown = [shape[key] for key in ("num_layers", "width", "num_heads", "hidden")]
        assert f"| `{name}` | {' | '.join(map(str, shown))} | {'yes' if shape['tied'] else 'no'} | " in page


def test_flops_of_a_token() -> None:
    """6 a parameter, and 12 layers x width x window; Chowdhery et al. 2022, appendix B."""
    config = model_config("olmo-1b", **OLMO)
    assert config.flops_per_token == 6 * 1_176_764_416 + 12 * 16 * 2048 * 2048
    config = model_config("olmo-7b", **OLMO)
    assert config.flops_per_token == 6 * (6_888_095_744 - 50_304 * 4096) + 12 * 32 * 4096 * 2048


def test_rows_are_padded() -> None:
    assert isinstance(config := model_config("olmo-1b", **OLMO), ModelConfig)
    assert config.num_rows == 50_304
    assert isinstance(config := model_config("amber-7b", vocab_size=32_001, sequence_length=8), ModelConfig)
    assert config.num_rows == 32_001


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 30}, "width 30 needs heads of an even width; it has 4 heads"),
        ({"num_kv_heads": 3}, "4 heads of queries cannot share 3 of keys and values evenly; num_kv_heads must divide"),
        ({"rope_fraction": 0.3}, "rope_fraction 0.3 of 8 channels of a head is 2.4; channels turn in pairs"),
        ({"rope_fraction": 0.125}, "rope_fraction 0.125 of 8 channels of a head is 1; channels turn in pairs"),
        ({"init_std": 0.1}, "init_std has no effect with init: mitchell, which follows from the widths; take it out"),
    ],
)
def test_fields_that_do_not_fit(fields: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"width": 32, "num_layers": 1, "num_heads": 4, "hidden": 8, "tied": True} | fields
    with pytest.raises(UsageError, match=re.escape(words)):
        ModelConfig(vocab_size=9, sequence_length=8, **given)
