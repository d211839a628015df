"""What every form of a run's folder does, whoever asks and however many at once."""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma_pipeline.errors import UsageError
from dolma_pipeline.storage.folder import RunFolder
from tests.dolma_pipeline.storage.forms import FORMS, SHARED


@pytest.fixture(params=FORMS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    return FORMS[request.param](tmp_path)


@pytest.fixture(params=SHARED)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    return FORMS[request.param](tmp_path)


def names(folder: RunFolder, under: str = "") -> list[str]:
    return [entry.name for entry in folder.list(under)]


def test_what_is_written_is_read(folder: RunFolder) -> None:
    assert names(folder) == []
    folder.write("a/b.bin", b"one\ntwo")
    assert folder.read("a/b.bin") == b"one\ntwo"
    with folder.stream("a/b.bin") as file:
        assert file.readline() == b"one\n"
        assert file.read() == b"two"
    with folder.random("a/b.bin") as file:
        assert file.seek(-3, 2) == 4
        assert file.read() == b"two"
        file.seek(1)
        assert file.read(2) == b"ne"
    with folder.local("a/b.bin") as path:
        assert path.read_bytes() == b"one\ntwo"
        assert path.suffix == ".bin"
    folder.write("empty", b"")
    assert folder.read("empty") == b""
    assert folder.stat("empty").size == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("ask", ["read", "stream", "random", "local"])
@pytest.mark.parametrize("name", ["no", "a/no", "a/b/c", "a"])
def test_what_is_not_there_is_named(folder: RunFolder, ask: str, name: str) -> None:
    """`a/b` is a file, so nothing is below it; `a` is what names begin with, and no file."""
    folder.write("a/b", b"")
    with pytest.raises(FileNotFoundError, match=name):
        found = getattr(folder, ask)(name)
        found.__enter__()
    assert folder.stat(name) is None


def test_parquet_is_written_and_read_in_place(folder: RunFolder) -> None:
    table = pa.table({"row": range(1000), "word": ["word"] * 1000})
    with folder.committing("t.parquet") as file, pq.ParquetWriter(file, table.schema) as writer:
        writer.write_table(table, row_group_size=100)
    with folder.random("t.parquet") as source:
        found = pq.ParquetFile(source)
        assert found.num_row_groups == 10
        assert found.read_row_group(7, columns=["row"]).column("row").to_pylist() == list(range(700, 800))
    with folder.local("t.parquet") as path:
        assert pq.read_table(path).equals(table)


def test_a_file_appears_when_its_block_ends_and_what_it_holds_is_known(folder: RunFolder) -> None:
    folder.write("a", b"before")
    with folder.committing("a") as file:
        assert file.write(b"12") == 2
        assert file.write(memoryview(b"3456")[1:]) == 3
        assert file.write(pa.py_buffer(b"7")) == 1
        assert (file.num_bytes, file.tell()) == (6, 6)
        assert folder.read("a") == b"before"
        assert names(folder) == ["a"]
    assert folder.read("a") == b"124567"
    assert file.num_bytes == 6
    assert file.sha256 == hashlib.sha256(b"124567").hexdigest()
    with pytest.raises(ValueError, match=r"a: written to after its end$"):
        file.write(b"8")


def test_a_block_that_fails_leaves_what_was_there(folder: RunFolder) -> None:
    for before in ([], ["a"]):
        with pytest.raises(ZeroDivisionError), folder.committing("a") as file:
            file.write(b"half")
            file.write(bytes([1 // 0]))
        assert names(folder) == before
        folder.write("a", b"before")
    assert folder.read("a") == b"before"


def test_a_writer_that_closes_what_it_was_given_is_no_loss(folder: RunFolder) -> None:
    with folder.committing("a") as file:
        file.write(b"all")
        file.close()
    assert folder.read("a") == b"all"


def test_a_file_being_written_stays_in_its_process(folder: RunFolder) -> None:
    with folder.committing("a") as file, pytest.raises(TypeError, match="a: a file being written stays in its process"):
        pickle.dumps(file)


def test_the_version_changes_with_every_writing(folder: RunFolder) -> None:
    seen = set()
    for content in (b"one", b"two", b"two"):
        folder.write("a", content)
        entry = folder.stat("a")
        assert entry is not None
        assert (entry.name, entry.size) == ("a", 3)
        assert entry == folder.stat("a") == next(iter(folder.list()))
        seen.add(entry.version)
    kept_apart = {"s3": 2, "gs": 2, "az": 3}  # a tag that is a hash is the same for equal content
    assert len(seen) == kept_apart.get(folder.url.partition("://")[0], 3)


def test_create_is_for_the_first_one(folder: RunFolder) -> None:
    assert folder.create("a/lock", b"mine")
    assert not folder.create("a/lock", b"yours")
    assert folder.read("a/lock") == b"mine"
    folder.delete(["a/lock"])
    assert folder.create("a/lock", b"yours")
    assert names(folder) == ["a/lock"]


def test_replace_is_for_who_knows_what_is_there(folder: RunFolder) -> None:
    assert folder.replace("a", b"1", "any") is None
    folder.write("a", b"1")
    first = folder.stat("a").version  # type: ignore[union-attr]
    second = folder.replace("a", b"22", first)
    assert second is not None
    assert second == folder.stat("a").version  # type: ignore[union-attr]
    assert folder.replace("a", b"33", first) is None
    assert folder.read("a") == b"22"
    assert folder.replace("a", b"33", second) not in (None, first, second)
    assert names(folder) == ["a"]


def test_list_is_sorted_by_whole_names_and_streamed(folder: RunFolder) -> None:
    given_names = ["b", "a/x", "a.b/x", "a-/x", "a0", "a/b/c", "a/b.c", "ab", "ä/x", "Z", "a/x.y/z", ".done/a/b"]
    for name in given_names:
        folder.write(name, name.encode())
    assert names(folder) == sorted(given_names)
    assert names(folder, "a") == ["a/b.c", "a/b/c", "a/x", "a/x.y/z"]
    assert names(folder, "a/b") == ["a/b/c"]
    assert names(folder, "b") == names(folder, "no/such") == names(folder, "a/x") == []
    assert [entry.size for entry in folder.list("a")] == [5, 5, 3, 7]
    stream = folder.list()
    assert next(stream).name == ".done/a/b"
    folder.delete(["ä/x"])
    is_paged = folder.url.startswith(("s3:", "gs:", "az:"))  # what is deleted after its page came is still told of
    assert is_paged or "ä/x" not in [entry.name for entry in stream]


def test_delete_takes_what_is_there(folder: RunFolder) -> None:
    for name in ("a/b", "a/c/d", "ab", "e"):
        folder.write(name, b"")
    folder.delete(["e", "no", "no/such", "a", "a/b/x"])
    assert names(folder) == ["a/b", "a/c/d", "ab"]
    folder.delete_tree("a")
    folder.delete_tree("no/such")
    assert names(folder) == ["ab"]
    folder.remove_attempts()
    assert names(folder) == ["ab"]


VERBS: list[Callable[[RunFolder, str], object]] = [
    lambda folder, name: folder.read(name),
    lambda folder, name: folder.stream(name),
    lambda folder, name: folder.random(name),
    lambda folder, name: folder.local(name).__enter__(),
    lambda folder, name: folder.stat(name),
    lambda folder, name: list(folder.list(name)),
    lambda folder, name: folder.write(name, b""),
    lambda folder, name: folder.create(name, b""),
    lambda folder, name: folder.replace(name, b"", "1"),
    lambda folder, name: folder.delete([name]),
    lambda folder, name: folder.delete_tree(name),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "name", ["..", "../x", "a/../../x", "/x", "//x", "a//b", "a/", "./a", "a/.", "a\0b", ".tmp/a", ".tmp"]
)
def test_names_that_leave_the_folder_are_refused(
    folder: RunFolder, tmp_path: Path, verb: Callable[[RunFolder, str], object], name: str
) -> None:
    folder.write("a/b", b"")
    (tmp_path / "x").write_bytes(b"outside")
    with pytest.raises(UsageError) as caught:
        verb(folder, name)
    assert str(caught.value).startswith(f"{name!r} cannot be the name of a file in a run's folder: names are relative")
    assert names(folder) == ["a/b"]
    assert (tmp_path / "x").read_bytes() == b"outside"


@pytest.mark.parametrize("verb", [verb for i, verb in enumerate(VERBS) if i != 5])
def test_nothing_is_no_name(folder: RunFolder, verb: Callable[[RunFolder, str], object]) -> None:
    folder.write("a/b", b"")
    with pytest.raises(UsageError, match=r"^'' cannot be the name"):
        verb(folder, "")
    assert names(folder) == ["a/b"]


PARTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20)
NAMES = st.lists(PARTS.filter(lambda part: part not in (".", "..", ".tmp")), min_size=1, max_size=3).map("/".join)


@settings(deadline=None)  # a store on a busy machine may take its time
@given(name=NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_any_other_name_will_do(form: str, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = FORMS[form](tmp_path_factory.mktemp("any"))
    folder.write(name, name.encode())
    assert names(folder) == [name]
    assert folder.read(name) == name.encode()


def test_a_folder_travels_as_its_url(folder: RunFolder) -> None:
    folder.write("a", b"1")
    other = pickle.loads(pickle.dumps(folder))
    assert other == folder
    assert hash(other) == hash(folder)
    assert other.url == folder.url
    assert other != object()
    assert other.read("a") == b"1"
    assert len(pickle.dumps(folder)) < 400


def test_threads_that_write_one_name_leave_one_whole_file(folder: RunFolder) -> None:
    contents = [bytes([i]) * 100_000 for i in range(8)]
    barrier = threading.Barrier(len(contents))

    def write(content: bytes) -> str:
        barrier.wait()
        for _ in range(5):
            with folder.committing("a/b") as file:
                file.write(content[:50_000])
                file.write(content[50_000:])
            assert folder.read("a/b") in contents
        return file.sha256

    with ThreadPoolExecutor(len(contents)) as pool:
        hashes = list(pool.map(write, contents))
    assert hashes == [hashlib.sha256(content).hexdigest() for content in contents]
    assert names(folder) == ["a/b"]


def test_one_of_many_threads_creates_and_one_replaces(folder: RunFolder) -> None:
    for round_ in range(20):
        name, barrier = f"locks/{round_}", threading.Barrier(6)

        def take(number: int, name: str = name, barrier: threading.Barrier = barrier) -> tuple[bool, bool]:
            barrier.wait()
            created = folder.create(name, bytes([number]))
            barrier.wait()
            version = folder.stat(name).version  # type: ignore[union-attr]
            barrier.wait()
            return created, folder.replace(name, bytes([number]) * 2, version) is not None

        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(take, range(6)))
        assert sum(created for created, _ in found) == 1
        assert sum(replaced for _, replaced in found) == 1
        assert folder.read(name) == bytes([[replaced for _, replaced in found].index(True)]) * 2


def take_in_process(folder: RunFolder, number: int) -> tuple[list[bool], list[bool]]:
    """One of several processes: creates and replaces the same names as the others."""
    created, replaced = [], []
    for i in range(40):
        created.append(folder.create(f"locks/{i}", b"%d" % number))
        entry = folder.stat(f"versions/{i}")
        assert entry is not None
        if entry.size == 0:
            replaced.append(folder.replace(f"versions/{i}", b"%d" % number, entry.version) is not None)
        folder.write("shared/file", b"%d" % number * 50_000)
        assert len(set(folder.read("shared/file"))) == 1
        assert folder.stat("shared/file").size == 50_000  # type: ignore[union-attr]
    return created, replaced


def test_one_of_many_processes_creates_and_one_replaces(shared: RunFolder) -> None:
    for i in range(40):
        shared.write(f"versions/{i}", b"")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        found = list(pool.map(take_in_process, [shared] * 3, range(3)))
    assert sum(sum(created) for created, _ in found) == 40
    assert sum(sum(replaced) for _, replaced in found) == 40
    assert len(names(shared)) == 81
