"""What a mix chose, a file a shard: columns, edited documents, held-out documents.

Text is read only for documents whose edited text is not at hand: lines that were written while they were encoded,
texts that were kept because they might be held out, and, of a shard whose input is gone, what was written before.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.io.jsonl import LinesWriter
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.consumer import Consumer, Feed, Feeder, ShardRead
from dolma_pipeline.run.manifests import output_record
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.shards import ShardAt
from dolma_pipeline.stages import kept
from dolma_pipeline.stages.kept_texts import kept_texts, put_texts
from dolma_pipeline.stages.mix.lines import document_lines, index_columns, written_texts
from dolma_pipeline.stages.mix.measured import measured_name
from dolma_pipeline.stages.mix.plan import read_plan
from dolma_pipeline.stages.mixes import reading_of
from dolma_pipeline.stages.rules import mix_config, source_rules
from dolma_pipeline.stages.tokenizer import edited_texts
from dolma_pipeline.storage.folder import RunFolder


@dataclass(frozen=True)
class Writing(Consumer):
    """Writes `selected`, `documents` and `held_out` in the folder of a mix.

    Args:
        ids: digest of the kept ids, "" without a tokenizer. labels: attribute columns that edits read.
        documents: whether edited documents are written. mix: the name of the mix.
    """

    ids: str = ""
    labels: tuple[str, ...] = ()
    documents: bool = False
    mix: str = "mix"

    @property
    def name(self) -> str:
        """The mix's."""
        return self.mix

    @property
    def reading(self) -> str:
        """`write`; of other mixes `<mix>/write`."""
        return reading_of("write", self.mix)

    @property
    def needs(self) -> frozenset[str]:
        """The plan."""
        return frozenset({f"{self.mix}/plan"})

    @property
    def closes(self) -> bool:
        """No: a phase adds the plan to its manifest."""
        return False

    @property
    def makes(self) -> frozenset[str]:
        """The mark `<mix>/written`."""
        return frozenset({f"{self.mix}/written"})

    @property
    def columns(self) -> Mapping[str, frozenset[str] | None]:
        """What edits read."""
        return dict.fromkeys(self.labels)

    def start(self, process: Process, shard: ShardAt, stack: ExitStack) -> Feeder:
        """Begin a shard."""
        return _Writing(process, self, shard, stack)


