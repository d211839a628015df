"""Taggers on JSON lines, reading included: `tagged_once.py SAMPLE NAME,NAME[:key=value]…`; prints one JSON line.

Knows no more of the program than a commit before has as well, so that both are measured by the same lines. The sample
is read and tagged again and again until two seconds of CPU time are full; the cheapest pass counts.
"""

from __future__ import annotations

import inspect
import json
import sys
import time

from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.shards import plan_shards
from dolma_pipeline.registry import load_tagger

LEAST_SECONDS = 2.0


def tagger(given: str) -> object:
    """`name` or `name:key=value;key=value`, values as JSON."""
    name, _, rest = given.partition(":")
    return load_tagger(
        name, **{k: json.loads(v) for k, _, v in (part.partition("=") for part in rest.split(";") if part)}
    )


def once(path: str, taggers: list[object]) -> tuple[float, float]:
    """10^6 bytes of text, and CPU-seconds of reading and tagging them."""
    (shard,) = plan_shards({"bench": [path]}, split_bytes=1 << 40)
    megabytes, start = 0.0, time.process_time()
    where = [path] if "location" in inspect.signature(ShardReader).parameters else []  # the one before asks for none
    for batch in ShardReader(shard, *where, report=lambda failure: sys.exit(f"{path}: {failure}")):
        for found in taggers:
            found.attributes(batch)  # type: ignore[attr-defined]
        megabytes += (int(batch.text.offsets[-1]) - int(batch.text.offsets[0])) / 1e6
    return megabytes, time.process_time() - start


if __name__ == "__main__":
    path = sys.argv[1]
    taggers = [tagger(given) for given in sys.argv[2].split(",")]
    once(path, taggers)  # compiles, and loads models
    passes = [once(path, taggers)]
    while sum(seconds for _, seconds in passes) < LEAST_SECONDS:
        passes.append(once(path, taggers))
    print(json.dumps({"mb": passes[0][0], "cpu_s": min(seconds for _, seconds in passes), "passes": len(passes)}))
