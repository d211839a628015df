"""Duplicates as the run found them, and who stays of them if other documents pass: buckets are read, elections held.

Buckets, clusters and sets come from text alone, so another rule means another election, with the comparisons that it
asks for, and no text. Kept in the table, once: the place of each such document in the order of `dedupe.prefer`.
Cost: 0.4 us a document of a step's clusters, ~5 us one of its buckets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dolma_pipeline.dedup.stars import Compare
from dolma_pipeline.io.tables import get_table, put_table
from dolma_pipeline.look.columns import Columns
from dolma_pipeline.look.folder import Finished
from dolma_pipeline.look.groups import stored_of
from dolma_pipeline.look.remembered import kept_verdicts, stored_election
from dolma_pipeline.look.table import FORMAT, KIND
from dolma_pipeline.run import layout
from dolma_pipeline.run.artifact import digest
from dolma_pipeline.sql import Order
from dolma_pipeline.sql.columns import rule_schema
from dolma_pipeline.stages.dedupe.candidates import SOURCE_PLACE, preferred_places
from dolma_pipeline.stages.dedupe.elect import comparing, members_of
from dolma_pipeline.stages.dedupe.election import Elected, Members, elections, nodes_of
from dolma_pipeline.stages.dedupe.likeness import Known
from dolma_pipeline.stages.dedupe.steps import electing_steps
from dolma_pipeline.stages.reads import given_reads
from dolma_pipeline.stages.rules import prefer_columns, preferred


@dataclass(frozen=True)
class Clusters:
    """The documents that dedupe steps may take away, by number.

    members: step -> what it knows; in the order of the steps. nodes: of any step, ascending. place: of each of them in
    the preferred order. compare: step -> how like its documents are. stored: step -> what its column says, where that
    is no election over all documents (`look.remembered`).
    """

    members: Mapping[str, Members]
    nodes: NDArray[np.int64]
    place: NDArray[np.int64]
    compare: Mapping[str, Compare]
    stored: dict[str, Elected] = field(default_factory=dict)
    _held: dict[bytes, dict[str, Elected]] = field(default_factory=dict)

    @classmethod
    def of(cls, finished: Finished, columns: Mapping[str, Columns]) -> Clusters:
        """Those of a run; columns: of its sources."""
        run = finished.run
        steps = [step.name for step in electing_steps(run.recipe)]
        if not steps:
            nothing = np.zeros(0, np.int64)
            return cls({}, nothing, nothing, {})
        members = members_of(run)
        name = layout.cache(KIND, digest(_made_from(finished, steps)), "places.parquet")
        if run.folder.stat(name) is None:
            put_table(run.folder, name, _places(finished, columns, members))
        table = get_table(run.folder, name)
        nodes, place = (table.column(name).to_numpy() for name in ("node", "place"))
        compare = {step: remembering(one) for step, one in comparing(run, {}).items()}
        stored = stored_election(finished, nodes) if kept_verdicts(finished) else {}
        return cls(members, nodes, place, compare, stored)

    def elected(self, passes: NDArray[np.bool_]) -> dict[str, Elected]:
        """Who stays, step by step, if these documents pass; passes: bool of all documents, by number."""
        if self.stored:  # other rules before duplicates are refused there
            return self.stored
        some = passes[self.nodes]
        key = np.packbits(some).tobytes()
        if key not in self._held:
            self._held[key] = dict(elections(self.members, self.nodes, some, self.place, self.compare))
        return self._held[key]

    def held_keys(self, own: NDArray[np.uint64], passes: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """Held-out keys of all documents, by number: those of a group have that of its first document.

        Args:
            own: of each document by its own origin. passes: the early rules, bool of all documents.
        """
        if not self.members:
            return own
        last = [*self.elected(passes).values()][-1]
        found = own.copy()
        found[last.group_nodes] = own[last.group_labels]
        return found


def remembering(compare: Compare) -> Compare:
    """The same, but a pair is compared once: elections under two sets of rules ask for nearly the same pairs."""
    known = Known()

    def like(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
        nonlocal known
        found, new = known.fill(left, right)
        if len(new):
            found[new] = compare(left[new], right[new])
            known = known.joined(left[new], right[new], found[new])
        return found

    return like


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
    members: Mapping[str, Members],
) -> pa.Table:
    nodes = nodes_of(members)
    recipe, parts = finished.run.recipe, []
    for source in finished.sources.values():
        lo, hi = np.searchsorted(nodes, [source.first, source.first + source.rows])
        found = {"node": pa.array(nodes[lo:hi])}
        found["passes"] = pa.repeat(pa.scalar(True), hi - lo)
        found[SOURCE_PLACE] = pa.repeat(pa.scalar(list(recipe.sources).index(source.name), pa.int32()), hi - lo)
        terms = _terms(finished, columns[source.name], nodes[lo:hi] - source.first)
        parts.append(pa.table({**found, **dict(zip(terms.column_names, terms.columns, strict=True))}))
    place = preferred_places(finished.process, pa.concat_tables(parts))
    return pa.table({"node": nodes, "place": place})


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
