from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dolma_pipeline.config.recipe import DpoConfig, SftConfig, TemplateConfig
from dolma_pipeline.errors import DataError, SettingsChangedError, UsageError
from dolma_pipeline.evals.run import run_tokenizer
from dolma_pipeline.io import paths
from dolma_pipeline.io.manifest import pretty
from dolma_pipeline.tokens.train_bpe import train_bpe
from dolma_pipeline.train.adapt import prepare, remarks_of, with_length
from dolma_pipeline.train.files import Init, Settings, committed_steps, read_settings
from dolma_pipeline.train.log import Log
from dolma_pipeline.train.presets import ModelConfig
from dolma_pipeline.train.source import Source, find_source
from dolma_pipeline.train.train import fit
from dolma_pipeline.train.work import open_data
from dolma_pipeline.train.world import World
from tests.dolma_pipeline.train.test_train import contents

WORDS = {"red": "apple", "green": "leaf", "blue": "water", "white": "snow", "black": "coal", "yellow": "sun"}


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "train/metrics.jsonl").read_text().splitlines()]


TEXTS = [f"{word} {other}\n<|user|>\n<|assistant|>\n" for word, other in WORDS.items()] * 3


@pytest.fixture(scope="module")
def tokenizer() -> str:
    return train_bpe(TEXTS, vocab_size=300, special_tokens=("<|endoftext|>",))


@pytest.fixture
def base(tmp_path: Path, world: World, settings: Settings, tokenizer: str) -> Path:
    """A run of a model of 300 ids, one step long, with its tokenizer."""
    run = tmp_path / "run"
    paths.write_bytes(run / "tokenizer/tokenizer.json", tokenizer.encode())
    shape = ModelConfig(vocab_size=300, sequence_length=32, width=32, num_layers=2, num_heads=2, hidden=64, tied=False)
    train = dataclasses.replace(settings.train, max_tokens=settings.train.batch_tokens)
    one = Settings(train=train, model=shape, eos_id=0, dataset="sha256:toy", seed=5)
    paths.write_bytes(run / "train/config.json", pretty(one.as_dict()))
    fit(run, settings=one, dataset=np.full((8, 32), 7, np.uint16), world=world)
    return run


