"""`LoadedTagger`: a tagger with its parameters, run on batches and held to its contract.

Two kinds of trouble are kept apart. A breach of the contract (fields, types, lengths) is a bug in the tagger and
raises `TaggerError`. A document on which the tagger raises is that document's misfortune: its row becomes a null
struct and a `RowFailure`, and the rest goes on.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from dolma_pipeline.documents import Attributes, Batch, Document, Fields, Span
from dolma_pipeline.errors import DolmaError, TaggerError, UsageError
from dolma_pipeline.tagging.columns import NAME, Columns, short
from dolma_pipeline.tagging.declare import TaggerSpec
from dolma_pipeline.tagging.parameters import checked_parameters

MAX_REASON_CHARS = 200
"""A reason is cut here: an exception may quote the text, and `failed/` never holds texts."""

RAISED = (Exception, SystemExit)
"""What code of a user's may raise as it is loaded: also by `exit()`, which would else end a run without a word."""


class RowFailure(NamedTuple):
    """A document on which a tagger raised: its row in the batch, and `ExceptionType: message`."""

    row: int
    reason: str


class LoadedTagger:
    """A tagger with its parameters: `attributes(batch)` makes a column, a call makes one document's attributes.

    Args:
        spec: what was declared.
        parameters: name -> value; those left out have their defaults.
        label: name of the column, of its folder and in `where`; default the tagger's name.

    Attributes:
        fields: field -> bool, int, float, str or list[Span].
        type: Arrow struct of the column; bool, int64, float64, string and `SPANS_TYPE`.
        assets: names of the model files that it needs.

    Raises:
        UnknownNameError: a parameter that the tagger does not have.
        TaggerError: parameters that the tagger refuses, or fields of types that there are not.
    """

    def __init__(self, spec: TaggerSpec, parameters: Mapping[str, Any] | None = None, *, label: str = "") -> None:
        given = dict(parameters or {})
        if label and not NAME.fullmatch(label):
            raise TaggerError(
                f"the column of tagger '{spec.name}' cannot be named {label!r}: a name is lower-case letters, digits "
                "and '_', a letter first"
            )
        self.spec = spec
        self.label = label or spec.name
        what = f"tagger '{spec.name}'"
        self.parameters: Mapping[str, Any] = checked_parameters(what, spec.object, spec.parameters, given)
        self._instance: Any = self._made(given) if spec.form == "class" else None
        self._columns = Columns(spec.name, spec.fields if spec.form == "function" else self._known_early("fields"))
        self.fields: Fields = self._columns.fields
        self.type: pa.StructType = self._columns.type
        self.assets: tuple[str, ...] = self._checked_assets() if hasattr(type(self._instance), "assets") else ()
        self._ready = False

    def __repr__(self) -> str:
        shown = "".join(f", {name}={value!r}" for name, value in self.parameters.items())
        return f"LoadedTagger({self.label!r}{shown})"

    def named(self, label: str) -> LoadedTagger:
        """The same tagger and parameters for a column called `label`; it sets itself up anew.

        Raises:
            TaggerError: a label that cannot be a name.
        """
        return LoadedTagger(self.spec, self.parameters, label=label)

    def setup(self) -> None:
        """Load what the tagger needs; once, however often it is called. `attributes` does it where needed.

        Raises:
            TaggerError: `setup` raised something that is no error of this library; says what, and on which line.
            DolmaError: what it raised else.
        """
        if not self._ready:
            if hasattr(self._instance, "setup"):
                try:
                    self._instance.setup()
                except DolmaError:
                    raise
                except RAISED as error:
                    raise TaggerError(
                        f"tagger '{self.spec.name}': setup() raised {_reason(error)}{_line(error)}"
                    ) from error
            self._ready = True

    def check(self, *, max_memory: int) -> None:
        """What a tagger that has a `check` looks at before a run starts, such as its model.

        Args:
            max_memory: bytes that a process may take.

        Raises:
            DolmaError: whatever is wrong; something else that it raises is told as a TaggerError.
        """
        if hasattr(self._instance, "check"):
            try:
                self._instance.check(max_memory=max_memory)
            except DolmaError:
                raise
            except RAISED as error:
                what = f"check() raised {_reason(error)}{_line(error)}"
                raise TaggerError(f"tagger '{self.spec.name}': {what}") from error

    def attributes(self, batch: Batch) -> tuple[pa.StructArray, list[RowFailure]]:
        """One struct (of `type`) a document, and the documents on which the tagger raised: their structs are null.

        A class that raises on a batch is asked again row by row, so that one document costs no other.

        Raises:
            TaggerError: the tagger broke its contract.
            DolmaError: any error of this library that the tagger lets out (a missing model, say): not the row's fault.
        """
        self.setup()
        if self.spec.form == "function":
            return self._from_documents(batch)
        if len(batch) == 0:  # a user's numpy need not be ready for that
            return self._columns.from_rows([]), []
        # A tagger is its user's code, run on anybody's text: anything may come out of it, and one document must not
        # end a run over millions. So everything is caught, here and once below, and is reported with its row.
        try:
            got = self._instance.tag(batch)
        except TaggerError as error:  # of our own functions, such as `Batch.spans`: they know the batch alone
            if not batch.shard:
                raise
            raise TaggerError(f"{error} The batch starts with document {batch.shard}#{batch.first_row}.") from error
        except DolmaError:
            raise
        except SystemExit as error:
            raise self._ended(error, batch, 0) from error
        except Exception as error:  # noqa: BLE001 see above
            if len(batch) == 1:
                return pa.nulls(1, self.type), [RowFailure(0, _reason(error))]
            return self._row_by_row(batch)
        return self._columns.from_columns(got, batch), []

    def __call__(self, document: Document | str) -> Attributes:
        """Attributes of one document (or text): field -> value, spans as `list[Span]`.

        Raises:
            UsageError: neither a Document nor a text.
            TaggerError: the tagger broke its contract.
            Exception: whatever the tagger raises on this document.
        """
        if not isinstance(document, (Document, str)):
            raise UsageError(
                f"tagger '{self.spec.name}' is called with a Document or a text, not with {short(document)}. "
                "For a Batch: attributes(batch)."
            )
        self.setup()
        batch = Batch.of([document])
        if self.spec.form == "function":
            rows = [self._row(one) for one in batch.documents()]
            attributes = self._columns.from_rows(rows)[0].as_py()
        else:
            attributes = self._columns.from_columns(self._instance.tag(batch), batch)[0].as_py()
        return {
            field: [Span(**span) for span in value] if isinstance(value, list) else value
            for field, value in attributes.items()
        }

    def _made(self, given: Mapping[str, Any]) -> Any:
        try:
            return self.spec.object(**self.parameters)
        except (TypeError, ValueError) as error:
            raise TaggerError(f"tagger '{self.spec.name}' refuses its parameters {dict(given)}: {error}") from error
        except DolmaError:
            raise
        except RAISED as error:
            what = f"raised {_reason(error)}{_line(error)} when it got its parameters {dict(given)}"
            raise TaggerError(f"tagger '{self.spec.name}' {what}") from error

    def _known_early(self, what: str) -> Any:
        try:
            return getattr(self._instance, what)
        except AttributeError as error:
            raise TaggerError(
                f"tagger '{self.spec.name}': `{what}` is not known before setup(): {error}. It may depend on "
                "parameters only."
            ) from error

    def _checked_assets(self) -> tuple[str, ...]:
        assets = self._known_early("assets")
        if not isinstance(assets, (tuple, list)) or not all(isinstance(name, str) for name in assets):
            raise TaggerError(f"tagger '{self.spec.name}': assets is {short(assets)}; it is a tuple of asset names")
        return tuple(assets)

    def _row(self, document: Document) -> dict[str, Any]:
        got = self.spec.object(document, **self.parameters)
        return self._columns.row(got, num_chars=len(document.text))

    def _from_documents(self, batch: Batch) -> tuple[pa.StructArray, list[RowFailure]]:
        rows: list[dict[str, Any]] = []
        failures: list[RowFailure] = []
        for index, document in enumerate(batch.documents()):
            try:
                rows.append(self._row(document))
            except TaggerError as error:  # a breach of the contract
                if not batch.shard:
                    raise
                raise TaggerError(f"{error} (document {batch.shard}#{batch.first_row + index})") from error
            except DolmaError:
                raise
            except SystemExit as error:
                raise self._ended(error, batch, index) from error
            except Exception as error:  # noqa: BLE001 see `attributes`
                failures.append(RowFailure(index, _reason(error)))
                rows.append(self._columns.blank_row())
        return self._columns.from_rows(rows, failed=[failure.row for failure in failures]), failures

    def _ended(self, error: SystemExit, batch: Batch, row: int) -> TaggerError:
        """A call of `exit()` would end the run without a word, and may be no document's fault."""
        at = f" (document {batch.shard}#{batch.first_row + row}, or behind it in its batch)" if batch.shard else ""
        return TaggerError(f"tagger '{self.spec.name}' ended the process: {_reason(error)}{_line(error)}{at}")

    def _row_by_row(self, batch: Batch) -> tuple[pa.StructArray, list[RowFailure]]:
        pieces: list[pa.StructArray] = []
        failures: list[RowFailure] = []
        for row in range(len(batch)):
            table, first_row, locs = batch.table.slice(row, 1), batch.first_row + row, batch.locs[row : row + 1]
            piece, failed = self.attributes(Batch(table, shard=batch.shard, first_row=first_row, locs=locs))
            pieces.append(piece)
            failures.extend(RowFailure(row, failure.reason) for failure in failed)
        return pa.concat_arrays(pieces), failures


def _line(error: BaseException) -> str:
    """` (file:line)` where the user's code raised: its own last line, not one of a library that it calls."""
    ours = (__file__, "<string>")  # the latter is a dataclass's __init__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in ours]
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


def _reason(error: BaseException) -> str:
    message = " ".join(str(error).split())
    reason = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return reason if len(reason) <= MAX_REASON_CHARS else reason[: MAX_REASON_CHARS - 1] + "…"
