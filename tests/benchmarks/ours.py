"""Measures one of our functions in this process: `ours.py NAME ARGUMENTS`; prints one JSON line.

A text that a peer was given is gone through again and again, in new batches, until a second of CPU time is full:
a pass takes some hundredths of a second. Only the encoder, which remembers words, sees each text once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import timing

from dolma_pipeline.documents import Batch

LEAST_SECONDS = 1.0


def batches(path: str) -> list[Batch]:
    """The documents of a JSON lines file, as the reader gives them."""
    from dolma_pipeline.io.documents import ShardReader
    from dolma_pipeline.io.shards import plan_shards

    (shard,) = plan_shards({"bench": [path]}, split_bytes=1 << 40)
    failures: list[object] = []
    found = list(ShardReader(shard, path, report=failures.append))
    if failures:
        raise SystemExit(f"{path}: {failures[0]}")
    return found


def repeated(path: str, work: Callable[[Batch], object]) -> None:
    """Report `work` on all batches, pass after pass."""
    found = batches(path)
    work(Batch(found[0].table.slice(0, 10)))
    work(found[0])
    seconds, passes = 0.0, 0
    while seconds < LEAST_SECONDS:
        fresh = [Batch(batch.table) for batch in found]
        seconds += timing.cpu_seconds(lambda fresh=fresh: [work(batch) for batch in fresh])
        passes += 1
    mb = timing.megabytes(text for batch in found for text in batch.strings)
    timing.report(mb, seconds / passes, passes=passes)


def gopher(path: str) -> None:
    """All fields of gopher_v1, from Arrow text to an Arrow column; word and line tables included."""
    from dolma_pipeline.registry import load_tagger

    tagger = load_tagger("gopher_v1")
    repeated(path, lambda batch: tagger.attributes(batch))


def tagger(path: str, given: str) -> None:
    """A tagger, `name` or `name:key=value;key=value`, from Arrow text to an Arrow column; its tables included."""
    from tagged_once import tagger

    found = tagger(given)
    repeated(path, lambda batch: found.attributes(batch))


def minhash(path: str) -> None:
    """Signatures of 14 x 8 permutations over 5 words."""
    from dolma_pipeline.dedup.minhash import signatures

    repeated(path, lambda batch: signatures(batch, num_perm=14 * 8))


def tokenize(path: str, warm: str, tokenizer: str, ids: str, num_checked: str) -> None:
    """One encoder, warm from other text, through text that it has not seen.

    Writes the ids of the first `num_checked` texts to the file `ids`, for a comparison with the peer's.
    """
    import numpy as np

    from dolma_pipeline.tokens.encode import encoder
    from dolma_pipeline.tokens.tokenizer import load_tokenizer

    engine = encoder(load_tokenizer(tokenizer))
    for batch in batches(warm):
        engine.encode(batch.table.column("text"))
    found = batches(path)
    encoded = []
    seconds = timing.cpu_seconds(lambda: encoded.extend(engine.encode(b.table.column("text")) for b in found))
    np.save(ids, first_ids(encoded, int(num_checked)))
    tokens = sum(len(column.flatten()) for column in encoded)
    mb = timing.megabytes(text for batch in found for text in batch.strings)
    timing.report(mb, seconds, tokens=tokens, engine=engine.info.engine)


def first_ids(encoded: list[object], num_texts: int) -> object:
    """The ids of the first `num_texts` texts, one after the other."""
    import pyarrow as pa

    return pa.chunked_array(encoded).slice(0, num_texts).combine_chunks().flatten().to_numpy()


def read_jsonl_gz(*paths: str) -> None:
    """Files to batches, one batch at a time, as stages read them."""
    from dolma_pipeline.io.documents import ShardReader
    from dolma_pipeline.io.shards import plan_shards

    def read(path: str) -> Iterator[Batch]:
        (shard,) = plan_shards({"bench": [path]}, split_bytes=1 << 40)
        return iter(ShardReader(shard, path, report=lambda failure: None))

    list(read(paths[0]))
    seconds, mb, rows = 0.0, 0.0, 0
    for path in paths:
        start = time.process_time()
        for batch in read(path):
            rows += len(batch)
            mb += (int(batch.text.offsets[-1]) - int(batch.text.offsets[0])) / 1e6
        seconds += time.process_time() - start
    timing.report(mb, seconds, rows=rows)


MEASURES = {
    "gopher": gopher,
    "tagger": tagger,
    "minhash": minhash,
    "tokenize": tokenize,
    "read_jsonl_gz": read_jsonl_gz,
}

if __name__ == "__main__":
    MEASURES[sys.argv[1]](*sys.argv[2:])
