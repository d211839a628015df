"""Prediction with any supervised fastText model, straight from Arrow's text buffers.

Reads `.ftz` and `.bin` files of every loss, with word n-grams, character n-grams, or both, and gives the labels and
probabilities of fastText's own `predict`: same words, same n-grams, float32 sums (to about 1e-6). No Python string is
made and no newline replaced. Cost: docs/classifiers.md has speeds; a model is mapped, not read, and its pages are
shared by all processes of a machine.
Source: the fastText file format and `FastText::predict` of fastText 0.9.2 (Joulin et al. 2016, 2017).
"""

from __future__ import annotations

import struct
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.errors import AssetError
from dolma_pipeline.kernels.fasttext_file import ModelFile, find_entry, fnv, frozen, plain_matrix, read_model, unfolded
from dolma_pipeline.kernels.fasttext_header import LOSSES, MAGIC, shown
from dolma_pipeline.kernels.fasttext_losses import Outputs, outputs_of, probabilities
from dolma_pipeline.kernels.fasttext_words import Kept, Lexicon, bucket_tables, kept_words, numbers_of, sum_words
from dolma_pipeline.kernels.jit import njit
from dolma_pipeline.kernels.tables import TextBuffers, read_only


class Prediction(NamedTuple):
    """What a model says of n texts.

    `labels` is int32[n], an index into `Model.labels`, -1 for a text without any word; `scores` float32[n] is the
    probability of that label, `wanted` float32[n, k] those of the labels asked for; all 0.0 without any word.
    """

    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    wanted: NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """A loaded model: the names of its labels (without `__label__`), in its order, and what the kernel reads."""

    path: Path
    labels: tuple[str, ...]
    lexicon: Lexicon
    outputs: Outputs
    kept: Kept
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    def predict(
        self,
        text: TextBuffers,
        *,
        labels: Sequence[str] = (),
        max_chars: int = 0,
        pieces: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None,
    ) -> Prediction:
        """The best label of each text, its probability, and the probabilities of given labels.

        Equal to `fasttext`'s `model.predict(text[:max_chars].replace("\\n", " "))`.

        Args:
            text: the texts.
            labels: whose probabilities go to `wanted`; one that the model lacks has 0.0.
            max_chars: code points read from the start of each text; 0 reads all.
            pieces: predict these stretches instead of the texts: starts and ends, bytes in `text.data`, int32[n].

        Raises:
            AssetError: the model holds numbers that are not finite.
        """
        starts, ends = pieces if pieces is not None else (text.offsets[:-1], text.offsets[1:])
        places = {name: i for i, name in enumerate(self.labels)}
        wanted = np.array([places.get(name, -1) for name in labels], np.int32)
        with self._lock:  # one table of words that were met, for all threads
            found = _predict(
                read_only(starts),
                read_only(ends),
                read_only(text.data),
                max_chars,
                self.lexicon,
                self.outputs,
                self.kept,
                read_only(wanted),
            )
        if len(found[0]) and found[0].min() < -1:
            raise AssetError(f"{self.path}: a damaged fastText model: it holds numbers that are not finite")
        return Prediction(*found)


def load(path: Path) -> Model:
    """Maps a model file; the second call of a process gives the first one's model.

    Raises:
        AssetError: not a fastText file, of an unknown version, cut short or damaged, or not a classifier.
    """
    found = path.stat() if path.exists() else None
    return _load(path, 0 if found is None else found.st_mtime_ns)


@cache
def _load(path: Path, changed_ns: int) -> Model:
    return _model(path, read_model(path))


def loss_of(model: Model) -> str:
    """`hs`, `ns`, `softmax` or `ova`."""
    return LOSSES[model.outputs.loss]


def _model(path: Path, file: ModelFile) -> Model:
    arguments, buckets, vectors = file.arguments, file.arguments["bucket"], file.vectors
    filter_, ranks, order = np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int32)
    if file.pruned is not None:
        filter_, ranks, order = bucket_tables(file.pruned, file.num_words, buckets)
        if not vectors.shape[2]:
            vectors = plain_matrix(unfolded(vectors)[np.concatenate([np.arange(file.num_words), order])])
            order = order[:0]
    end = frozen(np.frombuffer(b"</s>", np.uint8))
    eos = int(find_entry(end, 0, 4, fnv(end, 0, 4), file.slots, file.starts, file.letters))
    settings = [
        arguments["min_n"],
        arguments["max_n"],
        0 if file.pruned is not None and not len(file.pruned) else buckets,
        arguments["word_ngrams"],
        file.num_words,
        int(file.pruned is not None),
        eos if eos < file.num_words else -1,
    ]
    numbers = frozen(np.array(settings, np.int64))
    return Model(
        path=path,
        labels=tuple(map(shown, file.labels)),
        lexicon=Lexicon(
            file.slots, file.starts, file.letters, frozen(filter_), frozen(ranks), frozen(order), numbers, vectors
        ),
        outputs=outputs_of(arguments["loss"], unfolded(file.outputs), file.counts),
        kept=kept_words(arguments["dim"], sums=arguments["max_n"] > 0 and settings[2] > 0),
    )


