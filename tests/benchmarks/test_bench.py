"""The benchmark's own arithmetic, and that its scripts measure the same text; speeds are not tested."""

from __future__ import annotations

import gzip
import importlib
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's modules, which find each other in their own folder."""
    monkeypatch.syspath_prepend(str(HERE))
    names = (
        "before",
        "bench",
        "bench_run",
        "bench_train",
        "corpora",
        "environments",
        "recipes",
        "rows",
        "samples",
        "trained_once",
    )
    return SimpleNamespace(**{name: importlib.import_module(name) for name in names})


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


def test_a_promise_may_be_on_our_number_beside_a_peer(modules: Any) -> None:
    row = modules.rows.Row(name="start", text_mb=0, ours=1.5, peer=3.0, peer_name="before", unit="s", at_most_ours=1.2)
    assert row.ratio == 0.5
    assert not row.kept
    assert row.promised == "<= 1.2"
    assert row.as_json()["at_most_ours"] == 1.2
    assert modules.rows.Row(name="a", text_mb=0, ours=2, peer=1, peer_name="b", at_most=2.5).promised == "<= 2.5x"


def test_what_is_known_beside_a_row_is_printed_below_it(modules: Any) -> None:
    more = {
        "cpu_s": 1.25,
        "documents": 1200,
        "identical": True,
        "ms_a_mb": {"scan": 35.0, "encode": 7.5},
        "few": [1, 2],
    }
    row = modules.rows.Row(name="run", text_mb=1, ours=1, peer=None, peer_name="", more=more)
    assert modules.rows.details(row) == ["    cpu_s 1.25, documents 1,200", "    ms_a_mb: scan 35, encode 7.50"]


