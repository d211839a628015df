"""What importing loads. Heavy libraries come late: a command that needs none of them answers at once."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import dolma_pipeline

HEAVY = {
    "apache_beam",
    "awkward",
    "datasketch",
    "duckdb",
    "gigatoken",
    "numba",
    "obstore",
    "presidio_analyzer",
    "scipy",
    "smart_open",
    "spacy",
    "tokenizers",
    "torch",
}

ALLOWED = {
    "kernels": {"numba", "scipy"},
    "train": {"torch"},
    "evals": {"torch"},
    "runner": {"apache_beam"},
    "engines": {"apache_beam"},
    "transforms": {"apache_beam"},
}
"""What the modules of a package may load when they are imported; numba itself looks for scipy."""

PARTS = sorted(module.name for module in pkgutil.iter_modules(dolma_pipeline.__path__) if module.name != "__main__")

ELSEWHERE = ("dolma_pipeline.evals.lm_eval",)
"""Modules for environments that have what ours has not; `make interop` tries them."""

IMPORT_ALL = """
import importlib, pkgutil, sys
name = sys.argv[1]
module = importlib.import_module(name)
for found in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
    if not found.name.endswith("__main__") and found.name not in sys.argv[2:]:
        importlib.import_module(found.name)
"""


def loaded_heavy(code: str, *arguments: str) -> set[str]:
    """Which of `HEAVY` a fresh interpreter has loaded after `code`."""
    code += f"\nimport sys\nprint(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_library_loads_nothing_heavy() -> None:
    assert loaded_heavy("import dolma_pipeline") == set()


def test_importing_the_library_does_not_even_load_arrow() -> None:
    code = "import sys, dolma_pipeline; assert not {'numpy', 'pyarrow'} & set(sys.modules); dolma_pipeline.Batch"
    assert loaded_heavy(code) == set()


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["run", "--help"], ["list", "taggers"]])
def test_a_command_that_only_tells_something_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_heavy(f"from dolma_pipeline.cli import main; assert main({arguments!r}) == 0") == set()


def test_looking_what_is_compiled_loads_nothing_heavy() -> None:
    assert loaded_heavy("from dolma_pipeline.kernels.warm import is_ready; is_ready()") == set()


def test_signatures_need_numba_and_no_library_of_signatures() -> None:
    code = (
        "from dolma_pipeline import Batch\n"
        "from dolma_pipeline.dedup.minhash import permutations, signatures\n"
        "permutations(112, seed=1)\n"
        "import sys; assert not {'scipy', 'numba'} & set(sys.modules)\n"
        "signatures(Batch.of(['some words']))"
    )
    assert "datasketch" not in loaded_heavy(code)


PLAIN_RUN = """
import os, sys
from pathlib import Path
from dolma_pipeline.config.loader import recipe_from_text
from dolma_pipeline.runner import launcher
os.chdir(sys.argv[1])
Path("in.jsonl").is_file() or Path("in.jsonl").write_text('{"text": "one two three"}\\n{"text": "four five"}\\n')
recipe = recipe_from_text(
    "output: run\\nsources: {web: {documents: in.jsonl}}\\ntag: {taggers: [length_v1]}\\n"
    "dedupe: {steps: [{name: exact, kind: exact}, {name: near, kind: minhash}]}"
)
result = launcher.run(recipe, quiet=True)
"""


def test_a_run_on_local_files_loads_only_what_it_uses(tmp_path: Path) -> None:
    loaded = loaded_heavy(f"{PLAIN_RUN}\nassert not result.nothing_to_do", str(tmp_path))
    assert loaded <= {"numba", "scipy", "awkward", "duckdb"}, "numba itself looks for scipy and awkward"
    assert "numba" in loaded
    assert loaded_heavy(f"{PLAIN_RUN}\nassert result.nothing_to_do", str(tmp_path)) <= {"duckdb"}


def test_naming_the_taggers_and_mixers_loads_nothing_heavy() -> None:
    code = "from dolma_pipeline import registry; assert registry.tagger_specs(); assert registry.mixer_names()"
    assert loaded_heavy(code) == set()


@pytest.mark.parametrize("part", [part for part in PARTS if part != "transforms"])
def test_importing_a_part_loads_only_what_is_its_own(part: str) -> None:
    assert loaded_heavy(IMPORT_ALL, f"dolma_pipeline.{part}", *ELSEWHERE) <= ALLOWED.get(part, set())


@pytest.mark.parametrize("package", ["taggers", "mixers", "pipelines"])
def test_importing_the_packages_beside_the_library_loads_nothing_heavy(package: str) -> None:
    assert loaded_heavy(IMPORT_ALL, package) == set()


def test_a_heavy_import_would_be_seen() -> None:
    assert loaded_heavy("import duckdb") == {"duckdb"}
