"""Who stays of near-duplicates: a document goes only for one that stays and was found to be like it.

In each bucket the first living document in the order is the leader, and every other one is compared with it alone:
linear, however large a bucket is. A document goes if one of the leaders that it is like is there. That is final; whom
another one went for (an anchor) never goes. Where a leader went, the next one leads, round by round, until none goes.
Documents of the same words are one: the first of them stands for all, and they follow it.
Candidates come first in the order, and none but they lead, so nothing goes for a document that the rules drop.
Where earlier documents keep their verdicts, those that stay come before all others and are anchors from the start, and
those that went lead nobody; what is new is compared with them, and they with nobody.
Cost: ~4 us a document of the buckets beside the comparisons; ~60 bytes a document and 24 an entry of a bucket.
Source: the greedy cover is that of Manku, Jain and Sarma 2007, Detecting near-duplicates for web crawling, without its
closure; stars around leaders are those of Broder et al. 1997.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dolma_pipeline.dedup.settled import Settled, nothing_settled
from dolma_pipeline.errors import DataError, MisalignedError

MOST_ROUNDS = 8
"""After so many rounds the election ends, and says so; worst data that was made up for it needed 5."""

Compare = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
"""Leaders and members, int64[k] each -> how like they are, float64[k]; NaN where an estimate was far too low."""


class Stars(NamedTuple):
    """The outcome for n documents.

    keeper (int64): whom each went for, itself if it stays. jaccard (float64): how like that one it is; 1 if it stays.
    left, right (int64[k]): documents that were found to be alike, or have the same words.
    rounds: that took documents away. stopped: the last allowed round took some, so another one might have.
    """

    keeper: NDArray[np.int64]
    jaccard: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    rounds: int
    stopped: bool


def ranks(candidate: NDArray[np.bool_], place: NDArray[np.int64], settled: Settled | None = None) -> NDArray[np.int64]:
    """The place of each of n documents when candidates come first, of these and of the others those that were judged
    before, first of them those that stay, then the preferred order: int64[n], 0 to n - 1."""
    found = np.empty(len(place), np.int64)
    keys = (place, ~candidate) if settled is None else (place, settled.gone, ~settled.old, ~candidate)
    found[np.lexsort(keys)] = np.arange(len(place))
    return found


def firsts_of(home: NDArray[np.int64], rank: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which document stands for those of each one's words: the first by rank; int64[n]."""
    order = np.argsort(rank)[::-1]
    first = np.empty(len(home), np.int64)
    first[home[order]] = order  # of several the last one counts
    return first[home]


