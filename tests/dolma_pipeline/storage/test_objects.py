"""What is an object store's own: URLs, foreign keys, parts, ranges, deletions, locks, listings."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.runner.lock import RunLock
from dolma_pipeline.storage import objects
from dolma_pipeline.storage.folder import run_folder
from dolma_pipeline.storage.object_names import key_of, name_of
from dolma_pipeline.storage.objects import ObjectFolder
from tests.dolma_pipeline.storage.fake_objects import SECRET
from tests.dolma_pipeline.storage.fake_store import Server, serving
from tests.dolma_pipeline.storage.helpers import names, stored
from tests.dolma_pipeline.storage.many_keys import ManyKeys

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("S3://bucket/a/", "s3://bucket/a"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("gs://my.bucket_1/a b+c%/é", "gs://my.bucket_1/a b+c%/é"),
        ("az://container/a", "az://container/a"),
    ],
)
def test_urls(url: str, expected: str) -> None:
    assert run_folder(url).url == expected
    assert run_folder(url) == run_folder(expected)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://", r"^'s3://' names no bucket: write s3://bucket/prefix\.$"),
        ("s3:///a", r"^'s3:///a' names no bucket"),
        ("s3://b u/a", r"names no bucket"),
        ("s3://bucket/a//b", r"^'s3://bucket/a//b': a part of its prefix is empty, '\.' or '\.\.', or it begins"),
        ("s3://bucket/a/../b", r"a part of its prefix"),
        ("s3://bucket/.tmp/b", r"begins with \.tmp\.$"),
        (f"s3://key:{SECRET}@bucket/a", r"^a URL of s3:// names bucket and prefix only .* credentials in the env"),
        (f"az://bucket/a?sig={SECRET}", r"^a URL of az:// names bucket and prefix only"),
    ],
)
def test_urls_of_no_folder(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        run_folder(url)
    assert SECRET not in str(caught.value)


def test_keys_are_names(folder: ObjectFolder, server: Server) -> None:
    given = [
        "a b",
        "a+b",
        "a%20b",
        "é/東京",
        "100%",
        "x#y?z=&;",
        "a:b,c",
        "%25",
        "%0A",
        "a\nb",
        "a\x7fb",
        "a\\b",
        "%5C",
    ]
    for name in given:
        folder.write(name, name.encode())
        assert name_of(key_of(name)) == name
    assert {f"run/{name}" for name in given[:7]} <= {*stored(server)}
    assert {"run/%2525", "run/%250A", "run/a%0Ab", "run/a%7Fb", "run/a%5Cb", "run/%255C"} <= {*stored(server)}
    assert {*names(folder)} == {*given}
    assert [folder.read(name).decode() for name in given] == given
    folder.delete(given)
    assert stored(server) == {}


def test_foreign_folders_are_no_files(folder: ObjectFolder, server: Server) -> None:
    for key in ("run/", "run/a/", "run/b/", "run/c/", "run/c-d", "run/c"):
        server.objects.put("bucket", key, b"", {})
    folder.write("a/x", b"1")
    assert names(folder) == ["a/x", "c", "c-d"]
    assert names(folder, "a") == ["a/x"]
    assert names(folder, "b") == []
    assert folder.stat("a") is None
    with pytest.raises(FileNotFoundError, match=r"^s3://bucket/run/b: no such file$"):
        folder.read("b")
    assert folder.stat("c") is not None
    folder.delete_tree("a")
    assert names(folder) == ["c", "c-d"]


def test_what_is_beside_the_prefix_is_not_touched(folder: ObjectFolder, server: Server) -> None:
    for key in ("run2/a", "run", "other", "ru"):
        server.objects.put("bucket", key, b"1", {})
    folder.write("a", b"")
    assert names(folder) == ["a"]
    folder.delete(["a"])
    assert {*stored(server)} == {"run2/a", "run", "other", "ru"}


def test_keys_that_cannot_be_named_are_told_of(folder: ObjectFolder, server: Server) -> None:
    server.objects.put("bucket", "run/a//b", b"1", {})
    with pytest.raises(RunError, match=r"cannot be listed: a key there cannot be the name of a file .*Take that"):
        names(folder)


def test_a_store_that_lists_in_another_order_is_refused(
    folder: ObjectFolder, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        folder.write(name, b"1")
    before = server.RequestHandlerClass.page  # type: ignore[attr-defined]
    monkeypatch.setattr(server.RequestHandlerClass, "page", lambda *args: (before(*args)[0][::-1], ""))
    with pytest.raises(RunError, match="this store does not list keys in order"):
        names(folder)


def test_large_files_go_up_in_parts(folder: ObjectFolder, server: Server) -> None:
    piece = bytes(range(256)) * 4096
    with folder.committing("big") as file:
        for _ in range(20):
            file.write(piece)
        assert not server.objects.asked
    assert file.num_bytes == len(piece) * 20
    assert stored(server)["run/big"].content == piece * 20
    assert server.objects.asked == {"POST uploads": 1, "PUT partNumber": 3, "POST uploadId": 1}
    assert folder.read("big") == piece * 20
    with folder.local("big") as path:
        assert path.read_bytes() == piece * 20
    assert not path.exists()


def test_an_upload_that_is_refused_leaves_nothing(folder: ObjectFolder, server: Server) -> None:
    server.objects.refusal, server.objects.refuses = (403, "AccessDenied"), "PUT .*partNumber=2"
    with pytest.raises(RunError, match=r"^s3://bucket/run/big cannot be written: .*permission"):
        with folder.committing("big") as file:
            file.write(bytes(20_000_000))
    assert (stored(server), server.objects.uploads) == ({}, {})
    assert server.objects.asked["DELETE uploadId"] == 1


def test_a_block_that_fails_asks_for_nothing(folder: ObjectFolder, server: Server) -> None:
    with pytest.raises(ZeroDivisionError), folder.committing("big") as file:
        file.write(bytes(20_000_000))
        file.write(bytes(1 // 0))
    assert not server.objects.asked


def test_large_files_are_read_by_ranges(folder: ObjectFolder, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "COPIED_BYTES", 1000)
    table = pa.table({"row": range(100_000), "word": [f"word {number}" for number in range(100_000)]})
    with folder.committing("t.parquet") as file:
        pq.write_table(table, file, row_group_size=10_000)
    server.objects.asked.clear()
    source: Any = folder.random("t.parquet")
    with source:
        found = pq.ParquetFile(source, pre_buffer=False)
        assert found.read_row_group(7, columns=["row"]).column("row").to_pylist() == [*range(70_000, 80_000)]
        assert source.num_requests + 1 == server.objects.asked["GET"] <= 4
        source.seek(-8, 2)
        assert source.read()[4:] == b"PAR1"
        assert source.read(3) == b""
        folder.write("t.parquet", b"another one, with other bytes" * 100_000)
        source.seek(0)
        with pytest.raises(RunError, match=r"t\.parquet was written anew while it was read\.$"):
            source.read(4)


def test_many_are_deleted_in_few_requests(folder: ObjectFolder, server: Server) -> None:
    given = [f"a/{number:04}" for number in range(2500)]
    for name in given:
        server.objects.put("bucket", f"run/{name}", b"1", {})
    folder.delete([*given[:1200], "no/such"])
    assert server.objects.asked == {"POST delete": 2}
    assert names(folder) == given[1200:]
    folder.delete_tree("a")
    assert stored(server) == {}


def test_of_two_launchers_at_once_one_wins(folder: ObjectFolder) -> None:
    for _ in range(20):
        barrier, ends = threading.Barrier(2), threading.Barrier(2)

        def begin(_: int, barrier: threading.Barrier = barrier, ends: threading.Barrier = ends) -> str:
            barrier.wait()
            try:
                with RunLock(folder):
                    ends.wait()
                    return "won"
            except UsageError as error:
                ends.wait()
                return "lost" if "at work here" in str(error) or "has just begun" in str(error) else str(error)

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(begin, range(2))) == ["lost", "won"]
        assert folder.stat("lock.json") is None


def test_a_store_without_conditions_is_found_out_once_a_process(folder: ObjectFolder, server: Server) -> None:
    folder.check_conditions()
    assert (stored(server), names(folder)) == ({}, [])
    asked = sum(server.objects.asked.values())
    folder.check_conditions()
    assert sum(server.objects.asked.values()) == asked
    other = ObjectFolder("s3://bucket/other", {"endpoint": server.endpoint})
    server.objects.ignores_conditions = True
    with pytest.raises(UsageError, match=r"^s3://bucket/other: this store ignores 'create only if absent'"):
        other.check_conditions()
    assert stored(server) == {}


LISTS = """
import resource, sys, time
from dolma_pipeline.storage.folder import run_folder
folder = run_folder("s3://bucket/run", {"endpoint": sys.argv[1]})
folder.stat("x")
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
before, begin, cpu = resident(), time.perf_counter(), time.process_time()
last, count, most = "", 0, before
for entry in folder.list():
    assert entry.name > last
    last, count = entry.name, count + 1
    if count % 1000 == 500:
        most = max(most, resident())
print(count, time.perf_counter() - begin, time.process_time() - cpu, most - before, most)
"""


def test_many_keys_are_listed_in_seconds_and_are_not_held() -> None:
    with serving("s3", ManyKeys) as one:
        command = [sys.executable, "-c", LISTS, one.endpoint]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        count, _, cpu, megabytes, _ = done.stdout.split()
        print(done.stdout)
        assert int(count) == 100_000
        assert float(cpu) < 10
        assert float(megabytes) < 30
