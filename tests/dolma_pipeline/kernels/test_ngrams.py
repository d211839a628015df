"""The search for n-grams against a plain Python twin: words, coverage, runs, whole views, and where they stand."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.documents import Batch
from dolma_pipeline.kernels.ngram_table import MOST_VIEWS, PREFIX, hashed_words, make_table
from dolma_pipeline.kernels.ngrams import MOST_PLACES, find_matches

UNSPACED = "漢字日本の"


class Match(NamedTuple):
    """What a text and an item have in common. places: as bytes of the text."""

    coverage: float
    run: int
    ngrams: int
    whole: int
    places: list[tuple[int, int]]


def words_of(text: str) -> list[tuple[str, int, int]]:
    """Folded words with first byte, and the byte behind; a letter of UNSPACED is one."""
    found = []
    for match in re.finditer(rf"[{UNSPACED}]|[^\W{UNSPACED}]+", text):
        start = len(text[: match.start()].encode())
        found.append(("".join(c.lower() for c in match[0]), start, start + len(match[0].encode())))
    return found


def united(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def oracle(text: str, items: list[list[str]], n: int) -> dict[int, Match]:
    """Of one text: item -> what it has of any of the item's views."""
    placed = words_of(text)
    words = [word for word, _, _ in placed]
    of_gram: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    views = [(item, [w for w, _, _ in words_of(view)]) for item, own in enumerate(items) for view in own]
    for number, (_, view) in enumerate(views):
        for at in range(len(view) - n + 1):
            of_gram[*view[at : at + n]].append((number, at))
    stock = {gram for gram, places in of_gram.items() if len({view for view, _ in places}) > MOST_VIEWS}
    best: dict[int, list[Match]] = defaultdict(list)
    for number, (item, view) in enumerate(views):
        hits: list[tuple[int, int]] = []
        if PREFIX <= len(view) < n:
            at = [i for i in range(len(words) - len(view) + 1) if words[i : i + len(view)] == view]
            if at:
                best[item].append(Match(0, 0, 0, len(view), [(i, i + len(view)) for i in at]))
            continue
        runs: dict[tuple[int, int], int] = {}
        places: dict[int, set[int]] = defaultdict(set)
        for i in range(len(words) - n + 1):
            gram = tuple(words[i : i + n])
            own = [] if gram in stock else [at for view_, at in of_gram.get(gram, ()) if view_ == number]
            if own:
                hits.append((i, i + n))
                places[0].update(own)
            for at in own[:MOST_PLACES]:
                runs[i, at] = runs.get((i - 1, at - 1), 0) + 1
        if hits:
            covered = {word for at in places[0] for word in range(at, at + n)}
            can = {
                word
                for at in range(len(view) - n + 1)
                if tuple(view[at : at + n]) not in stock
                for word in range(at, at + n)
            }
            best[item].append(Match(len(covered) / len(can), max(runs.values()) + n - 1, len(places[0]), 0, hits))
    return {
        item: Match(
            *(max(getattr(one, name) for one in found) for name in ("coverage", "run", "ngrams", "whole")),
            [(placed[a][1], placed[b - 1][2]) for a, b in united([place for one in found for place in one.places])],
        )
        for item, found in best.items()
    }


def search(texts: list[str], items: list[list[str]], n: int) -> list[dict[int, Match]]:
    """What the kernels find of each text."""
    views = [view for own in items for view in own]
    item_of = np.array([item for item, own in enumerate(items) for _ in own], np.int32)
    table = make_table(hashed_words(Batch.of(views).text), item_of, ngram=n)
    batch = Batch.of(texts)
    found = find_matches(batch.text, table, ngram=n, num_items=len(items))
    out: list[dict[int, Match]] = [{} for _ in texts]
    assert list(zip(found.rows.tolist(), found.items.tolist(), strict=True)) == sorted(
        zip(found.rows.tolist(), found.items.tolist(), strict=True)
    )
    for k, (row, item) in enumerate(zip(found.rows.tolist(), found.items.tolist(), strict=True)):
        first = int(batch.text.offsets[row])
        spans = slice(found.bounds[k], found.bounds[k + 1])
        places = zip((found.starts[spans] - first).tolist(), (found.ends[spans] - first).tolist(), strict=True)
        numbers = (found.coverage[k], found.runs[k], found.ngrams[k], found.wholes[k])
        out[row][item] = Match(*(number.item() for number in numbers), list(places))
    return out


