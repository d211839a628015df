from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson
import pytest

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.train.compatible import FIRST, HOW, carried_on, conflicts, deciding, filled

MODEL = {"vocab_size": 64, "sequence_length": 16, "width": 16, "num_layers": 1, "num_heads": 2, "hidden": 16}


def content(**train: Any) -> dict[str, Any]:
    """What an earlier version wrote, with its own keys alone."""
    keys = {**{key: getattr(TrainConfig(), key) for key in FIRST}, "save_every_steps": 100, **train}
    return {"format": 1, "train": keys, "model": {**MODEL, "tied": True}, "eos_id": 0, "dataset": "d", "seed": 1}


def now(**train: Any) -> dict[str, Any]:
    config = asdict(TrainConfig(**train))
    del config["processes"]
    return {**filled(content()), "train": config}


def test_a_digest_knows_later_keys_only_where_they_say_something() -> None:
    assert set(deciding(TrainConfig())) == {*FIRST}
    changed = deciding(TrainConfig(order="olmo-core", shape={"width": 32}, keep_last=3, processes=2))
    assert {key: changed[key] for key in changed if key not in FIRST} == {"order": "olmo-core", "shape": {"width": 32}}


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ({"schedule": "wsd", "decay_share": 0.1, "final_lr_share": 0.1}, {"schedule": "wsd"}),
        ({"grad_clip_warmup_steps": 5, "grad_clip_warmup_factor": 10}, {"grad_clip_warmup_steps": 5}),
        ({"weight_decay_on": ("norms", "matrices")}, {"weight_decay_on": ("matrices", "norms")}),
    ],
)
def test_what_is_the_same_in_other_words_is_the_same(written: dict[str, Any], same: dict[str, Any]) -> None:
    assert deciding(TrainConfig(**written)) == deciding(TrainConfig(**same)) != deciding(TrainConfig())
    old = content(**orjson.loads(orjson.dumps(asdict(TrainConfig(**written)))))
    assert conflicts(old, now(**same)) == []


def test_later_keys_have_their_default_or_what_was_done_before() -> None:
    known = filled(content())
    assert known["train"]["order"] == "olmo-core"
    assert known["train"]["max_skipped_steps"] == 20
    assert known["train"]["weight_decay_on"] == ["matrices"]
    assert (known["architecture"], known["module"]) == ("decoder", None)
    assert known["model"]["norm"] == "layer_norm_plain"
    assert filled(content(order="hashed"))["train"]["order"] == "hashed"


def test_only_what_differs_is_a_conflict() -> None:
    assert conflicts(content(), now()) == []
    assert conflicts(content(), now(**dict.fromkeys(HOW, 7))) == []
    assert conflicts(content(), now(lr=0.5, weight_decay_on=("norms",))) == [
        "train.lr: 0.003 -> 0.5",
        "train.weight_decay_on: ['matrices'] -> ['norms']",
    ]
    assert conflicts(content(order="hashed"), now(order="olmo-core")) == ["train.order: 'hashed' -> 'olmo-core'"]
    assert conflicts({**content(), "seed": 2}, now()) == ["seed: 2 -> 1"]


def test_an_older_run_keeps_its_settings_but_for_how_it_is_done() -> None:
    old = content()
    carried = carried_on(old, now(save_every_steps=7, keep_last=2, max_skipped_steps=5))
    assert {key: carried["train"][key] for key in ("save_every_steps", "keep_last")} == {
        "save_every_steps": 7,
        "keep_last": 2,
    }
    assert "order" not in carried["train"]
    assert {**carried, "train": old["train"]} == old
