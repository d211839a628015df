"""tag: numbers and spans for each document, beside it; nothing is dropped.

One pass over a shard for all taggers that have not done it yet: they share the batch's tables.
A document on which a tagger fails is a null row of that tagger and a line in failed/tag/.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from dolma_pipeline.io.attributes import attribute_writer
from dolma_pipeline.io.jsonl import Failure
from dolma_pipeline.io.manifest import Records, output_record
from dolma_pipeline.stages.context import Failures
from dolma_pipeline.stages.step import Step, Task


@dataclass(frozen=True)
class TagStep(Step):
    """Tag all shards with the taggers of the recipe whose attributes are the units; closes them."""

    @property
    def name(self) -> str:
        """`tag`."""
        return "tag"

    def all_tasks(self) -> list[Task]:
        """The shards; done is one when every tagger has done it."""
        return [Task(s.name, s.bytes) for s in self.context.shards()]

    def leaves(self, task: Task) -> list[tuple[Records, str]]:
        """A record in each unit."""
        return [(self.context.records(unit.name), task.key) for unit in self.units]

    def _missing(self, shard: str) -> list[str]:
        labels = [unit.name.split("/")[1] for unit in self.units]
        return [label for label in labels if not self.context.records(f"attributes/{label}").has(shard)]

    def work(self, task: Task) -> None:
        """Tag one shard with every tagger that has not done it."""
        context, shard = self.context, self.context.shard(task.key)
        config = context.recipe.tag
        assert config is not None
        missing = self._missing(shard.name)
        taggers = [context.tagger(use) for use in config.taggers if use.name in missing]
        failures = Failures(context, "tag", shard)
        failed_rows = dict.fromkeys(missing, 0)
        documents = num_bytes = 0
        outputs = {t.label: context.attribute_path(t.label, shard.name, format=config.format) for t in taggers}
        reader = context.read(shard, failures)
        with ExitStack() as stack:
            writers = [stack.enter_context(attribute_writer(outputs[t.label], t.label, t.type)) for t in taggers]
            for batch in reader:
                for tagger, writer in zip(taggers, writers, strict=True):
                    column, row_failures = tagger.attributes(batch)
                    writer.write(column, batch)
                    failed_rows[tagger.label] += len(row_failures)
                    ids = batch.table.column("id")
                    for failure in row_failures:
                        failures.add(
                            Failure(
                                shard.path,
                                f"{tagger.label}: {failure.reason}",
                                line=int(batch.locs[failure.row]),
                                row=batch.first_row + failure.row,
                                id=ids[failure.row].as_py(),
                            )
                        )
                size = int(batch.text.offsets[-1] - batch.text.offsets[0])
                documents, num_bytes = documents + len(batch), num_bytes + size
                self.progress(len(batch), size)
        failures.commit(others=[use.name for use in config.taggers if use.name not in missing])
        unread = len(failures) - sum(failed_rows.values())
        for label in missing:
            folder = context.attribute_folder(label)
            record: dict[str, Any] = {
                "inputs": [{"path": shard.path, "bytes": shard.bytes, "sha256": reader.sha256}],
                "outputs": [output_record(folder, outputs[label], rows=documents)],
                "counts": {
                    "in": documents + unread,
                    "kept": documents - failed_rows[label],
                    "dropped": 0,
                    "failed": unread + failed_rows[label],
                    "bytes_in": num_bytes,
                },
            }
            context.records(f"attributes/{label}").write(shard.name, record)

    def close(self) -> None:
        """Write the manifests."""
        shards = [shard.name for shard in self.context.shards()]
        for unit in self.units:
            self.context.records(unit.name).finish(unit.manifest_fields(self.context), expected=shards)
