"""`compression_v1`: how well a text compresses, which tells copies and templates from prose, and both from noise.

The measure is the size of an LZ4 block, parsed in one fixed way (`kernels.lz4_size`) and not by a library: those
promise that what they write can be read, not the same bytes in every release, and what a tagger says must not depend
on the machine. LZ4 counts repeats of 4 bytes or more within 64 KB and does not code letters by their frequency, so
its ratio is higher than zlib's: prose has 0.5 to 0.85, code 0.35 to 0.6, repeated lines below 0.2, random characters 1.
Cost: 260 to 400 MB of text per CPU-second (one core, Xeon 2.6 GHz).
Source: Collet, the LZ4 block format. That repetition shows in the ratio is used by Radford et al. 2022 ("Robust Speech
Recognition via Large-Scale Weak Supervision", Whisper), with zlib.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dolma_pipeline.documents import Batch, Fields
from dolma_pipeline.tagging import tagger


@tagger("compression_v1", paper="Collet, LZ4 block format")
@dataclass(frozen=True)
class Compression:
    """Bytes of a text as an LZ4 block, and their share of its UTF-8 bytes."""

    fields: ClassVar[Fields] = {"lz4_bytes": int, "lz4_ratio": float}

    kernels: ClassVar[tuple[str, ...]] = ("lz4_size",)

    def setup(self) -> None:
        """Loads the kernel, so that the first batch is not the slow one."""
        from dolma_pipeline.kernels.warm import warm

        warm(self.kernels)

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """The columns of `fields`, int64[n] and float64[n]; a few bytes have a ratio above 1, none have 0."""
        from dolma_pipeline.kernels.lz4_size import lz4_sizes

        sizes = lz4_sizes(batch.text)
        return {"lz4_bytes": sizes, "lz4_ratio": sizes / np.maximum(np.diff(batch.text.offsets.astype(np.int64)), 1)}
