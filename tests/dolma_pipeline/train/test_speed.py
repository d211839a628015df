from __future__ import annotations

import pytest

from dolma_pipeline.train.speed import Speed, peak_flops, resident_bytes


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


def test_a_row() -> None:
    found = Speed(flops=10.0, peak=1000.0, num_processes=2).row(num_tokens=50, seconds=2.0, device_bytes=None)
    assert found == {"tokens_per_second": 25.0, "utilisation": 0.125, "memory_bytes": found["memory_bytes"]}
    assert 10_000_000 < found["memory_bytes"] <= resident_bytes()