def test_a_row_that_there_is_not_is_refused_before_anything_is_measured(
    modules: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        modules.bench.main(["--rows", "run,fast", "--work", str(tmp_path)])
    assert "no row named 'fast'; there are gopher, minhash, tokenize, read, near, documents," in capsys.readouterr().err


@pytest.fixture
def corpora(modules: Any, tmp_path: Path) -> Any:
    """A collected corpus of four files of code and one of docs."""
    for source, count in (("code", 4), ("docs", 1)):
        (tmp_path / "corpus" / source).mkdir(parents=True)
        for number in range(count):
            rows = [{"id": f"{source}{number}-{i}", "text": f"Eels need {number} {i} weeks. " * 80} for i in range(5)]
            content = "".join(json.dumps(row) + "\n" for row in rows).encode()
            (tmp_path / "corpus" / source / f"part-{number:04d}.jsonl.gz").write_bytes(gzip.compress(content))
    (tmp_path / "corpus" / "collected").touch()
    return modules.corpora.Corpora(tmp_path)


def read(path: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in gzip.decompress(Path(path).read_bytes()).splitlines()]


def test_a_small_corpus_is_the_first_files_of_each_source(corpora: Any) -> None:
    assert corpora.megabytes == pytest.approx(25 * 80 * 21e-6)
    some = corpora.of(corpora.megabytes / 2)
    assert {name: [Path(path).name for path in paths] for name, paths in some.items()} == {
        "code": ["part-0000.jsonl.gz", "part-0001.jsonl.gz"],
        "docs": ["part-0000.jsonl.gz"],
    }


def test_a_large_corpus_has_repeats_of_other_names_ids_and_words(corpora: Any) -> None:
    large = corpora.of(2.5 * corpora.megabytes)
    names = [Path(path).name for path in large["code"]]
    assert len(names) == 12
    assert len({*names}) == 12
    documents = [read(large["code"][number])[0] for number in (0, 4, 8)]
    assert [row["id"] for row in documents] == ["code0-0", "code0-0-1", "code0-0-2"]
    assert [row["text"][:20] for row in documents] == [
        "Eels need 0 0 weeks.",
        "Ools nood 0 0 wooks.",
        "Uuls nuud 0 0 wuuks.",
    ]
    with pytest.raises(SystemExit, match="MB of text are more than 6 times what was collected"):
        corpora.of(6.5 * corpora.megabytes)


def test_many_files_are_the_first_of_the_largest_corpus_of_them(corpora: Any) -> None:
    def found(count: int) -> list[str]:
        import glob

        return [path for pattern in corpora.files(count, 4)["code"] for path in sorted(glob.glob(pattern))]

    assert found(3) == found(4)[:3]
    documents = [row for path in found(4) for row in read(path)]
    assert len(documents) == len({row["id"] for row in documents}) == 40
    assert max(len(row["text"]) for row in documents) <= 1000


def test_both_states_of_the_program_get_recipes_in_their_own_keys(modules: Any, tmp_path: Path) -> None:
    import yaml

    found = {}
    for name in ("after", "before"):
        program = modules.before.Program(name, "python", tmp_path)
        path = modules.recipes.write(
            tmp_path / f"{name}.yaml",
            {"code": ["a*.jsonl"]},
            tmp_path / "tokenizer.json",
            output=tmp_path / "out",
            program=program,
            documents=True,
        )
        found[name] = yaml.safe_load(path.read_text())
    after, before = found["after"], found["before"]
    assert after["dedupe"].pop("prefer") == ["chars DESC"]
    assert after["mix"].pop("documents") is True
    assert after == before
    assert after["mix"]["where"]["words"] == "gopher_v1.word_count BETWEEN 50 AND 100000"
    changed = dict(change.split("=", 1) for change in modules.recipes.OTHER_THRESHOLDS)
    assert changed.keys() == {"mix.where.words", "mix.where.pii"}
    assert all(sql != after["mix"]["where"][key.rpartition(".")[2]] for key, sql in changed.items())


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout


def test_the_program_before_is_a_commit_with_the_packages_of_this_environment(modules: Any, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "dolma_pipeline").mkdir(parents=True)
    (repository / "dolma_pipeline" / "__init__.py").write_text("state = 'old'\n")
    git(tmp_path, "init", "-q", str(repository))
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "old")
    commit = git(repository, "rev-parse", "HEAD").strip()
    (repository / "dolma_pipeline" / "__init__.py").write_text("state = 'new'\n")
    program = modules.before.before(tmp_path / "before", commit=commit, repository=repository)
    script = "import dolma_pipeline, numpy; print(dolma_pipeline.state)"
    said = subprocess.run([program.python, "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert said.stdout == "old\n"
    assert program.is_old
    assert program == modules.before.before(tmp_path / "before", commit=commit, repository=repository)


def test_without_git_or_the_commit_there_is_no_program_before_and_it_is_said(
    modules: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", str(tmp_path / "empty"))
    assert modules.before.before(tmp_path / "before", commit="1234567", repository=tmp_path / "empty") is None
    said = capsys.readouterr().err
    assert "without the program before (" in said
    assert "1234567" in said
    assert "to measure it too, fetch commit 1234567" in said
    monkeypatch.setenv("PATH", str(tmp_path))
    assert modules.before.before(tmp_path / "before", commit="1234567", repository=tmp_path / "empty") is None
    assert "without the program before (git is not installed)" in capsys.readouterr().err


def test_what_is_written_in_a_linked_copy_leaves_the_finished_run_as_it_is(modules: Any, tmp_path: Path) -> None:
    (tmp_path / "run" / "mix").mkdir(parents=True)
    (tmp_path / "run" / "mix" / "plan.json").write_text("first")
    modules.bench_run.linked(tmp_path / "run", tmp_path / "copy")
    (tmp_path / "new").write_text("second")
    (tmp_path / "new").replace(tmp_path / "copy" / "mix" / "plan.json")
    assert (tmp_path / "run" / "mix" / "plan.json").read_text() == "first"


def test_phases_and_what_lies_outside_of_them_are_the_whole(modules: Any) -> None:
    run = {"cpu_s": 3.0, "text_mb": 10.0, "cpu_s_by_step": {"scan": 2.0, "encode": 0.5}}
    assert modules.bench_run.phases(run) == {"scan": 200.0, "encode": 50.0, "outside of phases": pytest.approx(50.0)}


RECIPE = """\
output: {folder}/run
sources: {{a: {{documents: {folder}/a.jsonl}}}}
tag: {{taggers: [length_v1]}}
dedupe: {{steps: [{{name: exact, kind: exact}}]}}
tokenizer: {{load: {folder}/tokenizer.json, special_tokens: ["<|endoftext|>"]}}
mix: {{where: {{long: chars > 10}}}}
tokens: {{}}
"""


def test_a_measured_run_counts_what_it_reads_and_encodes(modules: Any, tmp_path: Path) -> None:
    texts = [f"a b a b a b {number}" for number in range(50)] + ["short"]
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts))
    )
    model = {"type": "WordLevel", "vocab": {"<|endoftext|>": 0, "a": 1}, "unk_token": "a"}
    tokenizer = {"version": "1.0", "model": model, "pre_tokenizer": {"type": "Whitespace"}, "added_tokens": []}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(folder=tmp_path))
    found = modules.environments.measure("run_once.py", "local", recipe, 1)
    size = sum(map(len, texts)) / 1e6
    assert found["text_mb"] == pytest.approx(size)
    assert found["read_mb"] == pytest.approx(2 * size)  # the scan, and what is encoded
    assert size - 5e-6 <= found["encoded_mb"] < size + 1e-4  # and test strings, when the tokenizer is loaded
    assert (found["documents"], found["kept"]) == (51, 50)
    assert {"scan", "encode", "tokens/parts"} <= {*found["cpu_s_by_step"]}
    assert 0 < sum(found["cpu_s_by_step"].values()) < found["cpu_s"]
    again = modules.environments.measure("run_once.py", "redo", recipe, 1, "mix.where.long=chars > 13")
    assert again["read_mb"] == 0
    assert again["encoded_mb"] < 1e-4  # the test strings
    assert "scan" not in again["cpu_s_by_step"]
    assert again["kept"] == 40


