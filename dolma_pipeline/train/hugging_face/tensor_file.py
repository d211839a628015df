"""Files of tensors in the format safetensors, written and read one tensor at a time.

The package of that name takes all tensors of a file at once; here no more than one is in memory, whatever the model.
A file is the length of its header (uint64, little-endian), the header (JSON: dtype, shape and place of each tensor,
padded with spaces), and the tensors one after the other without gaps.
Source: https://github.com/huggingface/safetensors, the section "Format" of its README.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import torch
from torch import Tensor

from dolma_pipeline.errors import DataError

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Name in a header -> dtype of floating-point tensors; a model has no others."""

_LENGTH_BYTES, _ALIGNMENT = 8, 8
_METADATA = "__metadata__"


def write_tensors(path: Path, planned: Mapping[str, Tensor], tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Write a file whose tensors come one by one.

    Args:
        planned: name -> a tensor of the shape and dtype that will come, such as one on the meta device.
        tensors: the same names in the same order, with what is to be written; on the CPU.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {_METADATA: {"format": "pt"}}
    end = 0
    for name, like in planned.items():
        start, end = end, end + like.numel() * like.element_size()
        header[name] = {"dtype": names[like.dtype], "shape": list(like.shape), "data_offsets": [start, end]}
    text = orjson.dumps(header)
    text += b" " * (-len(text) % _ALIGNMENT)
    with open(path, "xb") as file:
        file.write(len(text).to_bytes(_LENGTH_BYTES, "little"))
        file.write(text)
        for (name, like), (found, tensor) in zip(planned.items(), tensors, strict=True):
            assert (name, like.dtype, like.shape) == (found, tensor.dtype, tensor.shape), (name, found)
            file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)


class _Place(NamedTuple):
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


class TensorFile:
    """A file of tensors: opening reads its header only.

    Args:
        path: of the file.

    Raises:
        DataError: it is not such a file, it was cut off, or it has tensors of other than floating-point numbers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if size < _LENGTH_BYTES or length > size - _LENGTH_BYTES:
                raise DataError(f"{path}: not a file of safetensors, or one that was cut off; it has {size:,} bytes.")
            try:
                header = orjson.loads(file.read(length))
            except orjson.JSONDecodeError as error:
                raise DataError(f"{path}: not a file of safetensors: its header is not JSON: {error}") from None
            if not isinstance(header, dict):
                raise DataError(f"{path}: not a file of safetensors: its header is not a JSON object.")
        self._first = _LENGTH_BYTES + length
        self.places = {name: self._place(name, found) for name, found in header.items() if name != _METADATA}
        end = max((place.end for place in self.places.values()), default=0)
        if self._first + end != size:
            raise DataError(
                f"{path}: {size:,} bytes, but its header tells of {self._first + end:,}; it was cut off or is damaged."
            )

    def read(self, name: str) -> Tensor:
        """A tensor of the file, a copy in its own dtype."""
        dtype, shape, start, end = self.places[name]
        if start == end:
            return torch.empty(shape, dtype=dtype)
        content = bytearray(end - start)
        with open(self.path, "rb") as file:
            file.seek(self._first + start)
            if file.readinto(content) != len(content):
                raise DataError(f"{self.path}: {name} is not all there any more; the file was cut off.")
        return torch.frombuffer(content, dtype=dtype).view(shape)

    def _place(self, name: str, found: Any) -> _Place:
        try:
            dtype, shape, (start, end) = found["dtype"], tuple(found["shape"]), found["data_offsets"]
            count = math.prod(shape)
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{self.path}: the header's entry of {name} is not as the format has it: {found}") from None
        if dtype not in DTYPES:
            raise DataError(
                f"{self.path}: {name} has dtype {dtype}; a model's tensors have one of {', '.join(DTYPES)}."
            )
        if not 0 <= start <= end or end - start != count * DTYPES[dtype].itemsize:
            raise DataError(f"{self.path}: {name} of {dtype} {list(shape)} cannot lie at bytes {start} to {end}.")
        return _Place(DTYPES[dtype], shape, start, end)
