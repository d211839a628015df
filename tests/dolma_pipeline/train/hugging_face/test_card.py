from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from dolma_pipeline.config.recipe import SftConfig
from dolma_pipeline.storage.folder import RunFolder, run_folder
from dolma_pipeline.train.files import Init, Settings, read_settings
from dolma_pipeline.train.hugging_face.card import card
from dolma_pipeline.train.hugging_face.shape import Form, config_json
from dolma_pipeline.train.hugging_face.tokenizer import Ends
from dolma_pipeline.train.presets import ModelConfig
from tests.saved_models import STEP, random_model, saved_run

TOKENS = {
    "dataset": "sha256:toy",
    "tokenizer": "sha256:words",
    "vocab_size": 60,
    "counts": {
        "train": {
            "tokens": 4_000,
            "tokens_by_source": {"code": 1_000, "web|pages": 3_000},
            "documents_by_source": {"code": 1, "web|pages": 20},
        }
    },
}
RESULTS = {
    "held_out": {"code": {"bits_per_byte": 1.23456, "num_documents": 7, "nats": 3.5}},
    "tasks": {"arc": {"acc": 0.25, "acc_stderr": 0.01, "num_items": 40, "gold_bits_per_byte": 0.5}},
}


@pytest.fixture
def run(tmp_path: Path, shape: Callable[..., ModelConfig]) -> Callable[..., RunFolder]:
    def make(**fields: object) -> RunFolder:
        return run_folder(str(saved_run(tmp_path / "mine", random_model(shape(**fields)), eos_id=3)))

    return make


def told(folder: RunFolder, *, form: Form = "hf", adds: tuple[str, ...] = ()) -> str:
    place = folder.local_path()
    assert place is not None
    settings = read_settings(place)
    content = config_json(settings.model, form=form, eos_id=3, dtype="float32")
    return card(folder, settings, step=STEP, content=content, ends=Ends("</s>", adds))


def test_all_that_the_run_knows(run: Callable[..., RunFolder]) -> None:
    folder = run()
    folder.write("tokens/manifest.json", orjson.dumps(TOKENS))
    folder.write("eval/step-000007.json", orjson.dumps(RESULTS))
    folder.write("recipe.yaml", b"name: mine\n")
    text = told(folder)
    for line in (
        "library_name: transformers",
        "# mine, step 7",
        "It is `OlmoForCausalLM` of transformers; `AutoModelForCausalLM` and `AutoTokenizer` load it.",
        "Documents end with `</s>` (id 3); in training it stood before the next, too.",
        "Digest of the token parts: `sha256:toy`.",
        "Digest of the tokenizer: `sha256:words`, 60 tokens.",
        "| code | 1 | 1,000 | 25.00% |",
        "| web\\|pages | 20 | 3,000 | 75.00% |",
        "| `train.lr` | `0.003` |",
        "| code | 1.2346 | 7 |",
        "| arc | acc | 0.2500 |",
        "| arc | gold_bits_per_byte | 0.5000 |",
        "name: mine",
    ):
        assert line in text.splitlines()
    # 60 rows, not the 64 of the run: what is written has no padding.
    assert f"{2 * 60 * 16 + 2 * (4 * 16 * 16 + 3 * 16 * 24):,} parameters, trained on 448 tokens." in text
    assert "None is given: neither the recipe nor the run names one." in text
    assert "num_items" not in text
    assert "add_special_tokens" not in text
    assert text == told(folder)


def test_a_model_under_our_own_names_is_said_to_have_no_class(run: Callable[..., RunFolder]) -> None:
    text = told(run(norm="layer_norm"), form="safetensors")
    assert "no class of transformers is named: `config.json` says" in text
    assert "library_name" not in text
    assert "AutoTokenizer" not in text


def test_data_that_is_not_there_any_more_is_not_told_of(run: Callable[..., RunFolder]) -> None:
    folder = run()
    assert "so their sources are not known" in told(folder)
    folder.write("tokens/manifest.json", orjson.dumps(TOKENS | {"dataset": "sha256:newer"}))
    text = told(folder)
    assert "so their sources are not known" in text
    assert "| code |" not in text
    assert "## Scores" not in text
    assert "## Recipe" not in text


def test_what_the_tokenizer_adds_is_warned_of(run: Callable[..., RunFolder]) -> None:
    assert "puts `<s>`, `</s>` around a text; in training it did not. Give `add_special_tokens=False`." in told(
        run(), adds=("<s>", "</s>")
    )


def test_embeddings_that_part_are_counted_twice(run: Callable[..., RunFolder]) -> None:
    assert f"{2 * 60 * 16 + 2 * (4 * 16 * 16 + 3 * 16 * 24):,} parameters" in told(run(tied=True, logit_scale=0.5))


EXAMPLES = {"counts": {"dialogues": 1_200, "tokens": 9}, "data": ["ab12"], "dataset": "sha256:examples"}


@pytest.mark.parametrize(
    ("init_from", "inside", "start"), [(None, "", "`train` of the same run"), ("runs/base", None, "`runs/base`")]
)
def test_a_model_that_went_on_with_dialogues(
    run: Callable[..., RunFolder], init_from: str | None, inside: str | None, start: str
) -> None:
    folder = run()
    place = folder.local_path()
    assert place is not None
    (place / "train").rename(place / "moved")
    (place / "sft").mkdir()
    (place / "moved").rename(place / "sft/train")
    pretrained = read_settings(place / "sft")
    length = pretrained.model.sequence_length
    settings = Settings(
        train=SftConfig(data=("chat.jsonl",), sequence_length=length, batch_tokens=4 * length, init_from=init_from),
        model=pretrained.model,
        eos_id=3,
        dataset="sha256:examples",
        seed=5,
        init=Init(step=1_000, weights="sha256:w", extend=False, inside=inside),
    )
    folder.write("sft/data/examples.json", orjson.dumps(EXAMPLES))
    folder.write("sft/eval/step-000007.json", orjson.dumps(RESULTS))
    content = config_json(settings.model, form="hf", eos_id=3, dtype="float32")
    text = card(folder, settings, step=STEP, content=content, ends=Ends("</s>", ()), inside="sft/")
    for line in (
        "# mine, sft, step 7",
        "Digest of the examples: `sha256:examples`. Digests (sha256) of their files:",
        "- `ab12`",
        "| dialogues | 1,200 |",
        "| `sft.epochs` | `3` |",
        "| arc | acc | 0.2500 |",
    ):
        assert line in text.splitlines()
    assert f"It went on from step 1,000 of {start} with dialogues (SFT), 448 tokens." in text
    assert "train.model" not in text
    assert "sft.model" not in text
    (place / "sft/data/examples.json").unlink()
    lost = card(folder, settings, step=STEP, content=content, ends=Ends("</s>", ()), inside="sft/")
    assert "The run's folder no longer holds the examples" in lost
