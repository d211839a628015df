from __future__ import annotations

import pytest

from dolma_pipeline.train.files import Settings
from dolma_pipeline.train.speed import Speed, flops_per_token, peak_flops, resident_bytes


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 3090", None),
        ("", None),
    ],
)
def test_peaks_by_name(name: str, peak: float | None) -> None:
    assert peak_flops(name, precision="bf16") == peak
    assert peak_flops(name, precision="fp32") is None


def test_flops_of_a_token(settings: Settings) -> None:
    """Matrices: 2 x 256 x 32 ends, and twice 4 x 32 x 32 + 3 x 32 x 64 in layers; attention over 32 positions."""
    assert flops_per_token(settings) == 6 * (16384 + 2 * (4096 + 6144)) + 12 * 2 * 32 * 32


def test_a_row() -> None:
    found = Speed(flops=10.0, peak=1000.0, num_processes=2).row(num_tokens=50, seconds=2.0, device_bytes=None)
    assert found == {"tokens_per_second": 25.0, "utilisation": 0.125, "memory_bytes": found["memory_bytes"]}
    assert 10_000_000 < found["memory_bytes"] <= resident_bytes()