class _Writing(Feeder):
    def __init__(self, process: Process, consumer: Writing, shard: ShardAt, stack: ExitStack) -> None:
        run = process.run
        self._process, self._consumer, self._shard = process, consumer, shard
        self._folder, self._mix, plan = run.folder, consumer.mix, read_plan(process, consumer.mix)
        self._chosen = get_table(run.folder, measured_name(run, consumer.artifact, shard.name))
        self._rows: NDArray[np.int64] = self._chosen.column("row").to_numpy()
        self._held = plan.is_held(shard.source, self._chosen.column("held_key").to_numpy())
        keys = self._chosen.column("key").to_numpy()
        self._copies = np.where(self._held, 0, plan.copies(shard.source, keys))
        self._files: list[_File] = []
        # What is opened last is committed first. When files are added, the bound of held-out documents may move some to
        # the others, never back: a run that is killed in between leaves their texts in both files, not in none.
        if mix_config(run.recipe, self._mix).held_out is not None:
            self._files.append(_File(self._folder, layout.held_out(shard.name, self._mix), self._held, stack))
        if consumer.documents:
            one = _File(self._folder, layout.documents(shard.name, self._mix), self._copies > 0, stack)
            self._files.insert(0, one)
        wanted = np.zeros(len(self._rows), np.bool_)
        for one in self._files:
            wanted |= one.wanted
        self._texts: dict[int, str] = {}
        self._place = kept.place_of(process, consumer.ids, shard) if consumer.ids and wanted.any() else ""
        if self._place:
            self._texts = kept_texts(run.folder, self._place, run.recipe.seed)
        if shard.gone:
            self._texts.update(written_texts(run, shard, self._mix))
        self._held_read: list[tuple[NDArray[np.int64], pa.Array]] = []
        self._unread = np.array([row for row in self._rows[wanted].tolist() if row not in self._texts], np.int64)
        self._rules = source_rules(process, shard.source, self._mix)
        self._columns: pa.Table | None = None
        self.wants_text = len(self._unread) > 0
        self.until = int(self._unread[-1]) + 1 if len(self._unread) else 0
        self._done = 0

    def add(self, feed: Feed) -> None:
        batch = feed.batch
        last = batch.first_row + len(batch)
        lo, hi = np.searchsorted(self._unread, [batch.first_row, last])
        rows = self._unread[lo:hi]
        if len(rows):
            texts = edited_texts(self._rules, feed, rows - batch.first_row)
            self._texts.update(zip(rows.tolist(), texts.to_pylist(), strict=True))
            held = self._held[np.searchsorted(self._rows, rows)]
            if self._place and held.any():
                self._held_read.append((rows[held], texts.filter(pa.array(held))))
        self._write(int(np.searchsorted(self._rows, last)))

    def _write(self, hi: int) -> None:
        """Append the lines of the chosen documents up to before number `hi`; their texts are let go."""
        lo, self._done = self._done, hi
        for one in self._files:
            at = np.flatnonzero(one.wanted[lo:hi]) + lo
            if len(at) == 0:
                continue
            rows = self._rows[at]
            if self._columns is None:
                self._columns = index_columns(self._process.run, self._shard)
            own = self._columns.take(pa.array(rows))
            lines = document_lines(
                self._process.run,
                self._shard,
                rows,
                [self._texts.pop(row) for row in rows.tolist()],
                {name: own.column(name).to_pylist() for name in own.column_names},
                clusters=self._chosen.column("cluster").take(pa.array(at)).to_pylist(),
                copies=np.maximum(self._copies[at], 1).tolist(),
                mix=self._mix,
            )
            one.writer.write(lines)

    def close(self, read: ShardRead) -> Mapping[str, Any]:
        while self._done < len(self._rows):  # those whose texts were kept
            self._write(min(self._done + 1000, len(self._rows)))
        if self._held_read:
            rows = np.concatenate([rows for rows, _ in self._held_read])
            texts = pa.concat_arrays([texts for _, texts in self._held_read])
            put_texts(self._folder, self._place, self._process.run.recipe.seed, rows, texts)
        shard, artifact = self._shard, self._consumer.artifact
        table = self._chosen.append_column("copies", pa.array(self._copies, pa.int64()))
        table = table.append_column("held", pa.array(self._held))
        name = layout.selected(shard.name, self._mix)
        outputs = [output_record(artifact, name, put_table(self._folder, name, table), rows=len(self._rows))]
        for one in self._files:
            one.writer.close()
            outputs.append(output_record(artifact, one.name, one.file, rows=int(one.wanted.sum())))
        tokens, sizes = (self._chosen.column(name).to_numpy() for name in ("tokens", "bytes"))
        edited = self._chosen.column("edited").to_numpy(zero_copy_only=False)
        return {
            "outputs": outputs,
            "counts": {
                "edited": int(edited.sum()),
                "tokens_kept": int(tokens.sum()),
                "held_out": int(self._held.sum()),
                "held_out_tokens": int(tokens[self._held].sum()),
                "chosen": int((self._copies > 0).sum()),
                "chosen_tokens": int((tokens * self._copies).sum()),
                "chosen_bytes": int((sizes * self._copies).sum()),
            },
        }


class _File:
    """A file of lines that is committed with the shard. wanted: which of the documents that pass go into it."""

    def __init__(self, folder: RunFolder, name: str, wanted: NDArray[np.bool_], stack: ExitStack) -> None:
        self.name, self.wanted = name, wanted
        self.file = stack.enter_context(folder.committing(name))
        self.writer = LinesWriter(self.file, "zst")