def test_training_is_measured_by_the_median_step_after_the_first(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = modules.trained_once.Clocked("tiny", 6, processes=1)
    now = iter([0.0, 9.0, 20.0, 21.0, 23.0, 26.0])  # steps of 9, 11, 1, 2 and 3 seconds
    monkeypatch.setattr(modules.trained_once.time, "process_time", lambda: next(now))
    for instance in range(6 * 16):
        data[instance]
    assert data.speeds("tiny")["a_cpu_s"] == 16 * 256 / 2.5


def test_a_loop_by_hand_trains_what_the_trainer_does(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("VOCABULARY", {"tiny": 64}), ("SEQUENCES", {"tiny": 2}), ("LENGTH", 8)):
        monkeypatch.setattr(modules.trained_once, name, value)
    ours, plain = (getattr(modules.trained_once, what)("tiny", 5) for what in ("ours", "plain"))
    assert ours["losses"] == pytest.approx(plain["losses"], rel=1e-5)
    assert len({*ours["losses"]}) == 5
    assert min(ours["a_cpu_s"], plain["a_cpu_s"]) > 0


def test_promises_of_training(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = {"0": [4.0, 3.0], "1": [4.0, 3.0], "2": [4.0, 3.0003]}

    def measured(script: str, what: str, model: str, steps: int, *number: int, **where: Any) -> dict[str, Any]:
        key = str(number[0]) if number else "0"
        speeds = {("ours", False): 10.0, ("plain", False): 8.0, ("ours", True): 7.9, ("processes", False): 5.0}
        speed = speeds[what, "python" in where]
        assert ("MALLOC_MMAP_MAX_" in where["variables"]) == ("python" not in where)
        return {"a_cpu_s": speed, "a_wall_s": 2 * speed if key == "2" else speed, "losses": losses[key]}

    monkeypatch.setattr(modules.bench_train.environments, "measure", measured)
    runs = SimpleNamespace(times=1, old=SimpleNamespace(python="old", home=Path("old")))
    rows = [*modules.bench_train.speed(runs), *modules.bench_train.processes(runs)]
    assert {row.name: (row.ratio, row.kept) for row in rows} == {
        "train_tiny": (1.25, True),
        "train_tiny_before": (pytest.approx(10 / 7.9), True),
        "train_20m": (1.25, True),
        "train_20m_before": (pytest.approx(10 / 7.9), True),
        "train_tiny_two": (2.0, True),
        "train_20m_two": (2.0, True),
    }
    losses["2"] = [4.0, 3.01]  # other numbers than one process: no speed counts
    assert [row.kept for row in modules.bench_train.processes(runs)] == [False, False]
