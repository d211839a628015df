"""How fast a run is, how much memory it takes, and how much of the device it uses. Does not load torch.

Utilisation (MFU) is what the model needs (`flops_per_token` of its shape) over the device's peak (Chowdhery et al.
2022, arXiv 2204.02311, appendix B). It is known for bf16 on the GPUs listed here.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PEAK_FLOPS: Mapping[str, float] = {
    "A100": 312e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "A10": 125e12,
}
"""Words of a GPU's name -> dense bf16 flops a second, of its maker's data sheets; the first that fits counts."""


def peak_flops(device_name: str, *, precision: str) -> float | None:
    """Dense bf16 flops a second of a device, or None where that is not known, as for CPUs and fp32.

    Args:
        device_name: as the driver says it, such as `NVIDIA H100 80GB HBM3`.
    """
    if precision != "bf16":
        return None
    words = device_name.replace("-", " ").split()
    return next((peak for name, peak in PEAK_FLOPS.items() if {*name.split()} <= {*words}), None)


def resident_bytes() -> int:
    """Peak memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes but on macOS


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What speed is told by. flops: of a token. peak: flops a second of one process's device, None if unknown."""

    flops: float = 0.0
    peak: float | None = None
    num_processes: int = 1

    def row(self, *, num_tokens: int, seconds: float, device_bytes: int | None) -> dict[str, Any]:
        """Of a stretch of steps: tokens_per_second, memory_bytes, utilisation if a peak is known, device_memory_bytes.

        Args:
            num_tokens, seconds: of all processes, in that stretch. device_bytes: peak of this process's GPU.
        """
        rate = num_tokens / max(seconds, 1e-9)
        found: dict[str, Any] = {"tokens_per_second": round(rate, 1), "memory_bytes": resident_bytes()}
        if self.peak is not None:
            found["utilisation"] = round(rate * self.flops / (self.peak * self.num_processes), 4)
        if device_bytes is not None:
            found["device_memory_bytes"] = device_bytes
        return found
