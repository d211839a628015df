"""What any fastText classifier says of a text: quality, topic, language, toxicity.

The model is a file of yours, `.bin` or `.ftz`, of any loss, with word n-grams, character n-grams or both; its numbers
are those of fastText's own `predict` (docs/classifiers.md). Cost: a `.bin` is mapped into memory, whose pages all
workers of a machine share, so that a model of GBs is held once. Source: Joulin et al. 2016, "Bag of tricks".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline import assets
from dolma_pipeline.documents import Batch, Span, text_buffers
from dolma_pipeline.errors import AssetError, TaggerError
from dolma_pipeline.kernels.tables import TextBuffers
from dolma_pipeline.tagging import tagger

Array = NDArray[Any]
NO_LABEL = ""
"""`label` of a text without any word."""


@tagger("fasttext_v1", paper="Joulin et al. 2016, Bag of tricks for efficient text classification")
@dataclass
class FastText:
    """The likeliest label of a fastText classifier, its probability, and those of the labels that you name.

    Fields: `label`, the likeliest (without `__label__`), empty for a text without any word; `score`, its probability;
    and for each of `labels` a field of its name in lower case, with `_` for what cannot stand in a name (`label_3` for
    `3`). With another `unit` than `document`, these are over the document's pieces, each counted by its length:
    `label` is the one of most characters, `score` the mean over the pieces that have it, a label's field its mean over
    all pieces, or with `over: best` its highest; and `hq_spans` are the pieces, with the probability of `hq`.

    Attributes:
        model: path or URL of the file, with a "/" in it, or name of an asset.
        labels: labels of the model, without `__label__`.
        unit: what is classified: `document`, or each `paragraph`, `line` or `sentence` (those that `length_v1`
            counts) by itself.
        over: `mean` or `best`: how pieces make a document's number.
        max_chars: code points read from the start of a document or piece; 0 reads all.
        lower: lower-case the text first, for models that were trained on such text.
    """

    model: str = "lid.176.ftz"
    labels: tuple[str, ...] = ()
    unit: Literal["document", "paragraph", "line", "sentence"] = "document"
    over: Literal["mean", "best"] = "mean"
    max_chars: int = 0
    lower: bool = False

    kernels: ClassVar[tuple[str, ...]] = ("bitmaps", "words", "lines", "sentences", "fasttext", "spans")

    def __post_init__(self) -> None:
        if self.max_chars < 0:
            raise TaggerError(f"fasttext_v1: max_chars is a number of characters, or 0 for all; got {self.max_chars}")
        if self.over != "mean" and (self.unit == "document" or not self.labels):
            raise TaggerError(
                "fasttext_v1: over says how pieces make a label's number; it needs another unit and labels"
            )
        self._names = field_names("fasttext_v1", self.labels, reserved=("label", "score"))

    @property
    def fields(self) -> Mapping[str, Any]:
        """`label`, `score`, one for each of `labels`, and its spans where pieces are classified."""
        fields: dict[str, Any] = {"label": str, "score": float, **dict.fromkeys(self._names, float)}
        if self.unit != "document":
            fields |= {f"{name}_spans": list[Span] for name in self._names}
        return fields

    @property
    def assets(self) -> tuple[str, ...]:
        """The model, which travels with the run."""
        return (self.model,)

    def check(self, *, max_memory: int) -> None:
        """Before a run starts: whether the model can be used; see `check_model`."""
        check_model("fasttext_v1", self.model, self.labels, max_memory=max_memory)

    def setup(self) -> None:
        """Loads the model.

        Raises:
            UnknownNameError: `model` is neither a path nor an asset.
            AssetError: it is not here, or is not a model that can be used.
            TaggerError: a label that it does not have.
        """
        from dolma_pipeline.kernels import fasttext

        self._model = fasttext.load(assets.asset(self.model))
        check_labels("fasttext_v1", self.model, self.labels, self._model.labels)
        self._labels = np.array([*self._model.labels, NO_LABEL], object)  # -1 is the last

    def tag(self, batch: Batch) -> Mapping[str, Any]:
        """Columns `label`, `score`, and those of labels."""
        if self.unit == "document":
            text, max_chars = batch.text, self.max_chars
            if self.lower:
                text, max_chars = _lowered(batch.strings, self.max_chars), 0
            found = self._model.predict(text, labels=self.labels, max_chars=max_chars)
            numbers = {name: found.wanted[:, i].astype(np.float64) for i, name in enumerate(self._names)}
            return {"label": self._labels[found.labels].tolist(), "score": found.scores.astype(np.float64), **numbers}
        return self._tag_pieces(batch)

    def _tag_pieces(self, batch: Batch) -> Mapping[str, Any]:
        from dolma_pipeline.kernels.sentences import split_sentences

        pieces = batch.paragraphs if self.unit == "paragraph" else batch.lines
        if self.unit == "sentence":
            pieces = split_sentences(batch.text, batch.bitmaps)
        if self.lower:
            data, ends = batch.text.data.tobytes(), pieces.ends.tolist()
            texts = [data[start:end].decode() for start, end in zip(pieces.starts.tolist(), ends, strict=True)]
            found = self._model.predict(_lowered(texts, self.max_chars), labels=self.labels)
        else:
            found = self._model.predict(
                batch.text, labels=self.labels, max_chars=self.max_chars, pieces=(pieces.starts, pieces.ends)
            )
        rows = np.repeat(np.arange(len(batch)), np.diff(pieces.rows))
        chars = np.where(found.labels >= 0, pieces.chars, 0).astype(np.float64)
        label, score = most_chars(rows, found.labels, found.scores, chars, len(batch))
        columns: dict[str, Any] = {"label": self._labels[label].tolist(), "score": score}
        for i, name in enumerate(self._names):
            scores = found.wanted[:, i].astype(np.float64)
            if self.over == "best":
                number = np.zeros(len(batch))
                np.maximum.at(number, rows, scores)
            else:
                number = mean_by_length(rows, scores, chars, len(batch))
            columns[name] = number
            columns[f"{name}_spans"] = batch.spans(rows, pieces.starts, pieces.ends, scores)
        return columns


def check_model(tagger: str, model: str, labels: tuple[str, ...], *, max_memory: int) -> None:
    """Whether a model of the user's can be used, has these labels, and fits a process's memory. What is behind a URL,
    and an asset, are fetched when the run starts, and looked at then.

    Args:
        tagger: for messages. max_memory: bytes that a process may take.

    Raises:
        AssetError: it is none, or is too large. TaggerError: a label that it does not have.
    """
    if not assets.is_path(model) or "://" in model:
        return
    from dolma_pipeline.kernels.fasttext_header import memory_of, read_header

    header = read_header(assets.asset(model))
    check_labels(tagger, model, labels, header.labels)
    if (needed := memory_of(header)) > max_memory:
        raise AssetError(
            f"{model} takes {needed:,} bytes in each process (most of them shared by those of one machine); "
            f"max_memory is {max_memory:,}. Raise max_memory, or quantise the model (`fasttext quantize`)."
        )


def check_labels(tagger: str, model: str, labels: tuple[str, ...], known: tuple[str, ...]) -> None:
    """TaggerError for a label that a model does not have. known: those that it has."""
    for label in labels:
        if label not in known:
            shown = ", ".join(sorted(known)[:20]) + (f" and {len(known) - 20:,} more" if len(known) > 20 else "")
            raise TaggerError(f"{tagger}: {model} has no label '{label}'. It has: {shown}.")


def field_names(tagger: str, labels: tuple[str, ...], *, reserved: tuple[str, ...]) -> list[str]:
    """The field of each label: in lower case, `_` for each character that cannot stand in a name.

    Args:
        tagger: for messages. reserved: fields that mean something else; such a label gets `label_` before it.

    Raises:
        TaggerError: two labels have one field, or a label is given twice.
    """
    names: list[str] = []
    for label in labels:
        name = re.sub(r"[^a-z0-9_]", "_", label.removeprefix("__label__").lower())
        names.append(name if re.match("[a-z]", name) and name not in reserved else f"label_{name}")
        if label.startswith("__label__"):
            raise TaggerError(f"{tagger}: labels are named without __label__: '{label.removeprefix('__label__')}'")
        if (first := names.index(names[-1])) < len(names) - 1:
            raise TaggerError(f"{tagger}: the labels '{labels[first]}' and '{label}' have one field, '{names[-1]}'")
    return names


def most_chars(
    rows: Array, labels: Array, scores: Array,
    chars: Array, num_rows: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Of each document the label of most characters of its pieces, and the mean score of the pieces that have it.

    Args:
        rows: document of each piece, ascending. labels: of each piece, -1 for none. chars: its length.
        num_rows: how many documents there are.

    Returns:
        int64[num_rows], -1 where no piece has a label (of equal ones the lowest number wins); float64[num_rows].
    """
    best, mean = np.full(num_rows, -1), np.zeros(num_rows)
    at = np.flatnonzero(chars > 0)
    pairs, place = np.unique(np.stack([rows[at], labels[at]]), axis=1, return_inverse=True)
    lengths = np.bincount(place, chars[at], pairs.shape[1])
    sums = np.bincount(place, chars[at] * scores[at].astype(np.float64), pairs.shape[1])
    order = np.lexsort((-pairs[1], lengths, pairs[0]))  # the last of each document is its best
    best[pairs[0][order]] = pairs[1][order]
    mean[pairs[0][order]] = (sums / lengths)[order]
    return best, mean


def mean_by_length(rows: Array, scores: Array, chars: Array, num_rows: int) -> Array:
    """Of each document the mean score of its pieces, by their length; 0.0 where there are none."""
    total = np.bincount(rows, chars, num_rows)
    return np.asarray(np.bincount(rows, chars * scores, num_rows) / np.maximum(total, 1.0))


def _lowered(texts: list[str], max_chars: int) -> TextBuffers:
    """The texts, or their first `max_chars` characters, in lower case."""
    cut = [text[:max_chars] for text in texts] if max_chars else texts
    return text_buffers(pa.array([text.lower() for text in cut], pa.string()))