def leading_pairs(
    bucket: NDArray[np.int64], rank: NDArray[np.int64], num_candidates: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The leader of each entry's bucket, and the entries that are to be compared with it.

    Args:
        bucket, rank: of each entry, sorted by both. num_candidates: ranks below are those of candidates.

    Returns:
        leader: int64[k], the smallest rank of the bucket.
        wanted: int64[m], numbers of entries that are not the leader, in buckets whose leader is a candidate.
    """
    opens = np.flatnonzero(np.diff(bucket, prepend=-1))
    leader = np.repeat(rank[opens], np.diff(opens, append=len(bucket)))
    return leader, np.flatnonzero((leader < num_candidates) & (leader != rank))


def elect_stars(
    home: NDArray[np.int64],
    bucket: NDArray[np.int64],
    member: NDArray[np.int64],
    *,
    candidate: NDArray[np.bool_],
    place: NDArray[np.int64],
    compare: Compare,
    threshold: float,
    settled: Settled | None = None,
) -> Stars:
    """Elects who stays of n documents.

    Args:
        home: the document that has the sets of each one's words, itself if it is alone: int64[n].
        bucket, member: entries of buckets, int64[k]; members are homes.
        candidate: bool[n], whether a document may stay for others. place: in the preferred order, no two the same.
        compare: how like homes are; asked of each pair once.
        threshold: likeness from which on a document may go.
        settled: what was decided before and stays as it is.

    Raises:
        MisalignedError: columns of different lengths.
    """
    from dolma_pipeline.kernels import sets

    if not len(home) == len(candidate) == len(place) or len(bucket) != len(member):
        raise MisalignedError(
            f"{len(home)} documents, {len(candidate)} candidates, an order of {len(place)}; {len(bucket)} buckets of "
            f"{len(member)} entries: they must be of the same rows."
        )
    settled = settled or nothing_settled(len(home))
    n, num_candidates = len(home), int(candidate.sum())
    rank = ranks(candidate, place, settled)
    of_rank = np.argsort(rank)
    first = firsts_of(home, rank)
    gone = settled.gone
    alive, anchor = ~gone[of_rank], settled.old[of_rank]
    keeper, credit = np.arange(n), np.ones(n)  # by rank
    keeper[rank[gone]], credit[rank[gone]] = rank[settled.keeper[gone]], settled.jaccard[gone]
    entries = rank[first[member]]
    bucket, entries = bucket[alive[entries]], entries[alive[entries]]
    order = np.lexsort((entries, bucket))
    bucket, entries = np.unique(bucket[order], return_inverse=True)[1], entries[order]
    led = np.full(int(bucket[-1]) + 1 if len(bucket) else 0, -1, np.int64)  # who led each bucket in the last round
    tried = np.zeros(0, np.int64)
    edges = [np.zeros((0, 2), np.int64)]
    open_leader, open_member, open_likeness = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    rounds, stopped = 0, False
    for number in range(1, MOST_ROUNDS + 1):
        leader, wanted = leading_pairs(bucket, entries, num_candidates)
        wanted = wanted[(led[bucket[wanted]] != leader[wanted]) & ~anchor[entries[wanted]]]
        led[bucket] = leader
        codes = _new(leader[wanted] * n + entries[wanted], tried)
        if len(codes) == 0:
            break
        tried = np.sort(np.concatenate([tried, codes]))
        leaders, members = codes // n, codes % n
        likeness = compare(home[of_rank[leaders]], home[of_rank[members]])
        alike = likeness >= threshold  # NaN is not
        edges.append(np.stack([leaders[alike], members[alike]], axis=1))
        open_leader = np.concatenate([open_leader, leaders[alike]])
        open_member = np.concatenate([open_member, members[alike]])
        open_likeness = np.concatenate([open_likeness, likeness[alike]])
        by_member = np.lexsort((open_leader, open_member))
        open_leader, open_member = open_leader[by_member], open_member[by_member]
        open_likeness = open_likeness[by_member]
        went = sets.elect(
            open_member, open_leader, open_likeness, alive=alive, anchor=anchor, keeper=keeper, credit=credit
        )
        if went == 0:
            break
        rounds, stopped = number, number == MOST_ROUNDS
        some = alive[open_leader] & alive[open_member] & ~anchor[open_member]
        open_leader, open_member, open_likeness = open_leader[some], open_member[some], open_likeness[some]
        living = alive[entries]
        bucket, entries = bucket[living], entries[living]
    mine = rank[first]
    found = of_rank[keeper[mine]]
    same_words = np.flatnonzero(alive[mine] & ~candidate[first])  # nobody stands for those of whom none may stay
    found[same_words] = same_words
    likeness = np.where(settled.old, settled.jaccard, credit[mine])
    found = np.where(settled.old, settled.keeper, found)
    pairs = of_rank[np.concatenate(edges)]
    others = np.flatnonzero(home != np.arange(n))
    left, right = np.concatenate([pairs[:, 0], home[others]]), np.concatenate([pairs[:, 1], others])
    return Stars(found, likeness, left, right, rounds, stopped)


def _new(codes: NDArray[np.int64], tried: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those that were not tried, each once, ascending; tried: ascending. Sorting is faster than `np.unique`."""
    ordered = np.sort(codes)
    found: NDArray[np.int64] = ordered[np.diff(ordered, prepend=-1) != 0]
    if len(tried):
        found = found[tried[np.minimum(np.searchsorted(tried, found), len(tried) - 1)] != found]
    return found


def stars_of(keeper: NDArray[np.int64], rank: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Size of each document's star and its place in it, 0 is the keeper: int64[n] each.

    Args:
        keeper: of each document, itself if it stays. rank: as `ranks` gives it.
    """
    order = np.lexsort((rank, keeper != np.arange(len(keeper)), keeper))
    opens = np.flatnonzero(np.diff(keeper[order], prepend=-1))
    sizes = np.diff(opens, append=len(keeper))
    size, within = np.empty(len(keeper), np.int64), np.empty(len(keeper), np.int64)
    size[order] = np.repeat(sizes, sizes)
    within[order] = np.arange(len(keeper)) - np.repeat(opens, sizes)
    return size, within


def check_stars(
    nodes: NDArray[np.int64],
    keeper: NDArray[np.int64],
    jaccard: NDArray[np.float64],
    *,
    candidate: NDArray[np.bool_],
    place: NDArray[np.int64],
    threshold: float,
    named: Callable[[int], str],
    old: NDArray[np.bool_] | None = None,
    guessed: NDArray[np.bool_] | None = None,
) -> None:
    """Everything that went must have a document that stays in its place.

    Args:
        nodes: documents by number, ascending, int64[n]. keeper: whom each went for, by number; itself if it stays.
        candidate, place: of each. named: the origin of a document by its number. old: of each, whether it was judged
            before; such a one comes before those that are new, and was held against the order of its own run then.
        guessed: of each, whether it went by estimate: its likeness is another matter (`jaccard` is NaN).

    Raises:
        DataError: one has not; names it and its keeper, and says what is wrong.
    """
    gone = np.flatnonzero(keeper != nodes)
    old = np.zeros(len(nodes), np.bool_) if old is None else old
    guessed = np.zeros(len(nodes), np.bool_) if guessed is None else guessed
    at = np.minimum(np.searchsorted(nodes, keeper[gone]), max(0, len(nodes) - 1))
    for wrong, what in (
        (nodes[at] != keeper[gone], "is not among the candidates"),
        (keeper[at] != nodes[at], "does not stay itself"),
        (~candidate[at], "does not pass the rules, or an earlier step dropped it"),
        (old[gone] & ~old[at], "is new, while it was judged before"),
        (candidate[gone] & ~old[at] & (place[at] >= place[gone]), "does not come earlier in the order of `prefer`"),
        (~(jaccard[gone] >= threshold) & ~guessed[gone], "is less like it than `threshold`"),
    ):
        if wrong.any():
            first = gone[int(np.argmax(wrong))]
            raise DataError(
                f"{named(int(nodes[first]))}: marked as a duplicate of {named(int(keeper[first]))} (likeness "
                f"{jaccard[first]:.4f}, threshold {threshold}), which {what}. This is a fault of the program: nothing "
                "that was marked in this step is to be relied on. Please report it."
            )
