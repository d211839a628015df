from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dolma_pipeline.config.recipe import TrainConfig
from dolma_pipeline.errors import DataError, RunError, SettingsChangedError, UnknownNameError, UsageError
from dolma_pipeline.train.files import Lines, Settings, committed_steps, read_lines, read_settings, write_config

GIVEN = {"vocab_size": 4096, "eos_id": 0, "dataset": "sha256:d", "seed": 1}


def commit(run: Path, step: int) -> None:
    folder = run / "train" / f"step-{step:06d}"
    folder.mkdir(parents=True)
    (folder / "commit.json").write_text("{}")


def test_settings_are_written_and_read(tmp_path: Path) -> None:
    written = write_config(tmp_path, TrainConfig(lr=0.002, processes=2), **GIVEN)
    read = read_settings(tmp_path)
    assert read.model == written.model
    assert read.train == TrainConfig(lr=0.002)  # the number of processes is no setting
    assert (read.eos_id, read.dataset, read.seed) == (0, "sha256:d", 1)
    assert (read.batch_instances, read.num_steps) == (16, 244)
    content = json.loads((tmp_path / "train/config.json").read_text())
    assert content["model"]["width"] == 128
    assert "processes" not in content["train"]


def test_changed_settings_are_named_once_there_are_checkpoints(tmp_path: Path) -> None:
    write_config(tmp_path, TrainConfig(), **GIVEN)
    write_config(tmp_path, TrainConfig(lr=0.1), **GIVEN)  # nothing made yet: no harm
    commit(tmp_path, 0)
    write_config(tmp_path, TrainConfig(lr=0.1, processes=2), **GIVEN)  # the same settings
    write_config(tmp_path, TrainConfig(lr=0.1, save_every_steps=7), **GIVEN)  # decides nothing but when to save
    assert read_settings(tmp_path).train.save_every_steps == 7
    how = {"micro_batch_tokens": 512, "activation_checkpointing": "block", "compile": True, "shard_over": "node"}
    write_config(tmp_path, TrainConfig(lr=0.1, save_every_steps=7, **how), **GIVEN)  # type: ignore[arg-type]
    assert read_settings(tmp_path).train.activation_checkpointing == "block"
    path = tmp_path / "train/config.json"
    content = json.loads(path.read_text())
    for key in how:  # as a version wrote it that did not have them
        del content["train"][key]
    path.write_text(json.dumps(content))
    write_config(tmp_path, TrainConfig(lr=0.1, save_every_steps=7, **how), **GIVEN)  # type: ignore[arg-type]
    with pytest.raises(SettingsChangedError, match=r"train.lr: 0.1 -> 0.2; train.model: 'tiny' -> '20m'.* Give --redo"):
        write_config(tmp_path, TrainConfig(lr=0.2, model="20m", save_every_steps=7), **GIVEN)
    with pytest.raises(SettingsChangedError, match=r"other settings: dataset: 'sha256:d' -> 'sha256:e'\. Give"):
        write_config(tmp_path, TrainConfig(lr=0.1, save_every_steps=7), **{**GIVEN, "dataset": "sha256:e"})
    assert read_settings(tmp_path).train.lr == 0.1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch_tokens": 1000}, "train.batch_tokens is 1000, which is not a multiple of train.sequence_length 256"),
        ({"batch_tokens": 128}, "train.batch_tokens is 128, which is not a multiple"),
        ({"max_tokens": 0}, "train.max_tokens is 0; it must be above 0"),
        ({"save_every_steps": 0}, "train.save_every_steps is 0; it must be above 0"),
        ({"lr": -1.0}, "train.lr is -1.0; it must be above 0"),
        ({"warmup_steps": -1}, "train.warmup_steps is -1; it must be 0 or more"),
        ({"schedule": "cosine", "decay_share": 0.2}, "train.decay_share is for schedule: wsd; with schedule: cosine"),
        ({"schedule": "constant", "final_lr_share": 0.1}, "train.final_lr_share has no effect with schedule: constant"),
        ({"sequence_length": 1}, "train.sequence_length is 1; it must be at least 2"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        write_config(tmp_path, TrainConfig(**values), **GIVEN)  # type: ignore[arg-type]
    assert not (tmp_path / "train").exists()


def test_an_unknown_model(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no model named '20M'. Did you mean '20m'"):
        write_config(tmp_path, TrainConfig(model="20M"), **GIVEN)


def test_at_least_one_step(settings: Settings, changed: Callable[..., Settings]) -> None:
    assert changed(settings, max_tokens=1).num_steps == 1
    assert changed(settings, max_tokens=2 * 256 + 255).num_steps == 2


def test_a_run_that_was_not_trained(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"config.json: no such file. This run has not been trained"):
        read_settings(tmp_path)


def test_another_format(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train/config.json").write_text('{"format": 2}')
    with pytest.raises(DataError, match="format 2; this version reads format 1"):
        read_settings(tmp_path)


def test_only_committed_steps_count(tmp_path: Path) -> None:
    assert committed_steps(tmp_path) == []
    for step in (1_000_000, 200, 0):
        commit(tmp_path, step)
    (tmp_path / "train/step-000300/model_and_optim").mkdir(parents=True)
    assert committed_steps(tmp_path) == [0, 200, 1_000_000]


def test_lines_are_cut_back_to_a_step(tmp_path: Path) -> None:
    path = tmp_path / "log" / "metrics.jsonl"
    lines = Lines(path, until=0)
    for step in (1, 2, 3):
        lines.append({"step": step, "loss": 0.1})
    lines.close()
    assert path.read_bytes().splitlines()[0] == b'{"loss":0.1,"step":1}'
    with open(path, "ab") as file:
        file.write(b'{"step":4')
    again = Lines(path, until=2)
    again.append({"step": 3, "loss": 0.3})
    again.close()
    assert [row["loss"] for row in read_lines(path, until=9)] == [0.1, 0.1, 0.3]
    assert read_lines(path, until=0) == []
    assert read_lines(tmp_path / "none", until=9) == []


def test_a_line_of_which_the_disk_takes_a_part_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(tmp_path / "metrics.jsonl", until=0)
    lines.append({"step": 1})
    monkeypatch.setattr(lines._file, "write", lambda line: len(line) - 1)
    with pytest.raises(RunError, match=r"metrics.jsonl cannot be written: no space left on device. Free some space"):
        lines.append({"step": 2})


@pytest.mark.parametrize("line", ["{", "[1]", '{"stop": 1}', '{"step": "1"}', ""])
def test_a_line_that_is_none(tmp_path: Path, line: str) -> None:
    path = tmp_path / "quarantine.jsonl"
    path.write_text('{"step": 0}\n' + line + "\n")
    with pytest.raises(DataError, match=r'quarantine.jsonl:2: not an object with a whole number as "step"'):
        read_lines(path, until=0)
