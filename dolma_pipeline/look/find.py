"""`find`: where a text stands in token parts that have an index, and which runs of a model's output do.

A text is looked for as the run's tokenizer encodes it, once as it is and once behind a blank, for most tokenizers give
a word other ids there. What the corpus has in the middle of a word, or encoded together with what stands beside it,
is not found: lookups are of ids. Cost: some milliseconds for a hundred ids; nothing is read but the pages touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.io.documents import normalized
from dolma_pipeline.look.index import FORMAT, MANIFEST, TOKENIZER
from dolma_pipeline.look.parts import (
    TOKENS,
    index_root,
    listed_parts,
    opened_folder,
    state_of_others,
    state_of_run,
)
from dolma_pipeline.run import layout
from dolma_pipeline.storage.mapped import Mapped
from dolma_pipeline.tokens.encode import TokenizersEncoder
from dolma_pipeline.tokens.lookup import Piece, longest_runs, maximal_spans
from dolma_pipeline.tokens.tokenizer import parse_tokenizer

CONTEXT_IDS = 24
"""Ids of a document that are shown before and after what was found."""


@dataclass(frozen=True)
class Occurrence:
    """A place where ids stand.

    document: what the parts tell of it: origin, source, id, loc, epoch, cluster, attributes, as far as they do.
    part, first: the file of ids, and the place of the first id there. before, text, after: of the document.
    """

    document: Mapping[str, Any]
    part: str
    first: int
    before: str
    text: str
    after: str

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "document": dict(self.document),
            "part": self.part,
            "first_id": self.first,
            "before": self.before,
            "text": self.text,
            "after": self.after,
        }


@dataclass(frozen=True)
class Form:
    """A text as it was looked for. ids: of it; count: how often they stand; occurrences: the earliest."""

    text: str
    ids: tuple[int, ...]
    count: int
    occurrences: tuple[Occurrence, ...]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "text": self.text,
            "ids": list(self.ids),
            "count": self.count,
            "occurrences": [one.record() for one in self.occurrences],
        }


@dataclass(frozen=True)
class FoundSpan:
    """A run of a text's ids that stands in the parts, and is no piece of a longer one that does.

    first, last: of its ids, last exclusive. text: of them. count, occurrences: see `Form`.
    """

    first: int
    last: int
    text: str
    count: int
    occurrences: tuple[Occurrence, ...] = field(repr=False)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "first": self.first,
            "last": self.last,
            "text": self.text,
            "count": self.count,
            "occurrences": [one.record() for one in self.occurrences],
        }


@dataclass(frozen=True)
class Trace:
    """The spans of a text that stand in the parts, longest first. num_ids: of the text; covered: of them in spans."""

    num_ids: int
    covered: int
    spans: tuple[FoundSpan, ...]

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"ids": self.num_ids, "covered": self.covered, "spans": [one.record() for one in self.spans]}


@dataclass(frozen=True)
class _Files:
    """A piece with its documents."""

    piece: Piece
    part: str
    first_id: int
    metadata: memoryview
    metaoff: NDArray[np.uint64]


class Index:
    """An index, opened; a context manager. One of a store is copied to this machine's disk while it is open.

    Args:
        place: a run's folder, or a folder of parts.

    Raises:
        UsageError: no index is there, or it is of other parts or of another tokenizer; says what to do.
        DataError: a file of it is missing or damaged.
    """

    def __init__(self, place: str) -> None:
        self._folder, is_run = opened_folder(place)
        self._root = index_root(TOKENS if is_run else "")
        self._place = place
        manifest = self._manifest(is_run)
        self._check(manifest, is_run)
        text = self._folder.read(f"{self._root}/{TOKENIZER}").decode()
        name = f"{self._folder.url}/{self._root}/{TOKENIZER}"
        info = parse_tokenizer(text, special_tokens=manifest["special"], engine="tokenizers", name=name)
        if f"sha256:{info.sha256}" != manifest["tokenizer"]:
            raise DataError(
                f"{name}: not the one that the index is of. Remove {self._root} and make it again: {self._how}."
            )
        self._encoder = TokenizersEncoder(info)
        self._eos: int | None = manifest["eos"]
        self._normalize: list[str] = manifest.get("normalize", [])
        self._stack = ExitStack()
        with ExitStack() as stack:
            dtype = np.dtype(manifest["dtype"]).newbyteorder("<")
            self._pieces = [self._open(stack, one, dtype) for one in manifest["pieces"]]
            self._stack = stack.pop_all()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pieces = []
        self._stack.close()

    def find(self, text: str, *, number: int) -> list[Form]:
        """The forms of a text, with the earliest places of each.

        Args:
            text: some words. number: occurrences of a form, at most.

        Raises:
            UsageError: a text of no ids.
        """
        forms = dict[tuple[int, ...], str]()
        (text,) = normalized([text], self._normalize)
        for form in (text, f" {text}"):
            ids = self._ids(form)
            if len(ids):
                forms.setdefault(tuple(ids.tolist()), form)
        if not forms:
            raise UsageError(f"nothing to look for: the tokenizer gives no ids for {text!r}.")
        found = []
        for own, form in forms.items():
            count, occurrences = self._look_up(np.array(own, np.uint32), number)
            found.append(Form(form, own, count, occurrences))
        return found

    def trace(self, text: str, *, at_least: int, number: int) -> Trace:
        """The runs of a text that stand in the parts, longest first.

        Args:
            text: such as a model's output. at_least: ids of a run. number: occurrences of a run, at most.

        Raises:
            UsageError: a text of no ids.
        """
        ids = self._ids(*normalized([text], self._normalize))
        if len(ids) == 0:
            raise UsageError("nothing to look for: the tokenizer gives no ids for this text.")
        lengths = longest_runs([one.piece for one in self._pieces], ids)
        bounds = list(maximal_spans(lengths, at_least=at_least))
        covered = np.zeros(len(ids), np.bool_)
        spans = []
        for first, last in sorted(bounds, key=lambda one: (one[0] - one[1], one[0])):
            covered[first:last] = True
            count, occurrences = self._look_up(ids[first:last], number)
            spans.append(FoundSpan(first, last, self._encoder.decode(ids[first:last]), count, occurrences))
        return Trace(len(ids), int(covered.sum()), tuple(spans))

    @property
    def _how(self) -> str:
        return f"dolma-pipeline index {self._place}"

    def _manifest(self, is_run: bool) -> dict[str, Any]:
        name = f"{self._root}/{MANIFEST}"
        if self._folder.stat(name) is None:
            if is_run:
                state_of_run(self._folder, self._place)  # without parts there is nothing to make an index of
            else:
                listed_parts(self._folder, self._place)
            raise UsageError(f"{self._place}: its token parts have no index yet. First: {self._how}.")
        found: dict[str, Any] = orjson.loads(self._folder.read(name))
        if found.get("format") != FORMAT:
            raise UsageError(
                f"{self._place}: its index has format {found.get('format')}, and this version reads {FORMAT}. "
                f"Make it again: {self._how}."
            )
        return found

    def _check(self, manifest: Mapping[str, Any], is_run: bool) -> None:
        """The index must be of the parts that are there now."""
        if is_run:
            state = state_of_run(self._folder, self._place)
            tokens = orjson.loads(self._folder.read(layout.manifest(TOKENS)))
            if tokens["tokenizer"] != manifest["tokenizer"]:
                raise UsageError(
                    f"{self._place}: its index is of another tokenizer ({manifest['tokenizer'][:19]}…) than its token "
                    f"parts ({tokens['tokenizer'][:19]}…). Make it again: {self._how}."
                )
        else:
            state = state_of_others(listed_parts(self._folder, self._place))
        if state != manifest["of"]:
            raise UsageError(
                f"{self._place}: its index is of other token parts than those that are there now. "
                f"Make it again: {self._how}."
            )

    def _open(self, stack: ExitStack, piece: Mapping[str, Any], dtype: np.dtype[Any]) -> _Files:
        """Map the files of a piece."""
        files = {one["name"].partition(".")[0]: self._map(stack, one) for one in piece["files"]}
        offsets, metaoff = (np.frombuffer(files[name], "<u8") for name in ("offset", "metaoff"))
        found = Piece(files["tokenized"], files["table"], offsets, dtype)
        return _Files(found, piece["part"], piece["first_id"], files["metadata"], metaoff)

    def _map(self, stack: ExitStack, file: Mapping[str, Any]) -> memoryview:
        name = f"{self._root}/{file['name']}"
        try:
            path: Path = stack.enter_context(self._folder.local(name))
        except FileNotFoundError:
            raise DataError(f"{self._folder.url}/{name}: gone. Remove {self._root} and run: {self._how}.") from None
        mapped = memoryview(Mapped(path).buffer)
        if len(mapped) != file["bytes"]:
            raise DataError(
                f"{self._folder.url}/{name}: {len(mapped)} bytes, and its manifest says {file['bytes']}. "
                f"Remove {self._root} and run: {self._how}."
            )
        return mapped

    def _ids(self, text: str) -> NDArray[np.uint32]:
        found: NDArray[np.uint32] = self._encoder.encode(pa.array([text], pa.string())).flatten().to_numpy()
        return found

    def _look_up(self, ids: NDArray[np.uint32], number: int) -> tuple[int, tuple[Occurrence, ...]]:
        """How often ids stand in the parts, and the earliest places."""
        count, found = 0, list[Occurrence]()
        for one in self._pieces:
            first, last = one.piece.found(ids.astype(one.piece.dtype).tobytes())
            count += last - first
            if last > first and len(found) < number:
                places = one.piece.places(first, last, at_most=number - len(found))
                found += self._occurrences(one, places.tolist(), len(ids))
        return count, tuple(found)

    def _occurrences(self, one: _Files, places: Sequence[int], length: int) -> Iterator[Occurrence]:
        for place in places:
            number, start, end = one.piece.document(place)
            if self._eos is not None and end > start and int(one.piece.ids(end - 1, end)[0]) == self._eos:
                end -= 1
            begin, stop = int(one.metaoff[number]), len(one.metadata)
            if number + 1 < len(one.metaoff):
                stop = int(one.metaoff[number + 1])
            yield Occurrence(
                document=orjson.loads(one.metadata[begin:stop]),
                part=one.part,
                first=one.first_id + place - number - 1,
                before=self._text(one.piece.ids(max(place - CONTEXT_IDS, start), place)),
                text=self._text(one.piece.ids(place, place + length)),
                after=self._text(one.piece.ids(place + length, min(place + length + CONTEXT_IDS, end))),
            )

    def _text(self, ids: NDArray[Any]) -> str:
        """Decoded; a letter of which ids on the other side have a part is left out."""
        return self._encoder.decode(ids).strip("\ufffd")
