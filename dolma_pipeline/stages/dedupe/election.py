"""The election of each dedupe step, in order, from columns alone; pure, so that a look asks the same with other rules.

Of a step whose copies are verified a document goes only for one that stays and is like it (`dedup.stars`). Of one
where equal keys make copies, the first candidate of each cluster stays (`dedup.keep`). Where earlier documents keep
their verdicts (`Earlier`), those that stay come first, and groups of them stay as they are: new documents join the
group of the first of them that they hang together with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.dedup.components import components, connected
from dolma_pipeline.dedup.keep import elect
from dolma_pipeline.dedup.settled import Settled, nothing_settled
from dolma_pipeline.dedup.stars import Compare, elect_stars, ranks, stars_of
from dolma_pipeline.io.tables import get_table
from dolma_pipeline.run import layout
from dolma_pipeline.run.run import Run
from dolma_pipeline.stages.dedupe.earlier import Earlier

Clusters = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Documents of a step that are in clusters, by number, ascending; and the label of each one's."""


@dataclass(frozen=True)
class Near:
    """A step whose copies are verified. Documents are by number.

    nodes: those in buckets, or of the same words as another one, ascending. home: the first of each one's words.
    bucket, member: entries of buckets, sorted; members are homes. threshold: likeness from which on one may go.
    """

    nodes: NDArray[np.int64]
    home: NDArray[np.int64]
    bucket: NDArray[np.int64]
    member: NDArray[np.int64]
    threshold: float


Members = Clusters | Near


def near_of(run: Run, step: str, threshold: float) -> Near:
    """What is kept of a step whose copies are verified."""
    members, buckets = get_table(run.folder, layout.members(step)), get_table(run.folder, layout.buckets(step))
    node, home = (members.column(name).to_numpy() for name in ("node", "home"))
    bucket, member = (buckets.column(name).to_numpy() for name in ("bucket", "member"))
    return Near(node, home, bucket, member, threshold)


def nodes_of(members: Mapping[str, Members]) -> NDArray[np.int64]:
    """Documents that any step may take away, ascending."""
    found = [one.nodes if isinstance(one, Near) else one[0] for one in members.values()]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *found]))


@dataclass(frozen=True)
class Elected:
    """The outcome of one step for the documents that it knows, by number.

    nodes (int64). size, rank (int64): documents of each one's cluster, and its place there. keep (bool). keeper
    (int64): whom it went for, or who comes first in its cluster. jaccard (float64): to that one.
    group_nodes, group_labels: what this step and the earlier ones connect, taken together.
    candidate (bool), place (int64): what the election saw; empty where the outcome was read from columns.
    rounds, stopped: of a step that is verified, as in `Stars`; else 0 and False.
    """

    nodes: NDArray[np.int64]
    size: NDArray[np.int64]
    rank: NDArray[np.int64]
    keep: NDArray[np.bool_]
    keeper: NDArray[np.int64]
    jaccard: NDArray[np.float64]
    group_nodes: NDArray[np.int64]
    group_labels: NDArray[np.int64]
    candidate: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    place: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    rounds: int = 0
    stopped: bool = False

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """What is written of it beside names: of each of its documents."""
        names = ("size", "rank", "keep", "jaccard", "keeper", "candidate", "place")
        return {"node": self.nodes, **{name: getattr(self, name) for name in names}}


