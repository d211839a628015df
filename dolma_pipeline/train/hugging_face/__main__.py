"""`python -m dolma_pipeline.train.hugging_face RUN_DIR STEP FOLDER --form FORM --dtype DTYPE`: a step's weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dolma_pipeline.errors import DolmaError
from dolma_pipeline.train.hugging_face.shape import DTYPES, FORMS
from dolma_pipeline.train.hugging_face.write import write_weights
from dolma_pipeline.train.processes import end_with_launcher

if __name__ == "__main__":
    end_with_launcher()
    parser = argparse.ArgumentParser(
        prog="python -m dolma_pipeline.train.hugging_face", description="Writes the weights of a saved step."
    )
    parser.add_argument("run_dir", type=Path, help="the run's folder")
    parser.add_argument("step", type=int, help="a step that has a checkpoint")
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--form", choices=FORMS, required=True, help="whose names")
    parser.add_argument("--dtype", choices=DTYPES, required=True, help="of the tensors")
    given = parser.parse_args()
    try:
        num_bytes = write_weights(given.run_dir, given.step, given.folder, form=given.form, dtype=given.dtype)
    except DolmaError as error:
        print(f"export: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"export: {num_bytes / 1e6:,.1f} MB of weights", file=sys.stderr)
