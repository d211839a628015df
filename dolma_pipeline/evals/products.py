"""Matrix products for scoring on a CPU: by oneDNN, with weights laid out for it once.

PyTorch multiplies float32 matrices on a CPU by MKL, which lays weights out anew in each product: for few rows and a
large vocabulary that is half of the work. oneDNN comes with PyTorch too, and takes weights that are laid out already;
torch.compile uses these same two operations. They are private, so a test holds them to `F.linear`, and the version of
PyTorch is pinned. A result changes by the order of its sums only. Training keeps MKL.
Cost: a copy of the weights, of at most `MOST_BYTES`; others are laid out in each product, to the same bits.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dolma_pipeline.train.language_model import LanguageModel

MOST_BYTES = 2**30
"""Of weights that are held twice."""

ROWS = 512
"""Rows of a product that the layout is chosen for."""


def fast_products(model: LanguageModel) -> contextlib.AbstractContextManager[Any]:
    """While it is open, this thread's `F.linear` in float32 on a CPU goes to oneDNN, where PyTorch has it.

    Args:
        model: its weights, which must not change meanwhile, are laid out when they are first used. Those that are
            spread over processes come and go, so they are laid out in each product.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return contextlib.nullcontext()
    return _FastProducts({weight.data_ptr() for weight in model.parameters() if type(weight) is nn.Parameter})


class _FastProducts(TorchFunctionMode):
    def __init__(self, known: set[int]) -> None:
        """known: where weights lie that stay there."""
        super().__init__()
        self.known, self.room = known, MOST_BYTES
        self.held: dict[tuple[int, torch.Size, tuple[int, ...]], Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.linear and not kwargs and _is_plain(*args):
            x, weight, bias = (*args, None)[:3]
            return torch.ops.mkldnn._linear_pointwise(x, self._laid_out(weight), bias, "none", [], "")
        return func(*args, **(kwargs or {}))

    def _laid_out(self, weight: Tensor) -> Tensor:
        key = weight.data_ptr(), weight.shape, weight.stride()
        if key in self.held:
            return self.held[key]
        # Laid out even if for this one product: bits differ from those of a product with the weight as it is.
        laid_out: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)
        if weight.data_ptr() in self.known and weight.nbytes <= self.room:
            self.room -= weight.nbytes
            self.held[key] = laid_out
        return laid_out


def _is_plain(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether oneDNN's product of these is that of `F.linear`: it reads a bias as if its values lay side by side."""
    given = [one for one in (x, weight, bias) if one is not None]
    # Within torch.vmap tensors have no storage; autocast would take another precision.
    if any(torch._C._functorch.is_functorch_wrapped_tensor(one) for one in given) or torch.is_autocast_enabled("cpu"):
        return False
    return (
        all(one.device.type == "cpu" and one.dtype == torch.float32 for one in given)
        and weight.ndim == 2
        and weight.numel() > 0
        and x.shape[-1:] == weight.shape[1:]
        and (bias is None or (bias.shape == weight.shape[:1] and bias.is_contiguous()))
    )