def elections(
    members: Mapping[str, Members],
    nodes: NDArray[np.int64],
    passes: NDArray[np.bool_],
    place: NDArray[np.int64],
    compare: Mapping[str, Compare],
    earlier: Mapping[str, Earlier] | None = None,
) -> Iterator[tuple[str, Elected]]:
    """The election of each step, in order.

    Args:
        members: step -> what it knows; in the order of the steps.
        nodes: documents of any step, ascending. passes: bool. place: in the preferred order.
        compare: step -> how like its documents are, for steps that are verified.
        earlier: step -> what it has decided of earlier documents, which stands.
    """
    kept = np.ones(len(nodes), np.bool_)
    so_far: dict[str, Clusters] = {}
    for step, own in members.items():
        at = np.searchsorted(nodes, own.nodes if isinstance(own, Near) else own[0])
        candidate, own_place = passes[at] & kept[at], place[at]
        before = (earlier or {}).get(step)
        settled = before.at(nodes[at]) if before else nothing_settled(len(at))
        if isinstance(own, Near):
            found, so_far[step] = _stars(own, candidate, own_place, compare[step], settled)
        else:
            found, so_far[step] = _clusters(own, candidate, own_place, settled), own
        kept[at[~found["keep"]]] = False
        group_nodes = np.unique(np.concatenate([one for one, _ in so_far.values()]))
        group_labels = connected(so_far, group_nodes)
        if before:
            away = ~found["keep"] & ~settled.old
            went = nodes[at][away], found["keeper"][away]
            group_nodes, group_labels = grown((group_nodes, group_labels), went, before)
        yield (
            step,
            Elected(
                nodes[at],
                candidate=candidate,
                place=own_place,
                group_nodes=group_nodes,
                group_labels=group_labels,
                **found,
            ),
        )


def grown(groups: Clusters, went: Clusters, earlier: Earlier) -> Clusters:
    """Groups where those of earlier documents stay as they are: what hangs together with some of them joins the group
    of the first, or, if it went for one of them, the group of that one.

    A new document that stays is not like an earlier one that stays, else it would have gone for that one. So no two
    documents that stay and were found to be alike are in two groups.

    Args:
        groups: as they would be if none stood. went: new documents that went, ascending, and for whom.
    """
    nodes, labels = groups
    old = np.isin(nodes, earlier.nodes)
    found = labels.copy()
    if old.any():
        joined, firsts = np.unique(labels[old], return_index=True)
        group = earlier.group[np.searchsorted(earlier.nodes, nodes[old][firsts])]
        at = np.minimum(np.searchsorted(joined, labels), len(joined) - 1)
        found = np.where(joined[at] == labels, group[at], labels)
    for_old = np.isin(went[1], earlier.nodes)
    found[np.searchsorted(nodes, went[0][for_old])] = earlier.group[np.searchsorted(earlier.nodes, went[1][for_old])]
    own = earlier.group != earlier.nodes
    both = np.concatenate([nodes[~old], earlier.nodes[own]])
    order = np.argsort(both)
    return both[order], np.concatenate([found[~old], earlier.group[own]])[order]


def _stars(
    own: Near, candidate: NDArray[np.bool_], place: NDArray[np.int64], compare: Compare, settled: Settled
) -> tuple[dict[str, Any], Clusters]:
    """An election by verified edges, and the clusters that these make."""
    nodes = own.nodes
    stars = elect_stars(
        np.searchsorted(nodes, own.home),
        own.bucket,
        np.searchsorted(nodes, own.member),
        candidate=candidate,
        place=place,
        compare=lambda left, right: compare(nodes[left], nodes[right]),
        threshold=own.threshold,
        settled=settled,
    )
    size, rank = stars_of(stars.keeper, ranks(candidate, place, settled))
    connected_nodes, labels = components(np.stack([nodes[stars.left], nodes[stars.right]], axis=1))
    found = {
        "size": size,
        "rank": rank,
        "keep": stars.keeper == np.arange(len(nodes)),
        "keeper": nodes[stars.keeper],
        "jaccard": stars.jaccard,
        "rounds": stars.rounds,
        "stopped": stars.stopped,
    }
    return found, (connected_nodes, labels)


def _clusters(
    own: Clusters, candidate: NDArray[np.bool_], place: NDArray[np.int64], settled: Settled
) -> dict[str, Any]:
    """An election within clusters."""
    nodes, labels = own
    candidate = candidate & ~settled.gone
    elected = elect(labels, candidate, ranks(candidate, place, settled))
    keeper = nodes
    if len(nodes):
        firsts = np.flatnonzero(elected.rank == 0)
        firsts = firsts[np.argsort(labels[firsts])]
        keeper = nodes[firsts[np.searchsorted(labels[firsts], labels)]]
    return {
        "size": elected.size,
        "rank": elected.rank,
        "keep": np.where(settled.old, settled.keep, elected.keep),
        "keeper": np.where(settled.old, nodes[settled.keeper], keeper),
        "jaccard": np.ones(len(nodes)),
    }
