from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

import dolma_pipeline
from dolma_pipeline.documents import SPANS_TYPE
from dolma_pipeline.sql.engine import Engine, engine, first_paragraph


@pytest.fixture(scope="module")
def duck() -> Engine:
    return engine()


def value(duck: Engine, expression: str, rows: pa.Table | None = None) -> object:
    found = duck.select(f"{expression} AS x", pa.table({"n": [1]}) if rows is None else rows)
    return found.column("x").to_pylist() if rows is not None else found.column("x")[0].as_py()


def test_one_engine_a_process(duck: Engine) -> None:
    assert engine() is duck
    assert engine(64_000_000) is not duck


def test_a_forked_child_makes_its_own(duck: Engine) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        own = engine()
        os.write(writer, b"own" if own is not duck and value(own, "1 + 1") == 2 else b"shared")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"own"


def test_importing_loads_no_duckdb() -> None:
    code = "import sys, dolma_pipeline.sql; print('duckdb' in sys.modules)"
    environment = {"PYTHONPATH": str(Path(dolma_pipeline.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("(SELECT count(*) FROM 'secrets.csv')", "file system operations are disabled by configuration"),
        ("(SELECT count(*) FROM read_text('/etc/hostname'))", "file system operations are disabled by configuration"),
        ("(SELECT count(*) FROM a_python_variable)", "Table with name a_python_variable does not exist"),
    ],
)
def test_nothing_outside_can_be_read(duck: Engine, query: str, words: str) -> None:
    a_python_variable = pa.table({"x": [1]})
    with pytest.raises(duck.Error, match=words):
        duck.select(query, a_python_variable)


def test_settings_are_locked_and_one_thread(duck: Engine) -> None:
    assert value(duck, "current_setting('threads')") == 1
    with pytest.raises(duck.Error, match="the configuration has been locked"):
        duck._connection.execute("SET threads = 2")
    with pytest.raises(duck.Error, match="disabled"):
        duck._connection.execute("LOAD httpfs")


def test_the_memory_limit_holds() -> None:
    small = engine(20_000_000)
    with pytest.raises(small.Error, match="Out of Memory"):
        small.select("list_sort(range(n)) AS x", pa.table({"n": [50_000_000]}))
    assert value(small, "1 + 1") == 2


@pytest.mark.parametrize("expression", ["1 / 0", "1.0 / 0.0", "0.0 / 0.0", "1 % 0", "1 // 0", "n / (n - 1)"])
def test_a_division_by_zero_is_null_never_nan(duck: Engine, expression: str) -> None:
    assert value(duck, expression) is None


def test_times_are_utc(duck: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    assert value(Engine(50_000_000), "('2026-01-01 00:00:00'::TIMESTAMPTZ)::VARCHAR") == "2026-01-01 00:00:00+00"


def test_score_is_that_of_the_first_span(duck: Engine) -> None:
    spans = pa.array([[(0, 1, 0.75), (1, 2, 0.25)], [], None], SPANS_TYPE)
    assert value(duck, "score(s)", pa.table({"s": spans})) == [0.75, 0.0, None]


def test_scores_are_compared_as_written(duck: Engine) -> None:
    """0.9 as float32 is below 0.9 as float64; a rule means the number that it says."""
    spans = pa.array([[(0, 1, 0.9)], [(0, 1, 0.1)]], SPANS_TYPE)
    assert value(duck, "score(s) >= 0.9", pa.table({"s": spans})) == [True, False]


def test_rows_keep_their_order(duck: Engine) -> None:
    numbers = list(range(50_000))
    assert value(duck, "n", pa.table({"n": numbers})) == numbers


def test_many_threads_may_ask(duck: Engine) -> None:
    def ask(number: int) -> object:
        return value(duck, "n + 1", pa.table({"n": [number]}))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(64))) == [[number + 1] for number in range(64)]


def test_a_tree_reads_back(duck: Engine) -> None:
    tree = duck.tree("SELECT 1 FROM d WHERE a > 1 AND b")
    assert duck.text(tree) == "SELECT 1 FROM d WHERE ((a > 1) AND b)"
    assert duck.tree("SELECT 1 FROM")["error"] is True


def test_many_trees_at_once_are_each_its_own(duck: Engine) -> None:
    queries = ["SELECT 1 FROM d WHERE a > 1", "SELECT 1 FROM", "SELECT 1 FROM d WHERE b"]
    assert duck.trees(queries) == [duck.tree(query) for query in queries]
    assert duck.trees([]) == []


def test_booleans_tell_null_from_false(duck: Engine) -> None:
    rows = pa.table({"a": [True, False, None], "b": [True, True, False]})
    (a, a_null), (b, b_null) = duck.booleans("a AS x, b AS y", rows)
    assert (a.tolist(), a_null.tolist()) == ([True, False, False], [False, False, True])
    assert (b.tolist(), b_null.tolist()) == ([True, True, False], [False] * 3)
    assert a.dtype == a_null.dtype == b.dtype == b_null.dtype == bool


def test_messages_are_one_line() -> None:
    assert first_paragraph(ValueError("Binder Error: no\n\nCandidates: x\n\nLINE 1: SELECT\n   ^")) == (
        "Binder Error: no Candidates: x"
    )
