"""The text that is measured on: real documents, drawn by key, so that every run of the benchmark sees the same.

Without other data this is the corpus that `dolma_pipeline.demo` collects from the Python installation (218 MB in
16 s with the development tools installed). $DOLMA_PIPELINE_DATA adds the documents below its `documents` folder.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson
from xxhash import xxh3_64_intdigest

from dolma_pipeline.demo import collect
from dolma_pipeline.io.documents import ShardReader
from dolma_pipeline.io.paths import located
from dolma_pipeline.io.shards import plan_shards

LONG_BYTES = 200_000_000
"""Cap a source of the collected corpus: enough for the measurements that ask for much text."""


class Text(NamedTuple):
    """A document's name (`source/path#row`) and text."""

    name: str
    text: str


def collected(folder: Path) -> dict[str, list[str]]:
    """Source -> files of the corpus in `folder`, which is collected first if it is not there."""
    done = folder / "collected"
    if not done.exists():
        collect(folder, max_bytes=LONG_BYTES)
        done.touch()
    return {path.name: sorted(map(str, path.glob("*.jsonl.gz"))) for path in sorted(folder.iterdir()) if path.is_dir()}


def given(patterns: Sequence[str]) -> dict[str, list[str]]:
    """Source (`own-` and the file's folder) -> files, for globs of document files."""
    files = sorted({path for pattern in patterns for path in glob.glob(pattern, recursive=True)})
    if not files:
        raise SystemExit(f"no file matches {', '.join(patterns)}")
    sources: dict[str, list[str]] = {}
    for path in files:
        sources.setdefault(f"own-{Path(path).parent.name}", []).append(path)
    return sources


def development_data() -> list[str]:
    """The globs of $DOLMA_PIPELINE_DATA; none where it is not set."""
    folder = os.environ.get("DOLMA_PIPELINE_DATA")
    return [f"{folder}/documents/**/*.jsonl*"] if folder else []


def read(sources: Mapping[str, Sequence[str]]) -> Iterator[Text]:
    """All documents of the sources, in order."""
    for shard in plan_shards(sources, split_bytes=1 << 40):
        for batch in ShardReader(shard, located(sources[shard.source], shard.path), report=lambda failure: None):
            yield from map(Text, batch.origins(), batch.strings)


def draw(texts: Iterable[Text], megabytes: float) -> list[Text]:
    """About `megabytes` of them, the same share of each source (all of a source that has less), in keyed order."""
    by_source: dict[str, list[Text]] = {}
    for text in sorted(texts, key=lambda t: (xxh3_64_intdigest(t.name.encode()), t.name)):
        by_source.setdefault(text.name.split("/")[0], []).append(text)
    drawn: list[Text] = []
    room = megabytes * 1e6
    for done, source in enumerate(sorted(by_source, key=lambda s: (_size(by_source[s]), s))):
        share = room / (len(by_source) - done)
        for text in by_source[source]:
            if share <= 0:
                break
            drawn.append(text)
            share -= len(text.text.encode())
            room -= len(text.text.encode())
    return sorted(drawn, key=lambda t: xxh3_64_intdigest(t.name.encode()))


def write(path: Path, texts: Iterable[Text]) -> Path:
    """As JSON lines of `id` and `text`: what every measured process reads."""
    path.write_bytes(b"".join(orjson.dumps({"id": t.name, "text": t.text}) + b"\n" for t in texts))
    return path


def position(texts: Sequence[Text], megabytes: float) -> int:
    """How many of the texts, from the first on, make `megabytes`."""
    room = megabytes * 1e6
    for count, text in enumerate(texts):
        if room <= 0:
            return count
        room -= len(text.text.encode())
    return len(texts)


def _size(texts: Iterable[Text]) -> int:
    return sum(len(text.text.encode()) for text in texts)


def tokenizer(path: Path, texts: Iterable[Text]) -> Path:
    """The tokenizer.json of $DOLMA_PIPELINE_DATA, else one trained on these texts and written to `path`."""
    found = glob.glob(f"{os.environ.get('DOLMA_PIPELINE_DATA', '')}/tokenizer/*.json")
    if found:
        return Path(found[0])
    from dolma_pipeline.tokens.train_bpe import train_bpe

    made = train_bpe((text.text for text in texts), vocab_size=16_384, special_tokens=["<|endoftext|>"])
    path.write_text(made, encoding="utf-8")
    return path
