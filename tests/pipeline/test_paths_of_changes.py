"""A folder that went through many recipes and inputs, with runs that failed or did one stage, equals a fresh one."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.errors import DataError, UsageError
from dolma_pipeline.runner import run
from tests.pipeline.tiny import document, files, recipe, write_documents

pytestmark = pytest.mark.usefixtures("plain")

RULES = {
    "words": ["length_v1.words >= 3", "length_v1.words >= 9", "length_v1.words < 30"],
    "long": ["chars > 20", "chars > 60"],
    "text": ["text LIKE '%a%'", "text NOT LIKE 'T%'"],
    "unique": ["exact.keep OR text LIKE '%e%'", "exact.keep OR text LIKE '%zz%'", "near.keep AND exact.keep"],
    "mine": ["marks_v1.digits < 1"],
}
KNOBS = ["seed", "tag", "step", "tokenizer", "order", "rules", "mix", "edits", "tokens"]
TOKENIZERS: list[Any] = [{"train": "bpe", "vocab_size": 300}, {"load": "tokenizer.json"}, None]


def drawn(rng: random.Random, knobs: dict[str, float]) -> dict[str, Any]:
    """A recipe of these knobs, each a number that decides one part of it whatever the others are."""
    of = {name: random.Random(value) for name, value in knobs.items()}
    marks = of["tag"].random() < 0.5
    taggers: list[Any] = ["length_v1", {"tagger": "pii_v1", "phone_regions": [of["tag"].choice(["US", "DE"])]}]
    steps = [
        {"name": "exact", "kind": "exact"},
        {"name": "near", "kind": "minhash", "bands": of["step"].choice([8, 14])},
    ]
    steps = steps[: of["step"].choice([1, 2, 2])] if of["step"].random() < 0.8 else []
    tokenizer = of["tokenizer"].choice(TOKENIZERS)
    names = of["order"].sample(["words", "long", "text", "unique", "mine"], of["order"].choice([2, 5, 5, 5]))
    where = {name: of["rules"].choice(RULES[name]) for name in sorted(RULES)}
    there = {name for name in names if name not in ("unique", "mine")} | ({"mine"} if marks else set())
    there |= {"unique"} if len(steps) > ("near" in where["unique"]) else set()
    mix: dict[str, Any] = {"where": {name: where[name] for name in names if name in there}}
    if of["mix"].random() < 0.5:
        mix["held_out"] = {"share": of["mix"].choice([0.1, 0.4])}
    if of["mix"].random() < 0.5:
        mix[of["mix"].choice(["target_bytes", "target_documents"])] = of["mix"].choice([40, 900])
    if of["edits"].random() < 0.6:
        mix["replace"] = [{"spans": f"pii_v1.{of['edits'].choice(['email', 'phone'])}", "with": " <X> "}]
        mix["sources"] = {"web": {"min_chars": of["edits"].choice([10, 50])}}
    return {
        "seed": of["seed"].choice([1, 1, 2]),
        "sources": {"web": {"documents": "in/web/*"}, "code": {"documents": "in/code/*"}},
        "modules": ["marks.py"] if marks else None,
        "tag__taggers": [*taggers, *(["marks_v1"] if marks else [])],
        "dedupe": {"steps": steps, "prefer": of["step"].choice([[], ["chars DESC"]])} if steps else None,
        "tokenizer": tokenizer,
        "mix": mix,
        "tokens": {"max_shard_tokens": of["tokens"].choice([500, 50_000])} if tokenizer else None,
    }


def change_files(rng: random.Random, texts: dict[str, list[dict[str, Any]]]) -> None:
    """Some files go, come back, or get another content of another number of documents."""
    for name, rows in texts.items():
        path = Path("in") / name
        if rng.random() < 0.4 and not name.endswith("0.jsonl"):
            path.unlink(missing_ok=True)
        elif rng.random() < 0.5 or not path.exists():
            write_documents(path, rows[rng.choice([0, 0, 3]) :] if rng.random() < 0.7 else rows[::-1])


def ended(output: str, settings: dict[str, Any], *, redo: bool, stages: tuple[str, ...] = ()) -> str:
    """Nothing, or what was wrong; a recipe that lets nothing through is one that a user may have."""
    try:
        run(recipe(output, **settings), quiet=True, redo=redo, stages=stages)
    except DataError as error:
        return str(error).replace(f"{output}/", "")
    return ""


@pytest.mark.parametrize(
    ("seed", "steps"),
    [(1, 8), *(pytest.param(seed, 25, marks=[pytest.mark.chaos, pytest.mark.slow]) for seed in range(2, 8))],
)
def test_whatever_came_before(
    corpus: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, steps: int
) -> None:
    monkeypatch.chdir(tmp_path)
    rng, num_equal = random.Random(seed), 0
    for source, name in ((corpus / "marks.py", "marks.py"), (finished / "tokenizer/tokenizer.json", "tokenizer.json")):
        Path(name).write_bytes(source.read_bytes())
    names = [f"{source}/{number}.jsonl" for source in ("web", "code") for number in range(3)]
    texts = {name: [document(rng, f"{name}-{i}") for i in range(20)] for name in names}
    for name in names[1:]:  # some copies in all files
        texts[name][:6] = [{**row, "id": f"{name}-{i}"} for i, row in enumerate(texts[names[0]][:6])]
    change_files(rng, texts)
    knobs = {name: rng.random() for name in KNOBS}
    for step in range(steps):
        if rng.random() < 0.5:
            change_files(rng, texts)
        if rng.random() < 0.3:  # another recipe in between: one stage of it, or one that lets nothing through
            other = drawn(rng, {**knobs, rng.choice(KNOBS): rng.random()})
            stages = rng.choice([("tag",), ("mix",), ()])
            if not stages:
                other["mix"] = {"where": {"none": "chars > 1000000"}}
            with contextlib.suppress(UsageError):  # `mix` alone, say, where nothing is tagged
                ended("run", other, redo=True, stages=stages)
        for name in rng.sample(KNOBS, rng.choice([1, 1, 2, 3])):
            knobs[name] = rng.random()
        settings, fresh = drawn(rng, knobs), f"fresh{step}"
        said = ended("run", settings, redo=True)
        assert said == ended(fresh, settings, redo=False)
        if not said:
            found, expected = files(Path("run")), files(Path(fresh))
            folders = {name.rpartition("/")[0] for name in expected}  # others are of earlier recipes
            assert {name: one for name, one in found.items() if name.rpartition("/")[0] in folders} == expected
            num_equal += 1
    assert num_equal > steps // 2
