"""One file of documents, tagged without a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from dolma_pipeline.errors import UsageError
from dolma_pipeline.io.attributes import attribute_file
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.manifest import Counts
from dolma_pipeline.io.paths import expanded, located
from dolma_pipeline.io.shards import plan_shards
from dolma_pipeline.registry import load_tagger


def tag_file(path: str, *, taggers: Sequence[str] | str, output: str) -> Counts:
    """Tag one file; the attributes of tagger T go to `output/T/<name of the file>.parquet`, a row a document.

    Args:
        path: JSONL (plain, .gz, .zst) or Parquet; a local path or a URL.
        taggers: names, or one name; each known to the registry (built in, an entry point, or declared by now).
        output: a folder, made if it is not there.

    Returns:
        `documents`, `bytes` of text, and `failed`: a list of `Failure`s (unreadable lines, documents on which a
        tagger raised).

    Raises:
        UsageError: no taggers, a file that is not there, or an output that is a file.
        UnknownNameError: a tagger that does not exist.
    """
    if not taggers:
        raise UsageError("tag_file: name at least one tagger")
    folder = Path(expanded(output))
    for there in (folder, *folder.parents):
        if there.exists() and not there.is_dir():
            raise UsageError(f"tag_file: output {output}: {there} is a file. Name a folder.")
    loaded = [load_tagger(name) for name in ([taggers] if isinstance(taggers, str) else taggers)]
    (shard,) = plan_shards({"file": [path]}, split_bytes=1 << 62)
    failed: list[Failure] = []
    documents = num_bytes = 0
    name = shard.name.split("/", 1)[1]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(attribute_file(folder / t.label / f"{name}.parquet", t.label, t.type)) for t in loaded
        ]
        for batch in ShardReader(shard, located([path], shard.path), report=failed.append):
            for tagger, writer in zip(loaded, writers, strict=True):
                column, failures = tagger.attributes(batch)
                writer.write(column, batch)
                for one in failures:
                    row = batch.first_row + one.row
                    line = int(batch.locs[one.row])
                    failed.append(Failure(path, f"{tagger.label}: {one.reason}", line=line, row=row))
            documents += len(batch)
            num_bytes += int(batch.text.offsets[-1] - batch.text.offsets[0])
    return Counts(documents=documents, bytes=num_bytes, failed=failed)
