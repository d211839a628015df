"""Kernels are named, compiled once by processes of their own, and nothing is left to compile for the types that run."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numba
import pyarrow as pa
import pytest

from dolma_pipeline import kernels
from dolma_pipeline.documents import Batch
from dolma_pipeline.errors import RunError, UnknownNameError
from dolma_pipeline.kernels import c4, gopher, lines, repetition, spans, words
from dolma_pipeline.kernels.warm import KERNELS, checked, ensure, is_ready, shares, warm
from taggers.c4 import C4
from taggers.gopher import Gopher

ROOT = Path(__file__).parents[3]
MODULES = sorted(module.name for module in pkgutil.iter_modules(kernels.__path__) if module.name != "__main__")


def is_compiled_code(value: object) -> bool:
    return isinstance(value, numba.core.registry.CPUDispatcher)


def test_every_module_with_a_kernel_that_python_calls_is_named() -> None:
    """A module whose kernels only other kernels call (decoding, hashing) is compiled with those; so are the table of
    n-grams and the parts of fastText."""
    found = {name: importlib.import_module(f"dolma_pipeline.kernels.{name}") for name in MODULES}
    warmed = {name for name, module in found.items() if name != "warm" and hasattr(module, "warm")}
    assert warmed == set(KERNELS)
    compiled = {name for name, module in found.items() if any(map(is_compiled_code, vars(module).values()))}
    parts = {f"fasttext_{part}" for part in ("file", "losses", "words")}
    inner = {
        "unicode",
        "hashing",
        "lanes",
        "json_strings",
        "json_values",
        "ngram_table",
        "scan_addresses",
        "scan_codes",
    }
    assert compiled - set(KERNELS) == inner | parts


def test_real_batches_compile_nothing_after_warm() -> None:
    warm(["words", "lines", "spans", "gopher", "repetition", "c4"])
    dispatchers = [words._split, lines._split_lines, lines._split_paragraphs, spans._to_points, gopher._quality,
                   repetition._repetition, c4._judge]  # fmt: skip
    before = [len(dispatcher.signatures) for dispatcher in dispatchers]
    assert before == [1] * len(dispatchers)
    for batch in (
        Batch.of(["One text.", "", "two"]),
        Batch.of(["", ""]),
        Batch(Batch.of(["a", "b", "c"]).table.slice(1)),
    ):
        Gopher().tag(batch)
        C4().tag(batch)
        batch.spans(batch.words.rows[:0], batch.words.starts[:0], batch.words.ends[:0], batch.words.chars[:0])
        assert len(batch.paragraphs.rows) == len(batch) + 1
    nothing = Batch(
        pa.RecordBatch.from_pydict({name: [] for name in batch.table.schema.names}, schema=batch.table.schema)
    )
    assert len(nothing.words.starts) == 0
    assert [len(dispatcher.signatures) for dispatcher in dispatchers] == before


def test_a_kernel_is_compiled_without_those_before_it_in_a_batch() -> None:
    """Else two processes that share the work would both compile the splitting of words."""
    code = (
        "from dolma_pipeline.kernels import words, lines\n"
        "from dolma_pipeline.kernels.warm import warm\n"
        "warm(['gopher', 'repetition', 'c4'])\n"
        "assert not words._split.signatures and not lines._split_lines.signatures\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_names_are_checked_and_kept_in_order() -> None:
    assert checked(["scan", "words", "scan"]) == ["words", "scan"]
    assert checked(KERNELS) == list(KERNELS)
    for asked in (warm, ensure, is_ready):
        with pytest.raises(UnknownNameError, match=r"no kernel named 'wrds'. Did you mean 'words'\?"):
            asked(["words", "wrds"])


@pytest.mark.parametrize("processes", [1, 2, 3, 20])
def test_shares_hold_every_kernel_once_and_take_about_equally_long(processes: int) -> None:
    lists = shares(list(KERNELS), processes)
    assert len(lists) == min(processes, len(KERNELS))
    assert sorted(name for names in lists for name in names) == sorted(KERNELS)
    seconds = [sum(KERNELS[name] for name in names) for names in lists]
    assert max(seconds) <= max(max(KERNELS.values()), sum(KERNELS.values()) / len(lists) + 1)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for numba's files in which there is nothing; processes that are started use it, this one does not."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


ENSURE = "from dolma_pipeline.kernels.warm import ensure; ensure(['components', 'spans'], say=print, processes=2)"


def test_what_is_missing_is_compiled_and_said_once(empty: Path) -> None:
    first, *rest = run_python(ENSURE).splitlines()
    assert re.fullmatch(r"compiling kernels for this machine, once: about \d+ s", first)
    assert sorted(re.sub(r"\d of", "N of", line) for line in rest) == [
        "compiled components (N of 2)",
        "compiled spans (N of 2)",
    ]
    assert run_python(ENSURE) == ""
    assert is_ready(["components"])
    assert is_ready(["components", "spans"])
    assert not is_ready(["components", "lines"])
    code = (
        "from dolma_pipeline.kernels import components\n"
        "components.warm()\n"
        "assert components._unite.stats.cache_hits and not components._unite.stats.cache_misses\n"
    )
    run_python(code)


def test_several_at_once_compile_once(empty: Path) -> None:
    command = [sys.executable, "-c", ENSURE]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(text.count("compiling kernels") for text in said) == [0, 1]
    assert run_python(ENSURE) == ""


def test_nothing_is_compiled_where_numba_does_not_compile(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    ensure(["components"], say=pytest.fail)
    assert not empty.exists()


def test_a_failure_says_what_python_said(empty: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('no room left')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RunError, match="compiling kernels failed with exit code 1: SystemExit: no room left"):
        ensure(["components"])


def kernels_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dolma_pipeline.kernels", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ.copy())


def test_the_command_compiles_what_it_is_given(empty: Path) -> None:
    done = kernels_command("components")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[1] == "compiled components (1 of 1)"
    assert re.fullmatch(rf"kernels are ready, 1 of {len(KERNELS)}: \d+\.\d s", said[2])
    wrong = kernels_command("componets")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: no kernel named 'componets'. Did you mean 'components'?\n"
