"""The second reading: documents that pass are edited and encoded, once; what is known of them is measured.

One consumer for everything that wants edited text before the plan is made: kept ids (see `kept`), the sizes that a
budget counts, and the texts of documents that may be held out. A shard of which all of that is there is not read.
Written documents are not among it: their lines, kept until the plan says who is held out, cost more than reading the
text again (measured: 0.4 s of CPU on 205 MB). Cost: 7.6 ms a MB of text (reading 1.7, edits 1.0, ids 3.9, order and
file 0.7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dolma_pipeline.io.tables import put_table
from dolma_pipeline.run.artifact import Artifact, digest
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages import kept
from dolma_pipeline.stages.mix.decide import read_verdicts
from dolma_pipeline.stages.mix.measured import Measured, measured_name
from dolma_pipeline.stages.mixes import MIX, reading_of, verdicts_of
from dolma_pipeline.stages.reads import edit_reads, given_reads, united
from dolma_pipeline.stages.rules import source_rules
from dolma_pipeline.stages.tokenizer import edit_columns, edited_texts, run_encoder
from dolma_pipeline.tokens.encode import Encoder
from dolma_pipeline.tokens.keys import document_key


def ids_digest(process: Process, known: Mapping[str, Artifact], mix: str = "mix") -> str:
    """What the kept ids of a mix depend on: how documents are read, the edits with their columns, the tokenizer. Not
    the rules, and not the name: mixes of equal edits share them."""
    columns = edit_columns(process, mix)
    reads, own = united(edit_reads(process, mix, section=MIX), given_reads(process, columns))
    names = ["index", "tokenizer", *(f"attributes/{column}" for column in columns)]
    needs = [known[name].whole_digest for name in names if name in known]
    return digest([reads, own, needs])


@dataclass(frozen=True)
class Encoding(Consumer):
    """Encodes what passes the rules of a mix.

    Args:
        ids: digest of the kept ids; "" where the recipe has no tokenizer. labels: attribute columns that edits read.
        measured: the artifact of the mix, if this run makes it: then documents are measured for it.
        mix: the name of the mix.
    """

    ids: str = ""
    labels: tuple[str, ...] = ()
    measured: Artifact | None = None
    mix: str = "mix"

    @property
    def name(self) -> str:
        """`encode`; of other mixes `<mix>/encode`."""
        return reading_of("encode", self.mix)

    @property
    def reading(self) -> str:
        """Its name."""
        return self.name

    @property
    def needs(self) -> frozenset[str]:
        """Verdicts, the tokenizer, and the columns that edits read."""
        own = {verdicts_of(self.mix), *(["tokenizer"] if self.ids else [])}
        return frozenset({*own, *(need.name for need in (self.measured.needs if self.measured else ()))})

    @property
    def makes(self) -> frozenset[str]:
        """A mark of its name."""
        return frozenset({self.name})

    @property
    def columns(self) -> Mapping[str, frozenset[str] | None]:
        """What edits read; without a tokenizer no text is edited here, and who is edited is read from files."""
        return dict.fromkeys(self.labels) if self.ids else {}

    @property
    def records(self) -> bool:
        """No: kept ids are a cache with records of their own."""
        return False

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        """Begin a shard."""
        return _Encoding(process, self, shard, stack)


class _Encoding(Feeder):
    def __init__(self, process: Process, consumer: Encoding, shard: ShardAt, stack: ExitStack) -> None:
        run = process.run
        self._process, self._consumer, self._shard = process, consumer, shard
        self._own = stack.enter_context(ExitStack())  # its files are committed in `close`, before they are measured
        self._rules = source_rules(process, shard.source, consumer.mix)
        self._seed, self._folder = run.recipe.seed, run.folder
        self._rows = read_verdicts(run, shard, consumer.mix)
        self._place = kept.place_of(process, consumer.ids, shard) if consumer.ids else ""
        self._files: list[str] = []
        self._new = self._not_kept() if self._place else self._rows[:0]
        wanted = consumer.measured is not None
        self._measured = Measured.of(process, shard, self._rows, consumer.mix) if wanted else None
        self._encoder = run_encoder(process) if len(self._new) else None
        self._writer: kept.KeptWriter | None = None
        self._texts: list[tuple[NDArray[np.int64], pa.Array]] = []
        self.wants_text = len(self._new) > 0
        self.until = int(self._new[-1]) + 1 if len(self._new) else 0

    def _not_kept(self) -> NDArray[np.int64]:
        """The rows that pass and have no kept ids; files of another seed that have some are sorted anew first."""
        folder, place = self._folder, self._place
        new = kept.not_kept(folder, place, self._shard.name, self._rows, seed=self._seed)
        stems = kept.kept_files(folder, place, self._seed)
        self._files += [f"{stem}{ending}" for stem in stems for ending in (".arrow", ".json")]
        self._stem = kept.stem_of(place, new, self._seed)
        return new

    def add(self, feed: Feed) -> None:
        batch = feed.batch
        lo, hi = np.searchsorted(self._new, [batch.first_row, batch.first_row + len(batch)])
        rows = self._new[lo:hi]
        if len(rows) == 0:
            return
        texts = edited_texts(self._rules, feed, rows - batch.first_row)
        held = self._may_be_held(rows)
        if held.any():
            self._texts.append((rows[held], texts.filter(pa.array(held))))
        self._encode(feed, rows, texts)

    def _may_be_held(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        if self._measured is None:
            return np.zeros(len(rows), np.bool_)
        return self._measured.may_be_held(rows)

    def _encode(self, feed: Feed, rows: NDArray[np.int64], texts: pa.StringArray) -> None:
        assert self._encoder is not None
        batch, local = feed.batch, rows - feed.batch.first_row
        ids = self._encoder.encode(texts)
        check_some(self._encoder, texts, [f"{self._shard.name}#{row}" for row in rows.tolist()], seed=self._seed)
        if self._writer is None:
            file = self._own.enter_context(self._folder.committing(f"{self._stem}.arrow"))
            self._writer = kept.KeptWriter(file, self._shard.name, seed=self._seed, dtype=self._encoder.info.dtype)
        at = pa.array(local)
        edited = pc.not_equal(batch.table.column("text").take(at), texts).fill_null(False)
        self._writer.write(
            rows, batch.table.column("id").take(at), np.asarray(batch.locs[local], np.int64), edited, texts, ids
        )

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        num_kept = self._writer.num_rows if self._writer is not None else 0
        if self._writer is not None:
            self._writer.close()
        self._own.close()
        if num_kept:
            num_texts = self._put_texts()
            kept.mark_whole(self._folder, self._stem, rows=num_kept, texts=num_texts)
            self._files += [f"{self._stem}.arrow", f"{self._stem}.json"]
        if self._measured is not None and self._consumer.measured is not None:
            table = self._measured.table(self._process, self._place)
            name = measured_name(self._process.run, self._consumer.measured, self._shard.name)
            put_table(self._folder, name, table)
            self._files.append(name)
        return {"files": self._files}

    def _put_texts(self) -> int:
        """Leave the texts of documents that may be held out beside the kept ids; says how many."""
        if not self._texts:
            return 0
        rows = np.concatenate([rows for rows, _ in self._texts])
        texts = pa.concat_arrays([texts for _, texts in self._texts])
        table = pa.table({"row": pa.array(rows), "text": texts})
        put_table(self._folder, f"{self._stem}.texts.parquet", table, compression="zstd")
        return len(rows)


def check_some(encoder: Encoder, texts: pa.Array, origins: Sequence[str], *, seed: int) -> None:
    """Compare the fast tokenizer with the reference on a keyed 1 in 1,000 documents; a difference stops the run."""
    some = np.flatnonzero(document_key(origins, seed=seed, purpose="check") < np.uint64((1 << 64) // 1000))
    if len(some):
        encoder.check(texts.take(pa.array(some)), names=[origins[i] for i in some.tolist()])
