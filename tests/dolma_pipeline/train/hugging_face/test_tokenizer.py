from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from dolma_pipeline.errors import DataError
from dolma_pipeline.train.hugging_face.tokenizer import write_tokenizer


def written(tmp_path: Path, *, begins: bool = False) -> Path:
    built = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "a": 2}, unk_token="a"))
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    built.add_special_tokens(["<s>", "</s>"])
    if begins:
        built.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    path = tmp_path / "given.json"
    path.write_text(built.to_str(pretty=True), encoding="utf-8")
    return path


def test_files(tmp_path: Path) -> None:
    given, out = written(tmp_path), tmp_path / "out"
    ends = write_tokenizer(given, out, eos_id=1, sequence_length=99)
    assert ends == ("</s>", ())
    assert (out / "tokenizer.json").read_bytes() == given.read_bytes()
    assert json.loads((out / "special_tokens_map.json").read_text()) == {"eos_token": "</s>"}
    assert json.loads((out / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "</s>",
        "model_max_length": 99,
        "clean_up_tokenization_spaces": False,
    }


def test_what_it_puts_around_texts_is_told(tmp_path: Path) -> None:
    assert write_tokenizer(written(tmp_path, begins=True), tmp_path / "out", eos_id=1, sequence_length=9).adds == (
        "<s>",
    )


def test_a_tokenizer_of_another_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"given\.json: has no id 3, with which this run's documents end"):
        write_tokenizer(written(tmp_path), tmp_path / "out", eos_id=3, sequence_length=9)
    with pytest.raises(DataError, match=r"none\.json: no such file"):
        write_tokenizer(tmp_path / "none.json", tmp_path / "out", eos_id=3, sequence_length=9)
