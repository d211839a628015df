"""`python -m dolma_pipeline` is `dolma-pipeline`."""

import sys

from dolma_pipeline.cli import main

if __name__ == "__main__":  # worker processes import this file again, under another name
    sys.exit(main())
