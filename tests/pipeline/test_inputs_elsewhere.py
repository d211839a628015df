"""Whole runs over inputs on object stores and on the web: the same bytes as over the same files on a disk."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.cli import main
from dolma_pipeline.config.recipe import EvalConfig
from dolma_pipeline.engines import Here
from dolma_pipeline.engines.local import Local
from dolma_pipeline.errors import DataError, DolmaError, UsageError
from dolma_pipeline.evals.run import task_files
from dolma_pipeline.run.process import Process
from dolma_pipeline.run.run import Run
from dolma_pipeline.runner import run
from dolma_pipeline.stages.model import with_local_tasks
from dolma_pipeline.storage import object_client, object_inputs, web
from dolma_pipeline.storage.folder import run_folder
from tests.dolma_pipeline.storage.fake_azure import AzureHandler
from tests.dolma_pipeline.storage.fake_objects import SECRET, Faults, Stored
from tests.dolma_pipeline.storage.fake_store import Handler, Server, serving
from tests.dolma_pipeline.storage.fake_web import web_serving
from tests.pipeline.test_object_stores import hashes
from tests.pipeline.tiny import MARKS, engine, files, recipe

HANDLERS: dict[str, type[Handler]] = {"s3": Handler, "gs": Handler, "az": AzureHandler}


def upload(server: Server, folder: Path) -> None:
    """The files of a folder below `corpus é+%/` of the bucket, with neighbours that are none of the inputs."""
    for path in folder.rglob("*"):
        if path.is_file():
            server.objects.put("bucket", f"corpus é+%/{path.relative_to(folder).as_posix()}", path.read_bytes(), {})
    server.objects.put("bucket", "corpus é+%/", b"", {})
    server.objects.put("bucket", "corpus é+%/web/", b"", {})
    server.objects.put("bucket", "corpus é+%/web/.hidden.jsonl", b"not read", {})
    server.objects.put("bucket", "corpus é+%/web/deeper/a.jsonl", b"not read", {})


def sources(scheme: str) -> Mapping[str, Any]:
    return {name: {"documents": f"{scheme}://bucket/corpus é+%/{name}/*"} for name in ("web", "code", "forum")}


def there(server: Server, scheme: str, output: str | Path, **changes: Any) -> Any:
    return recipe(output, storage={"endpoint": server.endpoint}, sources=sources(scheme), **changes)


@pytest.mark.parametrize("scheme", HANDLERS)
def test_inputs_there_and_output_here(finished: Path, here: Path, tmp_path: Path, scheme: str) -> None:
    with serving(scheme, HANDLERS[scheme]) as server, engine(Here(seed=1, repeated=0.5)):
        upload(server, here / "in")
        one = there(server, scheme, tmp_path / "run")
        run(one, quiet=True)
        assert files(tmp_path / "run") == files(finished)
        assert run(one, quiet=True).nothing_to_do
        versions = (tmp_path / "run/log/versions.jsonl").read_text()
        assert versions.count('"version":""') == 0


def test_inputs_and_output_there_by_two_workers(finished: Path, here: Path) -> None:
    with serving() as server, engine(Local(2)):
        upload(server, here / "in")
        run(there(server, "s3", "s3://bucket/runs/tiny"), quiet=True)
        assert hashes(run_folder("s3://bucket/runs/tiny", {"endpoint": server.endpoint})) == files(finished)


def test_the_same_bytes_through_a_network_that_fails(
    finished: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_client, "FIRST_PAUSE", timedelta(milliseconds=5))
    with serving() as server, engine(Here()):
        upload(server, here / "in")
        server.objects.faults = Faults(seed=5)
        run(there(server, "s3", tmp_path / "run"), quiet=True)
        assert files(tmp_path / "run") == files(finished)
        assert {*server.objects.faults.seen} >= {"busy", "cut"}


def test_no_secret_is_in_any_file_of_the_run(here: Path, tmp_path: Path) -> None:
    with serving() as server, engine(Here()):
        upload(server, here / "in")
        run(there(server, "s3", tmp_path / "run"), quiet=True)
    found = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(found) > 50
    assert not [path for path in found if SECRET.encode() in path.read_bytes()]


def test_ranges_of_lines_and_of_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    """Both are cut as on a disk; Parquet above the size that is copied is read by ranges."""
    monkeypatch.setattr(object_inputs, "COPIED_BYTES", 10_000)
    folder = tmp_path / "in"
    folder.mkdir()
    texts = [f"text {number} of a file that is read in ranges, with words enough" for number in range(900)]
    (folder / "a.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    pq.write_table(pa.table({"text": texts}), folder / "b.parquet", row_group_size=100, compression="none")
    changes: dict[str, Any] = {
        "split_bytes": 20_000, "tag": {"taggers": ["length_v1"]}, "dedupe": None, "tokenizer": None, "tokens": None,
        "mix": {"where": {"words": "length_v1.words > 3"}},
    }  # fmt: skip
    with serving() as server, engine(Here()):
        for path in folder.iterdir():
            server.objects.put("bucket", f"d/{path.name}", path.read_bytes(), {})
        run(recipe(tmp_path / "local", sources={"s": {"documents": f"{folder}/*"}}, **changes), quiet=True)
        elsewhere = {"s": {"documents": "s3://bucket/d/*"}}
        one = recipe(tmp_path / "run", storage={"endpoint": server.endpoint}, sources=elsewhere, **changes)
        run(one, quiet=True)
        assert len((tmp_path / "run/shards.jsonl").read_bytes().splitlines()) == 8
        assert files(tmp_path / "run") == files(tmp_path / "local")
        content = (folder / "a.jsonl").read_bytes()
        server.objects.put("bucket", "d/a.jsonl", content.replace(b"text 7 ", b"word 7 "), {})
        with pytest.raises(DataError, match=r"^s3://bucket/d/a\.jsonl: the file was changed"):
            run(one, quiet=True)


def test_a_module_a_tokenizer_and_attributes_from_there(here: Path, finished: Path, tmp_path: Path) -> None:
    with serving() as server, engine(Here()):
        upload(server, here / "in")
        server.objects.put("bucket", "code/marks.py", MARKS.encode(), {})
        tokenizer = (finished / "tokenizer/tokenizer.json").read_bytes()
        server.objects.put("bucket", "t/tokenizer.json", tokenizer, {})
        for path in (finished / "attributes/length_v1").rglob("*.parquet"):
            name = path.relative_to(finished / "attributes/length_v1").as_posix()
            server.objects.put("bucket", f"given/{name}", path.read_bytes(), {})
        settings: dict[str, Any] = {
            "tag": {"taggers": ["marks_v1"]},
            "tokenizer": {"load": "s3://bucket/t/tokenizer.json", "special_tokens": ["<|endoftext|>"]},
            "modules": ["s3://bucket/code/marks.py"],
        }
        given = {name: {**one, "attributes": "s3://bucket/given"} for name, one in sources("s3").items()}
        one = recipe(tmp_path / "run", storage={"endpoint": server.endpoint}, **{**settings, "sources": given})
        run(one, quiet=True)
        assert run(one, quiet=True).nothing_to_do
        mine = {
            "tag": {"taggers": ["marks_v1"]},
            "tokenizer": {"load": str(finished / "tokenizer/tokenizer.json"), "special_tokens": ["<|endoftext|>"]},
            "modules": ["./marks.py"],
            "sources": {
                name: {"documents": f"in/{name}/*", "attributes": str(finished / "attributes/length_v1")}
                for name in ("web", "code", "forum")
            },
        }
        run(recipe(tmp_path / "local", **mine), quiet=True)
        there_, here_ = files(tmp_path / "run"), files(tmp_path / "local")
        different = {name for name in there_ if there_[name] != here_.get(name)}
        assert there_.keys() == here_.keys()
        assert not {name for name in different if not name.endswith("manifest.json")}


def test_files_of_the_web_that_break_off_and_parquet_without_ranges(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "wait", lambda number: None)
    texts = [f"text {number} of a web server, with words enough to be kept" for number in range(600)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "b.parquet", row_group_size=100)
    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in texts[:400]))
    changes: dict[str, Any] = {
        "split_bytes": 10_000, "tag": {"taggers": ["length_v1"]}, "dedupe": None, "tokenizer": None, "tokens": None,
        "mix": {"where": {"words": "length_v1.words > 3"}},
    }  # fmt: skip
    local = {"s": {"documents": [f"{tmp_path}/a.jsonl", f"{tmp_path}/b.parquet"]}}
    with web_serving() as server, engine(Here()):
        run(recipe(tmp_path / "local", sources=local, **changes), quiet=True)
        server.files = {f"/{name}": (tmp_path / name).read_bytes() for name in ("a.jsonl", "b.parquet")}
        elsewhere = {"s": {"documents": [f"{server.url}/a.jsonl", f"{server.url}/b.parquet"]}}
        for has_ranges in (True, False):
            server.has_ranges, server.breaks = has_ranges, True
            one = recipe(tmp_path / f"run-{has_ranges}", sources=elsewhere, **changes)
            run(one, quiet=True)
            assert files(tmp_path / f"run-{has_ranges}") == files(tmp_path / "local")
        del server.files["/a.jsonl"]
        with pytest.raises(UsageError, match=r"sources\.s\.documents: http://.*/a\.jsonl: no such file\."):
            run(one, quiet=True)


def test_a_run_cannot_read_its_own_folder_there(here: Path) -> None:
    with serving() as server, engine(Here()):
        server.objects.put("bucket", "run/in/a.jsonl", b'{"text": "x"}\n', {})
        own = {"s": {"documents": "s3://bucket/run/in/*"}}
        changes = {"tag": {"taggers": ["length_v1"]}, "dedupe": None, "tokenizer": None, "tokens": None, "mix": None}
        with pytest.raises(UsageError, match=r"s3://bucket/run/in/a\.jsonl lies in the run's own folder"):
            run(recipe("s3://bucket/run", storage={"endpoint": server.endpoint}, sources=own, **changes), quiet=True)


class Vanishing(Handler):
    """A file is listed, and gone when its first bytes are asked for."""

    def answer(self, keys: dict[str, Stored]) -> tuple[int, dict[str, str], bytes]:
        if self.key.endswith("/web/b.jsonl") and self.command == "GET":
            keys.pop(self.key, None)
        return super().answer(keys)


def test_an_input_that_vanishes_before_work_starts_is_one_line(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving("s3", Vanishing) as server:
        upload(server, here / "in")
        (name := tmp_path / "r.yaml").write_text(
            f"output: {tmp_path}/run\nsources: {{web: {{documents: s3://bucket/corpus é+%/web/*}}}}\n"
            f"storage: {{endpoint: '{server.endpoint}'}}\ntag: {{taggers: [length_v1]}}\n"
        )
        assert main(["run", str(name)]) == 1
    assert capsys.readouterr().err == "error: s3://bucket/corpus é+%/web/b.jsonl: no such file\n"


def test_a_module_on_a_store_that_a_yaml_names(here: Path, tmp_path: Path) -> None:
    """Its stages and taggers are known before the rest of the recipe is checked."""
    with serving() as server, engine(Here()):
        server.objects.put("bucket", "code/marks.py", MARKS.encode(), {})
        name = tmp_path / "r.yaml"
        name.write_text(
            f"output: {tmp_path}/run\nsources: {{web: {{documents: in/web/*}}}}\nmodules: [s3://bucket/code/marks.py]\n"
            f"storage: {{endpoint: '{server.endpoint}'}}\ntag: {{taggers: [marks_v1]}}\n"
        )
        run(str(name), quiet=True)
        assert (tmp_path / "run/attributes/marks_v1/manifest.json").is_file()
        with pytest.raises(UsageError, match=r"s3://bucket/code/mark\.py \(modules\): no such file\."):
            run(str(name), "modules=[s3://bucket/code/mark.py]", quiet=True)


def test_tasks_on_a_store_are_copied_once_under_their_names() -> None:
    with serving() as server:
        server.objects.put("bucket", "tasks/arc easy.jsonl", b'{"id": 1}\n', {})
        recipe_ = recipe("memory://tasks", storage={"endpoint": server.endpoint})
        process = Process(Run(recipe_, run_folder("memory://tasks")))
        config = EvalConfig(tasks=("s3://bucket/tasks/arc easy.jsonl", "here/mine.jsonl"))
        ((name, path), (other, mine)) = task_files(with_local_tasks(process, config)).items()
        assert (name, path.read_bytes(), other, str(mine)) == ("arc easy", b'{"id": 1}\n', "mine", "here/mine.jsonl")
        assert task_files(with_local_tasks(process, config))[name] == path
        gone = EvalConfig(tasks=("s3://bucket/tasks/none.jsonl",))
        with pytest.raises(UsageError, match=r"^eval\.tasks: s3://bucket/tasks/none\.jsonl: no such file\."):
            with_local_tasks(process, gone)
        process.close()


def test_what_is_wrong_with_attributes_there_names_them(here: Path, finished: Path, tmp_path: Path) -> None:
    with serving() as server, engine(Here()):
        upload(server, here / "in")
        given = pq.read_table(finished / "attributes/length_v1/web/a.parquet")
        for name, rows in (("a", given), ("b", given.slice(0, 60))):
            content = pa.BufferOutputStream()
            pq.write_table(rows, content)
            server.objects.put("bucket", f"given/{name}.parquet", content.getvalue().to_pybytes(), {})
        server.objects.put("bucket", "elsewhere/x.parquet", b"", {})
        changes: dict[str, Any] = {
            "storage": {"endpoint": server.endpoint},
            "sources": {"web": {**sources("s3")["web"], "attributes": "s3://bucket/given"}},
            "tag": None, "dedupe": None, "tokenizer": None, "tokens": None, "modules": None,
            "mix": {"where": {"words": "length_v1.words > 3"}},
        }  # fmt: skip
        with pytest.raises(DolmaError, match=r"s3://bucket/given/b\.parquet: ") as caught:
            run(recipe(tmp_path / "run", **changes), quiet=True)
        assert "dolma-pipeline-" not in str(caught.value).splitlines()[-1]
        for folder, words in (
            ("s3://bucket/none", r"sources\.web\.attributes: s3://bucket/none: no such folder"),
            ("s3://gone/given", r"s3://gone does not exist"),
            ("s3://bucket/elsewhere", r"has no file for shard web/a \(looked for a\.parquet and a\.jsonl\.gz\)"),
        ):
            changes["sources"]["web"]["attributes"] = folder
            with pytest.raises(UsageError, match=words):
                run(recipe(tmp_path / "other", **changes), quiet=True)
