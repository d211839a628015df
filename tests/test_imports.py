"""What importing loads. Heavy libraries come late: a command that needs none of them answers at once."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import dolma_pipeline

HEAVY = {
    "apache_beam",
    "awkward",
    "datasketch",
    "duckdb",
    "gigatoken",
    "numba",
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

IMPORT_ALL = """
import importlib, pkgutil, sys
name = sys.argv[1]
module = importlib.import_module(name)
for found in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
    if not found.name.endswith("__main__"):
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


def test_naming_the_taggers_and_mixers_loads_nothing_heavy() -> None:
    code = "from dolma_pipeline import registry; assert registry.tagger_specs(); assert registry.mixer_names()"
    assert loaded_heavy(code) == set()


@pytest.mark.parametrize("part", [part for part in PARTS if part != "transforms"])
def test_importing_a_part_loads_only_what_is_its_own(part: str) -> None:
    assert loaded_heavy(IMPORT_ALL, f"dolma_pipeline.{part}") <= ALLOWED.get(part, set())


@pytest.mark.parametrize("package", ["taggers", "mixers", "pipelines"])
def test_importing_the_packages_beside_the_library_loads_nothing_heavy(package: str) -> None:
    assert loaded_heavy(IMPORT_ALL, package) == set()


def test_a_heavy_import_would_be_seen() -> None:
    assert loaded_heavy("import duckdb") == {"duckdb"}
