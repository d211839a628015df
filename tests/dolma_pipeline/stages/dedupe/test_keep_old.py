"""`dedupe.keep: old`: batches of documents arrive, and what was decided of earlier ones stands."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.config import resolved
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.dedup.settled import nothing_settled
from dolma_pipeline.engines import Here
from dolma_pipeline.errors import ConfigError
from dolma_pipeline.run import layout, perform
from dolma_pipeline.run import shards as shards_module
from dolma_pipeline.run.artifact import Artifact
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner import run
from dolma_pipeline.runner.result import Result
from dolma_pipeline.stages.dedupe import likeness, verify
from dolma_pipeline.stages.dedupe.earlier import Earlier
from dolma_pipeline.stages.dedupe.election import Near, elections, grown
from dolma_pipeline.stages.dedupe.stage import refuse_to_remember
from dolma_pipeline.storage.folder import RunFolder, run_folder
from tests.dolma_pipeline.stages.dedupe.test_verified import family, jaccard, texts_of
from tests.dolma_pipeline.stages.small import rows, small_recipe, write_shards
from tests.pipeline.tiny import engine

Shards = Mapping[str, Sequence[dict[str, Any]]]

NEAR = {"name": "near", "kind": "minhash"}
STEPS = [{"name": "url", "kind": "exact", "key": "metadata->>'$.url'"}, NEAR]
WHERE = {"stars": "(metadata->>'$.stars')::INT >= 1", "unique": "url.keep AND near.keep"}


def recipe(keep: str = "old", **more: Any) -> dict[str, Any]:
    dedupe = {"prefer": "(metadata->>'$.stars')::INT DESC", "steps": STEPS, "keep": keep}
    return {"dedupe": {**dedupe, **more}, "mix": {"where": WHERE, "held_out": {"share": 0.2}, "documents": True}}


PLAIN = {**recipe(), "mix": {"where": WHERE}}


def batches() -> list[Shards]:
    """Three batches of relatives of each other, with shards that sort before and behind earlier ones."""
    rng = random.Random(17)
    documents = [{"text": text, "metadata": {"stars": rng.randrange(4), "url": f"u{rng.randrange(70)}"}}
                 for _ in range(9) for text in family(rng)]  # fmt: skip
    documents += [{"text": one["text"].upper(), "metadata": {"stars": 3, "url": None}} for one in documents[::9]]
    rng.shuffle(documents)
    for i, one in enumerate(documents):
        one["id"] = f"d{i}"
    cut = [documents[i::6] for i in range(6)]
    return [
        {"web/d": cut[0], "code/m": cut[1]},
        {"web/a": cut[2], "web/h": cut[3]},
        {"code/a": cut[4], "web/e": cut[5]},
    ]


BATCHES = batches()
TEXTS = {origin: text for batch in BATCHES for origin, text in texts_of(batch).items()}
STARS = {f"{s}#{i}": one["metadata"]["stars"] for b in BATCHES for s, some in b.items() for i, one in enumerate(some)}


def new_output() -> str:
    return f"memory://{secrets.token_hex(8)}"


def launch(
    folder: Path, output: str, settings: Mapping[str, Any], *, how: Here | None = None, **options: Any
) -> Result:
    found = small_recipe(folder, ["web", "code"], **settings)
    with engine(how or Here()):
        return run(replace(found, output=output), quiet=True, **options)


def batched(
    folder: Path, count: int, settings: Mapping[str, Any] | None = None, *, how: Here | None = None
) -> RunFolder:
    """A folder to which batches came one by one."""
    output = new_output()
    for batch in BATCHES[:count]:
        write_shards(folder, batch)
        launch(folder, output, settings or recipe(), how=how)
    return run_folder(output)


def promised(folder: RunFolder) -> dict[str, bytes]:
    names = [e.name for e in folder.list() if e.name.split("/")[0] not in layout.UNPROMISED]
    return {name: folder.read(name) for name in names}


def columns(folder: RunFolder, shards: Shards, step: str = "near") -> dict[str, dict[str, Any]]:
    own = Run(None, folder, ())  # type: ignore[arg-type]
    return {f"{shard}#{i}": row[step] for shard in shards
            for i, row in enumerate(rows(own, f"attributes/{step}/{shard}.parquet"))}  # fmt: skip


def test_what_was_decided_stands_and_what_went_has_a_copy_that_stays(tmp_path: Path) -> None:
    output = new_output()
    before: dict[str, bytes] = {}
    seen: dict[str, Sequence[dict[str, Any]]] = {}
    for number, batch in enumerate(BATCHES):
        write_shards(tmp_path, batch)
        launch(tmp_path, output, recipe())
        folder = run_folder(output)
        after = {e.name: folder.read(e.name) for e in folder.list("attributes") if e.name.endswith(".parquet")}
        assert {name: after[name] for name in before} == before, "files of earlier shards are as they were"
        assert (len(before) > 0) == (number > 0)
        before, old = after, {*texts_of(seen)}
        seen |= batch
        url, near = (columns(folder, seen, step) for step in ("url", "near"))
        gone = {origin: one for origin, one in near.items() if not one["keep"]}
        fresh = [origin for origin in gone if origin not in old]
        assert len(fresh) >= 4
        for origin, one in gone.items():
            keeper = one["cluster"]
            assert near[keeper]["keep"]
            assert url[keeper]["keep"]
            assert STARS[keeper] >= 1
            assert one["jaccard"] == jaccard(TEXTS[origin], TEXTS[keeper]) >= 0.8
            assert one["group"] == near[keeper]["group"]
        if number:
            assert any(
                STARS[gone[origin]["cluster"]] < STARS[origin] for origin in fresh if gone[origin]["cluster"] in old
            )
            assert any(gone[origin]["cluster"] not in old for origin in fresh)


def test_the_first_run_is_an_election(tmp_path: Path) -> None:
    """Nothing is old then, so that the files are those of a run that elects, and a switch changes nothing."""
    write_shards(tmp_path, BATCHES[0])
    folders = []
    for keep in ("old", "elect"):
        output = new_output()
        launch(tmp_path, output, recipe(keep))
        folders.append(promised(run_folder(output)))
        other = {"old": "elect", "elect": "old"}[keep]
        assert launch(tmp_path, output, recipe(other)).nothing_to_do
    assert folders[0] == folders[1]


def test_the_same_bytes_in_small_pieces_shuffled_and_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = promised(batched(tmp_path / "whole", 2, PLAIN))
    monkeypatch.setattr("dolma_pipeline.stages.dedupe.edges.BYTES_A_ROW", 4_000_000_000 // 61)
    monkeypatch.setattr(verify, "PAIRS_A_TASK", 3)
    monkeypatch.setattr(likeness, "PAIRS", 5)
    monkeypatch.setattr(shards_module, "BLOCK_SHARDS", 1)
    assert promised(batched(tmp_path / "small", 2, PLAIN, how=Here(seed=1, repeated=0.5, again=True))) == expected


class Killed(BaseException):
    """A run's death."""