@njit(cache=True, nogil=True)
def _end_of_chars(data, start, end, max_chars):  # type: ignore[no-untyped-def]
    """The byte after the first `max_chars` code points of a text, or its end."""
    if max_chars <= 0 or end - start <= max_chars:
        return end
    at, chars = start, np.int64(0)
    while end - at >= 64 and max_chars - chars >= 64:
        count = np.int64(0)
        for i in range(64):
            count += np.int64(data[at + i] & 0xC0 != 0x80)
        chars += count
        at += 64
    while at < end:
        if data[at] & 0xC0 != 0x80:
            if chars == max_chars:
                break
            chars += 1
        at += 1
    return at


@njit(cache=True, nogil=True)
def _predict(starts, ends, data, max_chars, lexicon, outputs, kept, wanted):  # type: ignore[no-untyped-def]
    """Arrays of `Prediction`; label -2 where the model gives no number."""
    num_texts, dim, num_labels = starts.size, outputs.weights.shape[0], outputs.weights.shape[1]
    labels = np.full(num_texts, -1, np.int32)
    best_scores = np.zeros(num_texts, np.float32)
    wanted_scores = np.zeros((num_texts, wanted.size), np.float32)
    hidden = np.zeros(dim, np.float32)
    chains = np.zeros(max(lexicon.settings[3] - 1, 1), np.uint64)
    rows = np.zeros(max(1024, lexicon.settings[1], lexicon.settings[3]) + 1, np.int64)
    batch = np.zeros(512 + chains.size, np.int64)
    ahead = np.zeros((3, 32), np.int64)
    scores = np.zeros(num_labels, np.float32)
    nodes, logs = np.zeros(2 * num_labels, np.int32), np.zeros(2 * num_labels, np.float32)
    slots, word_starts, letters, filter, ranks, order, settings, vectors = lexicon
    numbers, codes, norm_codes, norms, shape = (
        numbers_of(vectors), vectors.data, vectors.norm_codes, vectors.norms, vectors.shape,
    )  # fmt: skip
    keys, facts, sums, lines = kept
    for i in range(num_texts):
        start = np.int64(starts[i])
        end = _end_of_chars(data, start, np.int64(ends[i]), max_chars)
        count, num_words = sum_words(
            data, start, end, slots, word_starts, letters, settings, filter, ranks, order, numbers, codes, norm_codes,
            norms, shape, keys, facts, sums, lines, chains, rows, batch, ahead, hidden,
        )  # fmt: skip
        if num_words == 0 or count == 0:
            continue
        scale = np.float32(1.0 / np.float64(count))
        for d in range(dim):
            hidden[d] *= scale
        best, score = probabilities(outputs, hidden, wanted, scores, nodes, logs, wanted_scores[i])
        labels[i], best_scores[i] = (best, score) if best >= 0 else (-2, np.float32(0.0))
    return labels, best_scores, wanted_scores


def warm() -> None:
    """Compiles the kernel (about 6 s the first time on a machine, 0.1 s from the cache) on a made-up model."""
    numbers = struct.Struct("<2i12id3i2q").pack(MAGIC, 12, 2, 0, 0, 0, 0, 2, 3, 3, 4, 1, 2, 0, 0.0, 3, 2, 1, 0, -1)
    entries = b"".join(
        name + b"\0" + struct.pack("<qb", 1, kind) for name, kind in ((b"</s>", 0), (b"a", 0), (b"x", 1))
    )
    vectors = struct.pack("<?2q12f?2q2f", False, 6, 2, *[1.0] * 12, False, 1, 2, 1.0, 1.0)
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(numbers + entries + vectors)
        file.flush()
        model = _model(Path(file.name), read_model(Path(file.name)))
        text = TextBuffers(np.array([0, 3], np.int32), np.frombuffer(b"a b", np.uint8))
        model.predict(text, labels=("x",), max_chars=2)
