"""The benchmark's own arithmetic, and that its scripts measure the same text; speeds are not tested."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's modules, which find each other in their own folder."""
    monkeypatch.syspath_prepend(str(HERE))
    import environments
    import rows
    import samples

    class Modules:
        pass

    Modules.environments, Modules.rows, Modules.samples = environments, rows, samples  # type: ignore[attr-defined]
    return Modules


def test_a_row_has_the_ratio_and_says_whether_the_promise_is_kept(modules: Any) -> None:
    ours, peer = {"mb": 6.0, "cpu_s": 0.05}, {"mb": 3.0, "cpu_s": 1.5}
    row = modules.rows.compare("name", "peer 1.0", ours, peer, at_least=50, more={"tokens": 7})
    assert row.as_json() == {
        "name": "name",
        "text_mb": 6.0,
        "ours": 120.0,
        "peer": 2.0,
        "peer_name": "peer 1.0",
        "ratio": 60.0,
        "unit": "MB of text per CPU-second",
        "at_least": 50,
        "at_most": None,
        "kept": True,
        "peer_text_mb": 3.0,
        "tokens": 7,
    }
    assert not modules.rows.compare("name", "peer", ours, peer, at_least=61).kept
    assert not modules.rows.compare("name", "peer", ours, peer, at_least=50, holds=False).kept


def test_without_a_peer_the_promise_is_on_our_number(modules: Any) -> None:
    row = modules.rows.Row(name="share", text_mb=1.0, ours=6.0, peer=None, peer_name="", unit="%", at_most=5)
    assert row.ratio is None
    assert not row.kept
    assert "6.00" in modules.rows.table([row])
    assert "!!" in modules.rows.table([row])


def test_a_sample_takes_as_much_of_each_source_and_is_the_same_every_time(modules: Any) -> None:
    text = modules.samples.Text
    texts = [text(f"{source}/p#{i}", "x" * 1000) for source, n in (("a", 500), ("b", 10), ("c", 500)) for i in range(n)]
    drawn = modules.samples.draw(texts, 0.1)
    counts = {source: sum(t.name.startswith(source) for t in drawn) for source in "abc"}
    assert counts == {"a": 45, "b": 10, "c": 45}
    assert drawn == modules.samples.draw(reversed(texts), 0.1)
    assert modules.samples.position(drawn, 0.0105) == 11
    assert modules.samples.position(drawn, 1.0) == 100


def test_our_reader_and_the_plain_one_are_given_the_same_text(modules: Any, tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl.gz"
    texts = ["one", "two ü", "", "x" * 5000]
    path.write_bytes(gzip.compress("".join(json.dumps({"id": "i", "text": t}) + "\n" for t in texts).encode()))
    ours = modules.environments.measure("ours.py", "read_jsonl_gz", path)
    peer = modules.environments.measure("peers/gzip_orjson.py", path)
    assert ours["rows"] == peer["rows"] == 4
    assert ours["mb"] == peer["mb"] == pytest.approx(5009e-6)
    assert ours["cpu_s"] > 0 < peer["cpu_s"]


def test_a_script_that_fails_ends_the_benchmark(modules: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"peers/gzip_orjson.py ended with 1"):
        modules.environments.measure("peers/gzip_orjson.py", tmp_path / "missing.gz")