@dataclass(frozen=True)
class KilledAfter(Here):
    """The loop, killed when so many tasks are done."""

    tasks: int = 0

    def loop(self, run: Run, phases: Sequence[Any], **more: Any) -> None:
        """See `Here`."""
        left, real = self.tasks, perform.work

        def work(*args: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return real(*args, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(perform, "work", work)
            super().loop(run, phases, **more)


def tasks_of(folder: RunFolder) -> list[str]:
    """The phases of the tasks of a folder's last run, in their order."""
    events = [json.loads(line) for line in folder.read("log/events.jsonl").splitlines()]
    return [event["step"] for event in events if event["event"] == "task"]


def copy_of(output: str) -> str:
    before, after = run_folder(output), new_output()
    for entry in before.list():
        run_folder(after).write(entry.name, before.read(entry.name))
    return after


@pytest.mark.parametrize("more", [0, 1])
def test_killed_within_a_growth(tmp_path: Path, more: int) -> None:
    """The same bytes, whether the same command goes on or still other files have come by then; what the killed run had
    decided of new documents is not taken for old."""
    start = new_output()
    write_shards(tmp_path, BATCHES[0])
    launch(tmp_path, start, PLAIN)
    write_shards(tmp_path, BATCHES[1])
    whole = copy_of(start)
    launch(tmp_path, whole, PLAIN)
    steps = tasks_of(run_folder(whole))[len(tasks_of(run_folder(start))) :]
    after = [steps.index(step) + 1 for step in ("dedupe/candidates", "dedupe/elect", "dedupe/write")]
    after = [*after, len(steps) - 1][-2 if more else 0 :]  # with other files by then, verdicts must have been written
    killed = []
    for tasks in after:
        killed.append(copy_of(start))
        with pytest.raises(Killed):
            launch(tmp_path, killed[-1], PLAIN, how=KilledAfter(tasks=tasks))
    closed = whole  # the column was finished, so that what is in it stands
    if more:
        write_shards(tmp_path, BATCHES[2])
        whole = copy_of(start)
        launch(tmp_path, closed, PLAIN)
        launch(tmp_path, whole, PLAIN)
        with pytest.raises(Killed):  # once more, with other verdicts of the same shards written
            launch(tmp_path, killed[-2], PLAIN, how=KilledAfter(tasks=after[-1] - 3))
        assert promised(run_folder(closed)) != promised(run_folder(whole))
    for tasks, output in zip(after, killed, strict=True):
        launch(tmp_path, output, PLAIN)
        expected = run_folder(closed if tasks == after[-1] else whole)
        assert promised(run_folder(output)) == promised(expected), tasks


LINE, RUN = "a paragraph of the same words everywhere, long enough", " ".join(f"r{i}" for i in range(60))
MANY = "other words, of which there are many"
PARTS: list[Shards] = [
    {"code/m": [{"id": "a", "text": f"{LINE}\n\nown words"}, {"id": "b", "text": f"before it {RUN}"}],
     "web/m": [{"id": "e", "text": "something of its own, which is seen for the first time"}]},
    {"code/a": [{"id": "c", "text": f"{LINE}\n\n{MANY}\n\n{LINE}"}, {"id": "d", "text": RUN}]},
    {"web/a": [{"id": "f", "text": MANY}]},
]  # fmt: skip


@pytest.mark.parametrize("prefer", [[], ["id DESC"]])
def test_repeats_stand_in_what_came_later(tmp_path: Path, prefer: list[str]) -> None:
    """Whatever the order of names, or `prefer`: the first place of a text is in the earlier run."""
    steps = [{"name": "lines", "kind": "paragraphs", "min_unit_chars": 20}, {"name": "runs", "kind": "substring"}]
    settings = {"dedupe": {"steps": steps, "keep": "old", **({"prefer": prefer} if prefer else {})}}
    output, seen, before = new_output(), {}, {}  # type: ignore[var-annotated]
    for batch in PARTS:
        seen |= batch
        write_shards(tmp_path, batch)
        result = launch(tmp_path, output, settings)
        folder = run_folder(output)
        after = {e.name: folder.read(e.name) for e in folder.list("attributes") if e.name.endswith(".parquet")}
        assert {name: after[name] for name in before} == before
        before = after
    marked = {
        step: {origin for origin, one in columns(folder, seen, step).items() if one["spans"]}
        for step in ("lines", "runs")
    }
    assert marked == {"lines": {"code/a#0", "web/a#0"}, "runs": {"code/a#1"}}
    assert [len(one["spans"]) for one in columns(folder, seen, "lines").values()] == [0, 0, 0, 2, 0, 1]
    assert ["lines", "5", "1"] in [line.split() for line in result.text().splitlines()]
    fresh = new_output()
    launch(tmp_path, fresh, {"dedupe": {**settings["dedupe"], "keep": "elect"}})
    elected = {o for o, one in columns(run_folder(fresh), seen, "lines").items() if one["spans"]}
    assert elected != marked["lines"]


def test_the_table_tells_of_earlier_documents(tmp_path: Path) -> None:
    output = new_output()
    for number, batch in enumerate(BATCHES[:2]):
        write_shards(tmp_path, batch)
        result = launch(tmp_path, output, PLAIN)
        assert ("documents that came after others (dedupe.keep: old)" in result.text()) == (number > 0)
    near = columns(run_folder(output), {**BATCHES[0], **BATCHES[1]})
    new = {*texts_of(BATCHES[1])}
    gone = [one["cluster"] for origin, one in near.items() if origin in new and not one["keep"]]
    told = {"documents": len(near) - len(new), "new": len(new), "removed": len(gone)}
    told["for_earlier"] = sum(keeper not in new for keeper in gone)
    assert 0 < told["for_earlier"] < told["removed"]
    assert result.manifests["attributes/near"].record["earlier"] == told
    row = next(line for line in result.text().splitlines() if line.startswith("near ") and "%" not in line)
    assert row.split() == ["near", *(str(number) for number in told.values())]


def test_a_step_that_is_added_has_nothing_old(tmp_path: Path) -> None:
    """It elects among what the others have kept, and a file of it that is lost is made again, alike."""
    output = new_output()
    first = {"dedupe": {"prefer": PLAIN["dedupe"]["prefer"], "keep": "old", "steps": STEPS[:1]}}
    both = {"dedupe": {**first["dedupe"], "steps": STEPS}}
    for batch in BATCHES[:2]:
        write_shards(tmp_path, batch)
        launch(tmp_path, output, first)
    launch(tmp_path, output, both)
    folder, shards = run_folder(output), {**BATCHES[0], **BATCHES[1]}
    manifests = [json.loads(folder.read(f"attributes/{step}/manifest.json")) for step in ("url", "near")]
    assert [one.get("earlier", {}).get("documents") for one in manifests] == [len(texts_of(BATCHES[0])), None]
    url, near = (columns(folder, shards, step) for step in ("url", "near"))
    gone = [origin for origin, one in near.items() if not one["keep"]]
    assert len(gone) > 4
    assert all(url[near[origin]["cluster"]]["keep"] for origin in gone)
    before = promised(folder)
    folder.delete(["attributes/near/web/d.parquet"])
    launch(tmp_path, output, both)
    assert promised(folder) == before


def test_what_is_old_is_not_paired_with_what_is_old() -> None:
    nodes = np.arange(4)
    near = Near(nodes, nodes, np.zeros(4, np.int64), nodes, 0.8)
    settled = nothing_settled(4)
    settled.old[:2] = True
    pairs = verify.first_pairs(near, np.ones(4, np.bool_), nodes, settled).to_pydict()
    assert pairs == {"left": [0, 0], "right": [2, 3]}
    settled.keep[0], settled.keeper[0] = False, 1
    pairs = verify.first_pairs(near, np.ones(4, np.bool_), nodes, settled).to_pydict()
    assert pairs == {"left": [1, 1], "right": [2, 3]}
    settled.keep[1] = False
    assert verify.first_pairs(near, np.ones(4, np.bool_), nodes, settled).to_pydict() == {"left": [2], "right": [3]}


def test_groups_of_earlier_documents_stay_as_they_are() -> None:
    """What went for an earlier one is in its group; what hangs together with several, in that of the first."""
    step = np.arange(8)
    earlier = Earlier(step[:4], np.array([True, True, False, True]), np.array([0, 1, 1, 3]), np.ones(4),
                      np.array([0, 1, 1, 3]))  # fmt: skip
    labels = np.array([0, 0, 0, 0, 0, 0, 6, 6])
    nodes, found = grown((step, labels), (np.array([5]), np.array([3])), earlier)
    assert dict(zip(nodes.tolist(), found.tolist(), strict=True)) == {2: 1, 4: 0, 5: 3, 6: 6, 7: 6}


def test_what_is_made_anew_with_new_files_cannot_be_remembered() -> None:
    found = resolved(recipe_from_text(json.dumps({"output": "run", "sources": {"web": {"documents": "x"}}, **PLAIN})))
    index = Artifact("index", "index", growing=True)
    fixed = Artifact("attributes/ranking", "rank", needs=(index,))
    marks = Artifact("attributes/near", "dedupe", needs=(index, fixed), growing=True, remembers=True)
    refuse_to_remember(found, replace(marks, needs=(index,)))
    with pytest.raises(ConfigError, match=r"dedupe\.keep: keep is old, but .* from attributes/ranking, "):
        refuse_to_remember(found, marks)


SOME = st.integers(8, 8).flatmap(
    lambda n: st.tuples(*(st.lists(one, min_size=n, max_size=n) for one in (st.integers(0, 2), st.integers(0, 3))),
                        st.lists(st.booleans(), min_size=n, max_size=n), st.permutations(range(n)))
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(SOME)
def test_exact_copies_in_batches_equal_plain_elections(case: Any) -> None:
    """Documents in three batches: their batch, key, whether they pass, and their place in the order."""
    batch, key, passes, place = case
    decided: dict[int, tuple[bool, int, int]] = {}  # document -> keep, keeper, group
    for number in range(3):
        here = [i for i, own in enumerate(batch) if own <= number]
        clusters = {k: [i for i in here if key[i] == k] for k in set(key)}
        nodes = np.array(sorted(i for some in clusters.values() if len(some) > 1 for i in some), np.int64)
        labels = np.array([clusters[key[i]][0] for i in nodes], np.int64)
        old = [i for i in nodes.tolist() if i in decided]
        earlier = Earlier(np.array(old, np.int64), np.array([decided[i][0] for i in old], np.bool_),
                          np.array([decided[i][1] for i in old], np.int64), np.ones(len(old)),
                          np.array([decided[i][2] for i in old], np.int64))  # fmt: skip
        arguments = nodes, np.array(passes)[nodes], np.array(place)[nodes], {}, {"exact": earlier}
        ((_, found),) = elections({"exact": (nodes, labels)}, *arguments)
        group = {i: i for i in here} | dict(zip(found.group_nodes.tolist(), found.group_labels.tolist(), strict=True))
        expected: dict[int, tuple[bool, int]] = {i: decided[i][:2] if i in decided else (True, i) for i in here}
        for some in (some for some in clusters.values() if len(some) > 1):
            order = sorted(some, key=lambda i: (i not in decided, not decided.get(i, (True,))[0], place[i]))
            may = [i for i in order if passes[i] and (i not in decided or decided[i][0])]
            first = [*may, *(i for i in order if i not in may)][0]
            expected |= {i: (i == first and passes[i], first) for i in some if i not in decided}
        after = {i: (True, i) for i in here}
        columns_ = zip(nodes.tolist(), found.keep.tolist(), found.keeper.tolist(), strict=True)
        assert after | {i: (keep, keeper) for i, keep, keeper in columns_} == expected
        for i in here:
            if i in decided:
                assert group[i] == decided[i][2]
            elif not expected[i][0]:
                assert group[i] == group[expected[i][1]]
        decided = {i: (*expected[i], group[i]) for i in here}
