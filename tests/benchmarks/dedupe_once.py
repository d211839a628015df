"""One dedupe step over files, in this process, by a plain loop: `dedupe_once.py KIND SAMPLE`; prints one JSON line.

Everything that such a run does is timed: reading, index, keys, sets, comparisons, election, and the columns. Before the
clock starts a run over a few documents has loaded the kernels.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import timing
from run_once import run_here


def deduped(folder: str, kind: str, pattern: str) -> Path:
    """The run's folder."""
    from dolma_pipeline.config import recipe_from_text
    from dolma_pipeline.runner import run

    output = Path(folder) / "run"
    steps = [{"name": "copies", "kind": kind, **({"unit": "line"} if kind == "paragraphs" else {})}]
    recipe = {"output": str(output), "sources": {"web": {"documents": pattern}}, "dedupe": {"steps": steps}}
    run(recipe_from_text(json.dumps(recipe)), stages=["dedupe"], quiet=True)
    return output


def main(kind: str, sample: str) -> None:
    """Time it on the sample, compressed; report it."""
    run_here()
    lines = Path(sample).read_bytes().splitlines(keepends=True)
    for some in ([*lines[:20], *lines[:20]], lines):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "documents.jsonl.gz"
            file.write_bytes(gzip.compress(b"".join(some)))
            seconds = timing.cpu_seconds(lambda folder=folder, file=file: deduped(folder, kind, str(file)))
    texts = [json.loads(line)["text"] for line in lines]
    timing.report(timing.megabytes(texts), seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
