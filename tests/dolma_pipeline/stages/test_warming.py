"""What a recipe uses is what is compiled: no kernel less for its taggers, and none for what it does not have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dolma_pipeline.config.loader import load_recipe, recipe_from_text
from dolma_pipeline.config.recipe import STAGES, Recipe
from dolma_pipeline.kernels.warm import KERNELS
from dolma_pipeline.stages.warming import kernels_of

ROOT = Path(__file__).parents[3]


def recipe(rest: str = "") -> Recipe:
    return recipe_from_text(f"output: runs/x\nsources: {{web: {{documents: in/*}}}}\n{rest}")


def test_reading_json_lines_takes_a_kernel_and_parquet_none() -> None:
    tagged = recipe("tag: {taggers: [length_v1]}")
    assert kernels_of(tagged, ["tag"]) == ["bitmaps", "words", "sentences", "json_lines"]
    assert kernels_of(tagged, ["tag"], formats=["parquet"]) == ["bitmaps", "words", "sentences"]
    assert kernels_of(tagged, ["tokens"], formats=["parquet"]) == [], "parts are made of kept ids"
    assert kernels_of(tagged, ["train", "eval"]) == []


def test_taggers_say_what_they_use() -> None:
    tagged = recipe("tag: {taggers: [gopher_v1, language_v1]}")
    assert kernels_of(tagged, ["tag"]) == [
        "bitmaps", "words", "lines", "spans", "gopher", "repetition", "fasttext", "wordlike", "json_lines",
    ]  # fmt: skip
    assert kernels_of(tagged, ["mix"]) == ["json_lines"]
    assert kernels_of(recipe("tag: {taggers: [nobodys_v1]}"), ["tag"]) == ["json_lines"]


def test_dedupe_and_edits() -> None:
    exact = recipe("dedupe: {steps: [{name: same, kind: exact}]}")
    assert kernels_of(exact, ["dedupe"]) == ["components", "sorting", "json_lines"]
    near = recipe("dedupe: {steps: [{name: near, kind: minhash}]}")
    assert kernels_of(near, ["dedupe"]) == ["components", "sorting", "minhash", "sets", "json_lines"]
    decontaminated = recipe("decontaminate: {benchmarks: {quiz: quiz.jsonl}}")
    assert kernels_of(decontaminated, ["decontaminate"]) == ["spans", "folded", "ngrams", "json_lines"]
    decontaminated = recipe("decontaminate: {benchmarks: {quiz: quiz.jsonl}}")
    assert kernels_of(decontaminated, ["decontaminate"]) == ["spans", "folded", "ngrams", "json_lines"]
    for edits in ("replace: [{spans: a.b, with: c}]", "sources: {web: {remove: [a.b]}}"):
        assert "edit" in kernels_of(recipe(f"tokenizer: {{train: bpe}}\nmix: {{{edits}}}"), ["tokenizer", "mix"])
    assert "edit" not in kernels_of(recipe("tokenizer: {train: bpe}\nmix: {where: {a: b.c > 1}}"), ["mix"])


OF_OTHER_TAGGERS = (
    *(
        "byte_ngrams",
        "periodic",
        "characters",
        "lz4_size",
        "phrases",
        "comments",
        "code_counts",
        "encoded",
    ),
    "html_text",
)
"""Kernels of taggers that the quickstart does not use."""


def test_the_quickstart_uses_all_but_those_of_repeats_and_evaluation_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    used = kernels_of(load_recipe("pipelines/quickstart.yaml"), STAGES)
    unused = ("fineweb", "refinedweb", "folded", "runs", "units", "ngrams", "dolma_gopher", *OF_OTHER_TAGGERS)
    assert used == [name for name in KERNELS if name not in unused]


def test_steps_that_mark_repeats_say_what_they_use() -> None:
    steps = "dedupe: {steps: [{name: a, kind: paragraphs}, {name: b, kind: substring}]}"
    assert kernels_of(recipe(steps), ["dedupe"]) == ["sorting", "folded", "runs", "units", "json_lines"]


@pytest.mark.parametrize(
    "name",
    [
        "c4_v1",
        "pii_v1",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("gopher_v1", "length_v1", "fineweb_v1", "refinedweb_v1", "repetition_v1", "code_v1")
        ),
    ],
)
def test_a_built_in_tagger_uses_no_other_kernel_than_it_says(name: str) -> None:
    """After its kernels are loaded, tagging loads or compiles no code more."""
    code = (
        "import importlib\n"
        "from numba.core.registry import CPUDispatcher\n"
        "from dolma_pipeline.documents import Batch\n"
        "from dolma_pipeline.kernels.warm import KERNELS, warm\n"
        "from dolma_pipeline.registry import built_in_tagger\n"
        f"tagger = built_in_tagger({name!r})\n"
        "warm(tagger.spec.kernels)\n"
        "found = [importlib.import_module(f'dolma_pipeline.kernels.{name}') for name in KERNELS]\n"
        "loaded = lambda: {f'{v.__module__}.{v.__name__}': len(v.signatures) for m in found for v in vars(m).values()\n"
        "                  if isinstance(v, CPUDispatcher)}\n"
        "before = loaded()\n"
        "assert sum(before.values())\n"
        "tagger.attributes(Batch.of(['A text of a@b.org.\\n\\nIt has 10.0.0.1 and 303-555-0127.', '']))\n"
        "assert loaded() == before, {k: v for k, v in loaded().items() if v != before[k]}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
