"""`torchrun -m dolma_pipeline.train RUN_DIR`: what each process runs; `launch` starts it. Also runs alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dolma_pipeline.errors import DolmaError, StoppedError
from dolma_pipeline.evals.online import scorer
from dolma_pipeline.train.processes import STOPPED, end_process, end_with_launcher
from dolma_pipeline.train.signals import Stop
from dolma_pipeline.train.train import train

if __name__ == "__main__":
    stop = Stop()
    end_with_launcher(asked=lambda: stop.ask("the launcher"))
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m dolma_pipeline.train RUN_DIR")
    try:
        with stop.on_signals():
            train(Path(sys.argv[1]), stop=stop, scorer=scorer)
    except StoppedError as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"train: {STOPPED}{error}", file=sys.stderr)
        end_process(error.exit_code)
    except DolmaError as error:
        print(f"train: error: {error}", file=sys.stderr)
        end_process(error.exit_code)
    end_process(0)