@pytest.fixture
def chat(tmp_path: Path) -> str:
    rows = [{"prompt": word, "response": other} for word, other in WORDS.items()] * 3
    (tmp_path / "chat.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return f"{tmp_path}/chat.jsonl"


@pytest.fixture
def choices(tmp_path: Path) -> str:
    others = [*WORDS.values()]
    rows = [{"prompt": w, "chosen": o, "rejected": others[i - 1]} for i, (w, o) in enumerate(WORDS.items())]
    (tmp_path / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return f"{tmp_path}/pairs.jsonl"


def sft(chat: str, **changes: object) -> SftConfig:
    given = {"sequence_length": 32, "batch_tokens": 128, "lr": 0.01, "epochs": 6, "save_every_steps": 4, **changes}
    return SftConfig(data=(chat,), **given)  # type: ignore[arg-type]


def dpo(choices: str, **changes: object) -> DpoConfig:
    given = {"sequence_length": 16, "batch_tokens": 64, "lr": 0.003, "epochs": 5, "save_every_steps": 6, **changes}
    return DpoConfig(data=(choices,), **given)  # type: ignore[arg-type]


def begun(folder: Path, source: Path, config: SftConfig, *, inside: str = "") -> Settings:
    """What the stage does before it starts processes."""
    found = find_source(str(source))
    init = Init(step=found.step, weights=found.weights, extend=False, inside=inside)
    return prepare(folder, config, source=lambda: found, init=init, files=config.data, hashes=["0"], seed=5)


def adapted(folder: Path, settings: Settings, world: World) -> None:
    fit(folder, settings=settings, dataset=open_data(folder, settings.train), world=world)


def test_sft_learns_the_answers(world: World, base: Path, chat: str) -> None:
    run = base / "sft"
    settings = begun(run, base, sft(chat))
    assert settings.num_steps == len(rows_of_data(run)) // 4 * 6
    assert settings.model.vocab_size == 300
    assert read_settings(run) == settings
    adapted(run, settings, world)
    losses = [row["loss"] for row in rows(run)]
    assert losses[-1] < 0.5 * losses[0]
    assert find_source(str(run)).tokenizer.is_file()  # it is laid out as a run, and the next can start from it


def test_dpo_has_the_special_tokens_of_the_first_recipe(
    world: World, base: Path, tmp_path: Path, chat: str, choices: str
) -> None:
    """Of a tokenizer that does not mark them itself, sft has them from the run's manifest, and dpo from sft."""
    turn = "<|turn|>"
    tree = json.loads(train_bpe(TEXTS, vocab_size=300, special_tokens=("<|endoftext|>", turn)))
    (entry,) = (token for token in tree["added_tokens"] if token["content"] == turn)
    entry["special"] = False
    paths.write_bytes(base / "tokenizer/tokenizer.json", json.dumps(tree).encode())
    paths.write_bytes(base / "tokenizer/manifest.json", pretty({"config": {"tokenizer.special_tokens": [turn]}}))
    for path in (chat, choices):  # somebody writes a message that would end a turn
        text = Path(path).read_text()
        Path(path).write_text(text.replace('"red"', f'"{turn}red"'))
    template = TemplateConfig(user=f"{turn}{{content}}\n")
    settings = begun(base / "sft", base, sft(chat, epochs=1, template=template))
    adapted(base / "sft", settings, world)
    assert find_source(f"{base}/sft").special_tokens == (turn,)
    begun(base / "dpo", base / "sft", dpo(choices, template=template, sequence_length=32), inside="sft")
    for run, num_dialogues in ((base / "sft", 3 * len(WORDS)), (base / "dpo", 2 * len(WORDS))):
        assert int((rows_of_data(run) == entry["id"]).sum()) == num_dialogues
    assert run_tokenizer(base / "dpo", settings).special_ids[turn] == entry["id"]


def rows_of_data(run: Path) -> np.ndarray:
    return np.load(run / "data/tokens.npy")  # type: ignore[no-any-return]


def test_the_margin_of_dpo_grows_from_nothing(world: World, base: Path, choices: str) -> None:
    run = base / "dpo"
    settings = begun(run, base, dpo(choices))
    adapted(run, settings, world)
    found = rows(run)
    first, last = found[0], found[-1]
    assert first["loss"] == pytest.approx(np.log(2), abs=1e-4)  # the model is its reference
    assert first["reward_margin"] == pytest.approx(0, abs=1e-4)
    assert first["kl"] == pytest.approx(0, abs=1e-5)
    assert last["reward_margin"] > 0.1
    assert last["accuracy"] == 1.0
    assert last["kl"] > 0.001
    assert last["reward_margin"] == pytest.approx(last["reward_chosen"] - last["reward_rejected"], abs=1e-5)


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_a_kill_leaves_the_same_bytes_and_the_model_is_not_asked_for_again(
    world: World, tmp_path: Path, base: Path, chat: str, choices: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    config = sft(chat, epochs=3) if kind == "sft" else dpo(choices, epochs=4, save_every_steps=2)
    whole, broken = base / "whole", base / "broken"
    adapted(whole, begun(whole, base, config), world)
    settings = begun(broken, base, config)
    written = Log.step

    def breaking(self: Log, step: int, **numbers: object) -> None:
        written(self, step, **numbers)  # type: ignore[arg-type]
        if step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Log, "step", breaking)
        adapted(broken, settings, world)
    assert committed_steps(broken)
    shutil.rmtree(base / "train")
    shutil.rmtree(base / "tokenizer")

    def gone() -> Source:
        raise AssertionError("asked for")

    assert settings.init is not None
    again = prepare(broken, config, source=gone, init=settings.init, files=config.data, hashes=["0"], seed=5)
    adapted(broken, again, world)
    assert contents(broken / "train") == contents(whole / "train")


def test_a_reference_of_other_weights_or_none_at_all(world: World, base: Path, choices: str) -> None:
    run = base / "dpo"
    settings = begun(run, base, dpo(choices))
    adapted(run, settings, world)
    (run / "train" / f"step-{settings.num_steps:06d}" / "commit.json").unlink()
    about = run / "train/reference.json"
    kept = about.read_bytes()
    about.write_bytes(kept.replace(b"sha256:", b"sha256:0"))
    with pytest.raises(DataError, match=r"reference\.npy: not what .* or of other weights"):
        adapted(run, settings, world)
    about.unlink()
    with pytest.raises(DataError, match=r"reference\.npy: not there, and the model has gone on since"):
        adapted(run, settings, world)


def test_other_settings_than_those_of_the_checkpoints(world: World, base: Path, chat: str) -> None:
    run = base / "sft"
    adapted(run, begun(run, base, sft(chat, epochs=1)), world)
    with pytest.raises(SettingsChangedError, match=r"train\.lr: 0\.01 -> 0\.02"):
        begun(run, base, sft(chat, epochs=1, lr=0.02))


def test_length_follows_from_the_data() -> None:
    config = with_length(sft("x", epochs=3, warmup_share=0.25), 11)  # 2 batches of 4 an epoch
    assert (config.max_tokens, config.warmup_steps) == (6 * 128, 2)
    with pytest.raises(UsageError, match=r"sft\.batch_tokens: a batch is 4 sequences of dialogues, but there are 3"):
        with_length(sft("x"), 3)
    with pytest.raises(UsageError, match=r"dpo\.batch_tokens: a batch is 2 pairs, but there are 1"):
        with_length(dpo("x"), 1)


def test_a_model_without_a_tokenizer(base: Path, chat: str) -> None:
    (base / "tokenizer/tokenizer.json").unlink()
    with pytest.raises(UsageError, match=r"tokenizer\.json: no such file; dialogues are encoded with the tokenizer of"):
        begun(base / "sft", base, sft(chat))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (
            {"dialogues": 1200, "cut": 0, "without_answer": 0, "instances": 30, "tokens": 5000, "scored_tokens": 2000},
            ["1,200 dialogues, 30 sequences, 2,000 of 5,000 tokens are answers"],
        ),
        (
            {
                "pairs": 9,
                "cut": 2,
                "without_answer": 1,
                "equal": 3,
                "instances": 5,
                "tokens": 50,
                "scored_tokens": 20,
            },
            [
                "9 pairs, 5 kept, 20 of 50 tokens are answers",
                "2 pairs were longer than a sequence, and cut",
                "1 pairs are left out: no answer, or none within a sequence",
                "3 pairs are left out: both answers are the same",
            ],
        ),
    ],
)
def test_what_is_said_of_examples(counts: dict[str, int], expected: list[str]) -> None:
    assert remarks_of(counts) == expected
