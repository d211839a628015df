"""A fastText classifier of two labels, trained on gathered texts, and what it says of those that were held out.

One thread and a seed: the same texts and settings give the same bytes. A document is a line of words, as fastText's own
reader and our kernel see it: blanks of any kind end a word, `</s>` ends the text, and words that look like labels are
left out. Cost: 4 s of CPU for 14 MB of text at 5 epochs and 64 dimensions; memory: 4 bytes x dim x (buckets + words).
Source: Joulin et al. 2016, "Bag of tricks for efficient text classification"; its use as a filter of quality: Li et al.
2024, "DataComp-LM", section 4.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.errors import UsageError
from dolma_pipeline.fit.gather import Gathered

LABELS = ("positive", "negative")
"""Names of the model's labels, in the order of `Gathered`'s."""
PREFIX = "__label__"
END = "</s>"
_BLANKS = re.compile("[ \t\n\v\f\r\0]+")


@dataclass(frozen=True)
class ClassifierSettings:
    """How a classifier is trained; fastText's own names in brackets.

    dim: numbers of a vector (dim). epoch: times that each document is seen (epoch). lr: learning rate at the start
    (lr). word_ngrams: longest run of words that is a feature (wordNgrams). buckets: rows for such runs (bucket).
    min_count: words that are rarer are no features (minCount). max_chars: code points read from the start of a text, 0
    for all; the tagger is given the same.
    """

    dim: int = 32
    epoch: int = 5
    lr: float = 0.1
    word_ngrams: int = 2
    buckets: int = 500_000
    min_count: int = 3
    max_chars: int = 0


class Held(NamedTuple):
    """What is known of n documents that were held out.

    scores: probability of the label `positive`, float64[n]. labels: bool[n]. sizes: bytes, int64[n]. sources: names.
    """

    scores: NDArray[np.float64]
    labels: NDArray[np.bool_]
    sizes: NDArray[np.int64]
    sources: Sequence[str]


def line_of(text: str, *, max_chars: int) -> str:
    """A text as a line of words that fastText takes: blanks between words, nothing that it would read otherwise."""
    words = [word for word in _BLANKS.split(text[:max_chars] if max_chars else text) if word]
    if END in words:
        words = words[: words.index(END)]
    return " ".join(word for word in words if not word.startswith(PREFIX))


def write_lines(gathered: Gathered, path: Path, *, max_chars: int) -> None:
    """Write the texts to be learned from, a line each behind its label."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for table in gathered.tables():
            learned = table.filter(pc.invert(table.column("held_out")))
            for label, text in zip(
                learned.column("label").to_pylist(), learned.column("text").to_pylist(), strict=True
            ):
                file.write(f"{PREFIX}{LABELS[label]} {line_of(text, max_chars=max_chars)}\n")


def train(lines: Path, settings: ClassifierSettings, *, seed: int) -> Any:
    """A fastText model of a file of lines.

    Raises:
        UsageError: no word is frequent enough, the learning rate is too high, or the model does not fit into memory.
    """
    import fasttext

    try:
        model = fasttext.train_supervised(
            str(lines),
            dim=settings.dim,
            epoch=settings.epoch,
            lr=settings.lr,
            wordNgrams=settings.word_ngrams,
            bucket=settings.buckets,
            minCount=settings.min_count,
            seed=seed,
            thread=1,
            verbose=0,
        )
    except RuntimeError as error:  # what fastText raises of everything
        if "NaN" not in str(error):
            raise
        raise UsageError(f"the training did not converge at a rate of {settings.lr}. Give a lower --lr.") from error
    except MemoryError as error:
        gigabytes = 4 * settings.dim * settings.buckets / 1e9
        raise UsageError(
            f"there is no memory for vectors of {settings.dim:,} numbers of {settings.buckets:,} buckets and words, "
            f"over {gigabytes:,.1f} GB. Give a lower --dim or --buckets."
        ) from error
    if set(model.words) <= {END}:
        raise UsageError(
            f"no word is in the documents {settings.min_count} times. Give a lower --min-count, or more documents."
        )
    return model


def score(model: Any, gathered: Gathered, *, max_chars: int) -> Held:
    """The probability of `positive` for each document that was held out; 0.0 of one without words."""
    scores, labels, sizes, sources = [], [], [], list[str]()
    for table in _held_out(gathered):
        for text in table.column("text").to_pylist():
            line = line_of(text, max_chars=max_chars)
            names, values = model.predict(line, k=len(LABELS))
            known = dict(zip(names, values.tolist(), strict=True))
            scores.append(min(known[PREFIX + LABELS[0]], 1.0) if line else 0.0)
        labels += [label == 0 for label in table.column("label").to_pylist()]
        sizes += pc.binary_length(table.column("text")).to_pylist()
        sources += table.column("source").to_pylist()
    return Held(np.array(scores, np.float64), np.array(labels, np.bool_), np.array(sizes, np.int64), sources)


def _held_out(gathered: Gathered) -> Iterator[pa.Table]:
    for table in gathered.tables():
        yield table.filter(table.column("held_out"))
