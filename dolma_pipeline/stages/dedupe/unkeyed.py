"""Documents without a key of a step, which always stay: counted by source, and told where they are too many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dolma_pipeline.config.recipe import DedupeStepConfig
from dolma_pipeline.errors import DataError
from dolma_pipeline.run.phase import Record
from dolma_pipeline.run.run import Run
from dolma_pipeline.run.shards import indexed
from dolma_pipeline.stages.dedupe.kinds import kind_of

MOST = 0.5
"""Share of a source's documents without a key from which on it is warned of."""


def unkeyed(run: Run, step: DedupeStepConfig, records: Iterable[Record]) -> dict[str, Any]:
    """What the manifest of a step says of documents without a key: `without_key` by source, and `warnings`.

    Args:
        records: of the phase that read the keys, `more.without` of some of them: source -> documents.

    Raises:
        DataError: no document has a key.
    """
    documents: dict[str, int] = {}
    for shard in indexed(run):
        documents[shard.source] = documents.get(shard.source, 0) + shard.rows
    without = dict.fromkeys(documents, 0)
    for record in records:
        for source, count in record["more"].get("without", {}).items():
            without[source] += count
    if sum(documents.values()) == sum(without.values()) > 0:
        raise DataError(kind_of(step).nothing(run, step))
    found: dict[str, Any] = {"without_key": without}
    if told := [_told(step, source, documents[source], count) for source, count in _many(documents, without)]:
        found["warnings"] = told
    return found


def _many(documents: Mapping[str, int], without: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(source, count) for source, count in without.items() if count > MOST * documents[source]]


def _told(step: DedupeStepConfig, source: str, documents: int, without: int) -> str:
    what = f"key `{step.key}`" if step.kind == "exact" else "signature"
    return (
        f"{without:,} of {documents:,} documents of source '{source}' have no {what}: they are compared with nothing, "
        "and stay."
    )
