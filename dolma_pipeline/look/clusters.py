"""Duplicates as the run found them, and who stays of them if other documents pass: clusters are read, elections held.

Clusters come from text alone, so another rule means another election and nothing else. Kept in the table, once: the
place of each clustered document in the order of `dedupe.prefer`, and what all steps together connect with it.
Cost: 0.4 us a clustered document and step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.dedup.components import connected
from dolma_pipeline.dedup.keep import Election
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.look.columns import Columns
from dolma_pipeline.look.folder import Finished
from dolma_pipeline.look.groups import stored_of
from dolma_pipeline.look.table import FORMAT, KIND
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.sql import Order
from dolma_pipeline.sql.columns import rule_schema
from dolma_pipeline.stages.dedupe.elect import (
    SOURCE_PLACE,
    all_steps,
    members_of,
    preferred_places,
    ranked_members,
)
from dolma_pipeline.stages.reads import given_reads
from dolma_pipeline.stages.rules import prefer_columns, preferred


@dataclass(frozen=True)
class Clusters:
    """The documents in clusters, by number.

    members: step -> documents of its clusters, and labels; in the order of the steps. nodes: those of any step,
    ascending. place: of each of them in the preferred order. groups: the same number for all that the steps connect.
    """

    members: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
    nodes: NDArray[np.int64]
    place: NDArray[np.int64]
    groups: NDArray[np.int64]

    @classmethod
    def of(cls, finished: Finished, columns: Mapping[str, Columns]) -> Clusters:
        """Those of a run; columns: of its sources."""
        process, folder = finished.process, finished.run.folder
        steps = [step.name for step in all_steps(finished.run.recipe)]
        members = {step: members_of(process, step) for step in steps}
        if not steps:
            nothing = np.zeros(0, np.int64)
            return cls({}, nothing, nothing, nothing)
        name = layout.cache(KIND, digest(_made_from(finished, steps)), "places.parquet")
        if folder.stat(name) is None:
            put_table(folder, name, _places(finished, columns, members))
        table = get_table(folder, name)
        return cls(members, *(table.column(c).to_numpy() for c in ("node", "place", "group")))

    def elected(self, passes: NDArray[np.bool_]) -> dict[str, Election]:
        """Who stays, step by step, if these documents pass; passes: bool of all documents, by number."""
        return dict(ranked_members(self.members, self.nodes, passes[self.nodes], self.place))

    def groups_of(self, step: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Documents that this step or an earlier one connects with others, and the smallest number of each group."""
        steps = list(self.members)[: list(self.members).index(step) + 1]
        members = {one: self.members[one] for one in steps}
        nodes = np.unique(np.concatenate([own for own, _ in members.values()]))
        return nodes, connected(members, nodes)

    def held_keys(self, own: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Held-out keys of all documents, by number: those of a group have that of its first document.

        Args:
            own: of each document by its own origin.
        """
        found = own.copy()
        found[self.nodes] = own[self.groups]
        return found


def _made_from(finished: Finished, steps: Sequence[str]) -> list[Any]:
    """What places and groups depend on: not the rules."""
    recipe, columns = finished.run.recipe, prefer_columns(finished.process)
    assert recipe.dedupe is not None
    names = ["index", *(f"dedupe/{step}" for step in steps), *(f"attributes/{column}" for column in columns)]
    digests = [finished.artifacts[name].whole_digest for name in names if name in finished.artifacts]
    given = given_reads(finished.process, columns)
    return [FORMAT, digests, given, list(recipe.dedupe.prefer), list(recipe.sources), finished.run.shards_digest]


def _places(
    finished: Finished,
    columns: Mapping[str, Columns],
    members: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> pa.Table:
    nodes = np.unique(np.concatenate([own for own, _ in members.values()]))
    recipe, parts = finished.run.recipe, []
    for source in finished.sources.values():
        lo, hi = np.searchsorted(nodes, [source.first, source.first + source.rows])
        found = {"node": pa.array(nodes[lo:hi])}
        found["passes"] = pa.repeat(pa.scalar(True), hi - lo)
        found[SOURCE_PLACE] = pa.repeat(pa.scalar(list(recipe.sources).index(source.name), pa.int32()), hi - lo)
        terms = _terms(finished, columns[source.name], nodes[lo:hi] - source.first)
        parts.append(pa.table({**found, **dict(zip(terms.column_names, terms.columns, strict=True))}))
    place = preferred_places(finished.process, pa.concat_tables(parts))
    return pa.table({"node": nodes, "place": place, "group": connected(members, nodes)})


def _terms(finished: Finished, columns: Columns, rows: NDArray[np.int64]) -> pa.Table:
    """The terms of `dedupe.prefer` of some documents of a source; no columns where the recipe has none."""
    recipe = finished.run.recipe
    assert recipe.dedupe is not None
    if not recipe.dedupe.prefer or len(rows) == 0:
        bound = preferred(finished.process, columns.groups.source.name)
        return (bound.order.schema if bound is not None else pa.schema([])).empty_table()
    steps = {step.name for step in recipe.dedupe.steps}
    types = {name: type_ for name, type_ in columns.types.items() if name not in steps}
    stored = stored_of(types)
    order = Order(
        ", ".join(recipe.dedupe.prefer),
        rule_schema(types),
        place=recipe.place("dedupe.prefer"),
        counts=stored.counts,
        scores=stored.scores,
        max_memory_bytes=finished.run.sql_bytes,
    )
    parts, at = [], 0
    for chunk in columns.chunks(order.references(), order.needs_lists()):
        lo, hi = np.searchsorted(rows, [at, at + chunk.num_rows])
        parts.append(order.values(chunk.take(pa.array(rows[lo:hi] - at))))
        at += chunk.num_rows
    return pa.concat_tables(parts)
