"""Rows of taggers: beside the program before, Dolma, datatrove and fastText, on the same text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import before
import environments
import samples
from rows import Row, compare

from dolma_pipeline import assets

BUILT_IN = ("language_v1", "gopher_v1", "c4_v1", "length_v1", "pii_v1")
FINEWEB = ("language_v1", "gopher_v1", "c4_v1", "fineweb_v1")
RULES = (
    *("gopher_v1", "c4_v1", "fineweb_v1", "length_v1", "repetition_v1", "text_v1", "compression_v1"),
    *("url_v1", "code_v1", "license_v1"),
)
"""All that are rules but `secrets_v1`, which is slow by nature."""
LANGUAGE_CHARS = 2000
SAMPLE_MB = 4.0

Peer = Callable[..., dict[str, float]]


def tagged(sample: Path, taggers: Sequence[str], **program: Any) -> dict[str, Any]:
    """MB and CPU-seconds of these taggers on a sample, reading included."""
    return environments.measure("tagged_once.py", sample, ",".join(taggers), **program)


def built_in(sources: Mapping[str, Sequence[str]], work: Path, old: before.Program | None) -> Iterable[Row]:
    """The five first taggers together, reading and words included, source by source, against the program before."""
    for source, paths in sources.items():
        drawn = samples.draw(samples.read({source: paths}), SAMPLE_MB)
        sample = samples.write(work / f"tagged-{source}.jsonl", drawn)
        ours = tagged(sample, BUILT_IN)
        name = f"five_{source.removeprefix('own-')}"
        if old is None:
            yield Row(name=name, text_mb=ours["mb"], ours=ours["mb"] / ours["cpu_s"], peer=None, peer_name="")
            continue
        peer = tagged(sample, BUILT_IN, python=old.python, home=old.home)
        yield compare(name, f"the same at {before.COMMIT}", ours, peer, at_least=2)


def fineweb(sample: Path, peer: Peer) -> Iterable[Row]:
    """All fields of FineWeb's chain for every document, against datatrove's filters, each on what the last one left."""
    model = assets.fetch("lid.176.ftz")
    theirs = peer("datatrove", "datatrove_fineweb.py", sample, model)
    yield compare("fineweb_chain", "datatrove 0.10.1, five filters", tagged(sample, FINEWEB), theirs, at_least=100)


def rules(sample: Path) -> Iterable[Row]:
    """All rule taggers together, reading included."""
    ours = tagged(sample, RULES)
    speed = ours["mb"] / ours["cpu_s"]
    yield Row(
        name="all_rules", text_mb=ours["mb"], ours=speed, peer=None, peer_name=f"{len(RULES)} taggers", at_least=30
    )


def dolma(sample: Path, peer: Peer) -> Iterable[Row]:
    """C4 and PII against Dolma's taggers in one process."""
    for name, promised in (("c4", 30), ("pii", 5)):
        ours = environments.measure("ours.py", "tagger", sample, f"{name}_v1")
        theirs = peer("dolma", "dolma_tagger.py", sample, name)
        yield compare(f"{name}_tagger", f"dolma 1.2.1 {name}", ours, theirs, at_least=promised)


def fasttext(texts: Sequence[samples.Text], work: Path) -> Iterable[Row]:
    """language_v1 against fastText on the same first characters, and a classifier with word bigrams against it."""
    cut = [samples.Text(text.name, text.text[:LANGUAGE_CHARS]) for text in texts]
    sample = samples.write(work / "language.jsonl", cut)
    ours = environments.measure("ours.py", "tagger", sample, "language_v1")
    theirs = environments.measure("peers/fasttext_predict.py", sample, assets.fetch("lid.176.ftz"), LANGUAGE_CHARS)
    yield compare("language", "fastText's predict", ours, theirs, at_least=4)
    whole, model = samples.write(work / "classified.jsonl", texts), work / "bigrams.bin"
    environments.measure("peers/fasttext_train.py", whole, model)
    ours = environments.measure("ours.py", "tagger", whole, f'fasttext_v1:model="{model.resolve()}"')
    theirs = environments.measure("peers/fasttext_predict.py", whole, model, 0)
    yield compare("classifier_bigrams", "fastText's predict", ours, theirs, at_least=3)
