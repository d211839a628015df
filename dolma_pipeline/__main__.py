"""`python -m dolma_pipeline` is `dolma-pipeline`."""

from dolma_pipeline.cli import run_and_exit

if __name__ == "__main__":  # worker processes import this file again, under another name
    run_and_exit()
