"""`torchrun -m dolma_pipeline.train RUN_DIR`: what each process runs; `launch` starts it. Also runs alone."""

from __future__ import annotations

import sys
from pathlib import Path

from dolma_pipeline.errors import DolmaError
from dolma_pipeline.train.processes import end_process, end_with_launcher
from dolma_pipeline.train.train import train

if __name__ == "__main__":
    end_with_launcher()
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m dolma_pipeline.train RUN_DIR")
    try:
        train(Path(sys.argv[1]))
    except DolmaError as error:
        print(f"train: error: {error}", file=sys.stderr)
        end_process(error.exit_code)
    end_process(0)
