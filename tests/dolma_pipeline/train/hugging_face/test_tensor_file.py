from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from dolma_pipeline.errors import DataError
from dolma_pipeline.train.hugging_face.tensor_file import TensorFile, write_tensors

TENSORS = {
    "b": torch.tensor([[1.5, -2.0, 0.0], [3.25, float("inf"), -0.0]]),
    "a.weight": torch.tensor([1.0, 0.1, -3e38]).bfloat16(),
    "none": torch.empty((0, 4)),
    "one": torch.tensor(2.5, dtype=torch.float64),
    "half": torch.arange(5, dtype=torch.float16),
}


def write(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    planned = {name: tensor.to("meta") for name, tensor in tensors.items()}
    write_tensors(path, planned, iter(tensors.items()))
    return path


def parsed(content: bytes) -> tuple[dict[str, dict[str, object]], bytes]:
    """The format in three lines: length, header, and what follows."""
    (length,) = struct.unpack("<Q", content[:8])
    assert length % 8 == 0
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def test_the_bytes_are_those_of_the_format(tmp_path: Path) -> None:
    header, data = parsed(write(tmp_path / "x", TENSORS).read_bytes())
    assert header == {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "a.weight": {"dtype": "BF16", "shape": [3], "data_offsets": [24, 30]},
        "none": {"dtype": "F32", "shape": [0, 4], "data_offsets": [30, 30]},
        "one": {"dtype": "F64", "shape": [], "data_offsets": [30, 38]},
        "half": {"dtype": "F16", "shape": [5], "data_offsets": [38, 48]},
    }
    assert data[:24] == np.array([1.5, -2.0, 0.0, 3.25, np.inf, -0.0], "<f4").tobytes()
    assert data[24:26] == b"\x80\x3f"
    assert data[30:38] == struct.pack("<d", 2.5)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = TensorFile(write(tmp_path / "x", TENSORS))
    assert list(file.places) == list(TENSORS)
    for name, tensor in TENSORS.items():
        found = file.read(name)
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found, tensor)
    file.read("b").zero_()
    assert torch.equal(file.read("b"), TENSORS["b"])


def test_a_file_that_is_cut_off_after_it_was_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "x", TENSORS)
    file = TensorFile(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert torch.equal(file.read("one"), TENSORS["one"])
    with pytest.raises(DataError, match=r"x: half is not all there any more"):
        file.read("half")


def test_parts_of_a_tensor_are_written_in_their_order(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    tensors = {"columns": whole.T, "rows": whole[1:]}
    file = TensorFile(write(tmp_path / "x", tensors))
    assert all(torch.equal(file.read(name), tensor) for name, tensor in tensors.items())


def test_a_file_that_was_cut_off_is_found_wherever_it_was(tmp_path: Path) -> None:
    content = write(tmp_path / "whole", TENSORS).read_bytes()
    path = tmp_path / "x"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"x: .*cut off"):
            TensorFile(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(DataError, match=r"x: .*cut off or is damaged"):
        TensorFile(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ('{"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}', "a has dtype I64; a model's tensors have"),
        ('{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}', r"a of F32 \[3\] cannot lie at bytes 0 to 8"),
        ('{"a": {"dtype": "F32", "shape": [-2], "data_offsets": [8, 0]}}', r"a of F32 \[-2\] cannot lie at b"),
        ('{"a": {"dtype": "F32", "shape": [2]}}', "entry of a is not as the format has it"),
        ('{"a": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}}', "entry of a is not as the format has it"),
        ('{"a": 3}', "entry of a is not as the format has it"),
        ('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', "bytes, but its header tells of"),
        ("[]", "its header is not a JSON object"),
        ("{]", "its header is not JSON"),
    ],
)  # fmt: skip
def test_headers_that_tell_of_no_tensors(tmp_path: Path, header: str, message: str) -> None:
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(8))
    with pytest.raises(DataError, match=message):
        TensorFile(tmp_path / "x")