FEW = st.sampled_from(["a", "B", "b", "the", "The", "ÄÖ", "äö", "漢", "字", "seven77", "sixteencharacters"])
GAPS = st.sampled_from([" ", ", ", "\n", " - ", "…", "\u00a0"])
PROSE = st.lists(st.tuples(FEW, GAPS), max_size=40).map(lambda pairs: "".join(w + g for w, g in pairs))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(PROSE, min_size=1, max_size=4),
    st.lists(st.lists(PROSE, min_size=1, max_size=3), min_size=1, max_size=5),
    st.sampled_from([5, 6, 8, 13]),
)
def test_equals_the_twin(texts: list[str], items: list[list[str]], n: int) -> None:
    texts = [*texts, f"x {items[0][0]} {items[-1][-1]} y"]
    assert search(texts, items, n) == [oracle(text, items, n) for text in texts]


def test_a_view_that_stands_whole_is_covered_and_is_one_run() -> None:
    item = "Which of these is the largest organ of the human body, if it is measured by weight?"
    (found,) = search([f"Quiz: {item.upper()} The skin."], [[item]], 13)
    assert found[0][:4] == (1.0, 17, 5, 0)
    start, end = found[0].places[0]
    assert f"Quiz: {item.upper()} The skin.".encode()[start:end].decode() == item.upper().rstrip("?")


def test_a_run_stays_on_one_diagonal() -> None:
    item = " ".join(f"w{i}" for i in range(20))
    text = " ".join([*(f"w{i}" for i in range(9)), "other", *(f"w{i}" for i in range(9, 20))])
    (found,) = search([text], [[item]], 8)
    assert found[0] == Match(1.0, 11, 6, 0, found[0].places)
    assert len(found[0].places) == 2


@pytest.mark.parametrize("length", [4, 5, 12, 13])
def test_short_views_are_found_whole_and_the_shortest_not_at_all(length: int) -> None:
    item = " ".join(f"w{i}" for i in range(length))
    whole, cut = search([f"so {item} it is", "so " + item.rpartition(" ")[0]], [[item]], 13)
    assert cut == {}
    assert {item: (m.run, m.whole) for item, m in whole.items()} == (
        {} if length < PREFIX else {0: (0, length) if length < 13 else (13, 0)}
    )


def test_stock_phrases_of_many_views_are_not_looked_for() -> None:
    phrase = "the following are questions with several answers of which"
    items = [[f"{phrase} only w{i} x{i} y{i} z{i} is right and true"] for i in range(MOST_VIEWS + 1)]
    texts = [phrase, f"{items[7][0]}", "of which only w9 x9 y9 z9 is"]
    found = search(texts, items, 8)
    assert found == [oracle(text, items, 8) for text in texts]
    assert [list(one) for one in found] == [[], [7], [9]]
    assert found[1][7].coverage == 1.0
    assert list(search([phrase], items[1:], 8)[0]) == list(range(MOST_VIEWS)), "one view fewer, and it is looked for"


def test_a_view_of_one_repeated_word_takes_no_time_squared() -> None:
    (found,) = search(["a " * 3000], [["a " * 3000]], 5)
    assert found[0][:3] == (1.0, MOST_PLACES + 4, 2996)


def test_many_items_in_one_text_and_texts_without_words() -> None:
    items = [[f"item number {i} has these words and no others in it at all ok"] for i in range(300)]
    dump = "\n".join(views[0] for views in reversed(items))
    empty, found, nothing = search(["", dump, "…"], items, 13)
    assert empty == nothing == {}
    assert [(item, match.coverage) for item, match in found.items()] == [(i, 1.0) for i in range(300)]


def test_no_views_at_all_find_nothing() -> None:
    assert search(["some text of a few words, more than five"], [["too short"]], 13) == [{}]
