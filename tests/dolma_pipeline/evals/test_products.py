"""Products by oneDNN: those of `F.linear`, for every weight that a model has, and nothing else changed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dolma_pipeline.evals import products
from dolma_pipeline.evals.products import fast_products
from dolma_pipeline.train.model import Decoder

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


class OfWeights(nn.Module):
    """Weights under names."""

    def __init__(self, *weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(weight, requires_grad=False) for weight in weights)


@needs_onednn
@pytest.mark.parametrize("most_bytes", [2**30, 0])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("size", [(24, 24), (33, 7), (1, 64), (200, 16)])
def test_a_product_is_that_of_linear(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], with_bias: bool, most_bytes: int
) -> None:
    """Of any number of rows, also in three dimensions; of a part of a weight, and of a weight turned round."""
    monkeypatch.setattr(products, "MOST_BYTES", most_bytes)
    num_outputs, num_inputs = size
    model = OfWeights(normal(num_outputs, num_inputs))
    (weight,) = model.parameters()
    bias = normal(num_outputs) if with_bias else None
    cut = max(1, num_outputs - 3)
    with fast_products(model):  # type: ignore[arg-type]
        for shape in ((1,), (5,), (40,), (2, 9)):
            x = normal(*shape, num_inputs)
            for w, b in ((weight, bias), (weight[:cut], None if bias is None else bias[:cut]), (weight, bias)):
                with torch._C.DisableTorchFunction():
                    expected = F.linear(x, w, b)
                torch.testing.assert_close(F.linear(x, w, b), expected, rtol=1e-5, atol=1e-5)
            turned = normal(*shape, num_outputs)
            with torch._C.DisableTorchFunction():
                expected = F.linear(turned, weight.T)
            torch.testing.assert_close(F.linear(turned, weight.T), expected, rtol=1e-5, atol=1e-5)


@needs_onednn
def test_weights_are_laid_out_once_and_only_so_many_and_only_the_models() -> None:
    model, other = OfWeights(normal(8, 4), normal(6, 4)), normal(8, 4)
    first, second = model.parameters()
    mode = products._FastProducts({first.data_ptr(), second.data_ptr()})
    mode.room = first.nbytes
    x = normal(3, 4)
    with mode:
        for weight in (first, second, other, first):
            F.linear(x, weight)
    assert [key[:2] for key in mode.held] == [(first.data_ptr(), first.shape)]


@needs_onednn
def test_laid_out_or_not_a_product_is_the_same_bit_for_bit() -> None:
    model = OfWeights(normal(96, 64))
    (weight,) = model.parameters()
    for rows in (1, 7, 64, 300):
        x = normal(rows, 64)
        with fast_products(model):  # type: ignore[arg-type]
            laid_out = F.linear(x, weight)
        with fast_products(OfWeights()):  # type: ignore[arg-type]
            assert torch.equal(F.linear(x, weight), laid_out)


@needs_onednn
@pytest.mark.parametrize(
    ("x", "weight", "bias"),
    [
        (normal(5, 4), normal(8, 4), normal(16)[::2]),
        (normal(5, 4), normal(8, 4), normal(8, 3)[:, 1]),
        (normal(5, 4), normal(8, 4), normal(1).expand(8)),
        (normal(5, 4), normal(8, 4), normal(1)[0]),
        (normal(5, 4), normal(8, 4), normal(1)),
        (normal(5, 4), normal(8, 4), normal(1, 8)),
        (normal(2, 3, 4), normal(4), None),
        (normal(5, 4), normal(0, 4), None),
        (normal(5, 0), normal(8, 0), None),
    ],
)
def test_what_onednn_would_read_otherwise_is_as_it_was(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> None:
    """A bias that does not lie side by side, or is of another shape; a weight of one axis, or of nothing."""
    expected = F.linear(x, weight, bias)
    with fast_products(OfWeights(weight)):  # type: ignore[arg-type]
        assert torch.equal(F.linear(x, weight, bias), expected)


@needs_onednn
def test_vmap_autocast_and_errors_are_as_they_were() -> None:
    x_EBD, weight_EFD = normal(3, 5, 4), normal(3, 8, 4)
    expected = torch.vmap(F.linear)(x_EBD, weight_EFD)
    with fast_products(OfWeights(weight_EFD)):  # type: ignore[arg-type]
        assert torch.equal(torch.vmap(F.linear)(x_EBD, weight_EFD), expected)
        with torch.autocast("cpu", torch.bfloat16):
            assert F.linear(x_EBD, weight_EFD[0]).dtype == torch.bfloat16
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            F.linear(x_EBD, normal(8, 3))


def test_other_precisions_are_as_they_were(model: Decoder) -> None:
    x, weight = normal(3, 4).bfloat16(), normal(8, 4).bfloat16()
    expected = F.linear(x, weight)
    with fast_products(model):
        assert torch.equal(F.linear(x, weight), expected)


@needs_onednn
def test_a_model_reads_alike(model: Decoder) -> None:
    tokens = torch.arange(24).view(2, 12)
    expected = model(tokens)
    with fast_products(model):
        found = model(tokens)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    assert torch.equal(model(tokens), expected)  # as before, once it is closed
