"""`python -m dolma_pipeline.kernels`: compiles every kernel ahead, and says how long it took."""

from __future__ import annotations

import time

from dolma_pipeline.kernels.warm import MODULES, warm

if __name__ == "__main__":
    began = time.perf_counter()
    warm()
    print(f"kernels of {len(MODULES)} modules are ready: {time.perf_counter() - began:.1f} s")
