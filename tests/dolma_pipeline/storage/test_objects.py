"""What is an object store's own: URLs and settings, what it refuses, foreign keys, parts, repetitions, forks."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.runner.lock import RunLock
from dolma_pipeline.storage import object_bucket, object_client, objects
from dolma_pipeline.storage.folder import run_folder
from dolma_pipeline.storage.object_names import key_of, name_of
from dolma_pipeline.storage.objects import ObjectFolder
from tests.dolma_pipeline.storage.fake_azure import AzureHandler
from tests.dolma_pipeline.storage.fake_store import SECRET, Faults, Handler, Server, Stored, serving

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_client, "FIRST_PAUSE", timedelta(milliseconds=2))


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


@pytest.fixture
def folder(server: Server) -> ObjectFolder:
    return ObjectFolder("s3://bucket/run", {"endpoint": server.endpoint})


def stored(server: Server) -> dict[str, Stored]:
    return server.objects.buckets["bucket"]


def names(folder: ObjectFolder, under: str = "") -> list[str]:
    return [entry.name for entry in folder.list(under)]


class Script(Faults):
    """Faults one after the other, then none."""

    def __init__(self, *faults: str) -> None:
        super().__init__(0)
        self._faults = [*faults]

    def draw(self) -> str:
        with self._lock:
            return self._faults.pop(0) if self._faults else ""


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


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"regoin": "x"}, r"^no setting of a store named 'regoin'\. Did you mean 'region'\?"),
        ({"endpoint": "127.0.0.1:9000"}, r"the endpoint must be http\(s\)://host:port"),
        ({"endpoint": f"http://me:{SECRET}@host"}, r"the endpoint must be http"),
        ({"endpoint": f"http://host/?key={SECRET}"}, r"the endpoint must be http"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        run_folder("s3://bucket/run", settings)
    assert SECRET not in str(caught.value)


def test_neither_pickle_nor_repr_nor_message_holds_a_secret(folder: ObjectFolder, server: Server) -> None:
    folder.write("a", b"1")
    assert repr(folder) == "ObjectFolder('s3://bucket/run')"
    texts = [repr(folder).encode(), pickle.dumps(folder), repr(vars(folder)).encode()]
    for status, code in [(403, "AccessDenied"), (403, "SignatureDoesNotMatch"), (400, "Other")]:
        server.objects.refusal = (status, code)
        with pytest.raises(RunError) as caught:
            folder.read("a")
        texts += [str(caught.value).encode(), pickle.dumps(caught.value), repr(caught.value).encode()]
    assert not [text for text in texts if SECRET.encode() in text]


SAID = [
    (403, "AccessDenied", r"these credentials have no permission for that \(the store said 403 AccessDenied\)"),
    (403, "RequestTimeTooSkewed", r"this machine's clock differs too much .* Set the clock"),
    (403, "SignatureDoesNotMatch", r"does not accept the credentials .* renew AWS_ACCESS_KEY_ID and AWS_SECRET"),
    (403, "InvalidAccessKeyId", r"does not accept the credentials"),
    (400, "ExpiredToken", r"does not accept the credentials"),
    (401, "Unauthorized", r"does not accept the credentials"),
    (404, "NoSuchBucket", r"s3://bucket does not exist .* Make it, or correct the URL\."),
    (301, "PermanentRedirect", r"s3://bucket is in another region.* Give it: `storage: \{region: …\}` or AWS_REGION"),
    (400, "AuthorizationHeaderMalformed", r"is in another region"),
    (507, "XMinioStorageFull", r"the quota of s3://bucket is used up .* Free some space"),
    (503, "SlowDown", r"the store was busy for too long \(the store said 503 SlowDown\)"),
    (400, "Something", r"the store refused it, GenericError \(the store said 400 Something\)"),
]


@pytest.mark.parametrize(("status", "code", "words"), SAID, ids=[code for _, code, _ in SAID])
def test_what_a_store_refuses_is_one_sentence(
    folder: ObjectFolder, server: Server, status: int, code: str, words: str
) -> None:
    server.objects.refusal = (status, code)
    verbs = {
        "read": lambda: folder.read("a"),
        "written": lambda: folder.write("a", b"1"),
        "listed": lambda: names(folder),
        "deleted": lambda: folder.delete(["a"]),
    }
    for verb, ask in verbs.items():
        with pytest.raises(RunError, match=rf"^s3://bucket/run(/a|/)? cannot be {verb}: .*{words}") as caught:
            ask()
        assert "\n" not in str(caught.value)
    with pytest.raises(RunError, match=rf"^s3://bucket/run/a cannot be written: .*{words}"):
        folder.create("a", b"1")
    with pytest.raises(UsageError, match=rf"^s3://bucket/run cannot be read: .*{words}"):
        folder.check()


@pytest.mark.parametrize(
    ("scheme", "status", "code", "words"),
    [
        ("az", 404, "ContainerNotFound", r"az://bucket does not exist"),
        ("az", 403, "AuthenticationFailed", r"does not accept the credentials .* AZURE_STORAGE_ACCOUNT_KEY"),
        ("az", 403, "AuthorizationPermissionMismatch", r"have no permission"),
        ("gs", 404, "NoSuchBucket", r"gs://bucket does not exist"),
        ("gs", 403, "AccessDenied", r"have no permission"),
    ],
)
def test_what_the_other_stores_refuse(scheme: str, status: int, code: str, words: str) -> None:

    with serving(scheme, AzureHandler if scheme == "az" else Handler) as one:
        one.objects.refusal = (status, code)
        folder = ObjectFolder(f"{scheme}://bucket/run", {"endpoint": one.endpoint})
        for ask in (lambda: folder.read("a"), lambda: folder.write("a", b"1"), lambda: names(folder)):
            with pytest.raises(RunError, match=words):
                ask()


def test_a_store_that_cannot_be_reached_is_told_of_in_seconds() -> None:
    folder = ObjectFolder("s3://bucket/run", {"endpoint": "http://127.0.0.1:9"})
    with pytest.raises(UsageError, match=r"^s3://bucket/run cannot be read: the store cannot be reached\. Look at"):
        folder.check()


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.delenv(name, raising=False)


def test_missing_credentials(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without(monkeypatch, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GOOGLE_SERVICE_ACCOUNT_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    for scheme in ("s3", "gs"):
        folder = ObjectFolder(f"{scheme}://bucket/run", {"endpoint": server.endpoint})
        with pytest.raises(UsageError, match=rf"^{scheme}://bucket/run cannot be opened: no credentials were found"):
            folder.check()
        with pytest.raises(RunError, match="no credentials were found"):
            folder.read("a")
    assert not server.objects.asked


def test_missing_credentials_where_the_machine_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata address is one of loopback, where nobody listens."""
    without(monkeypatch, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    folder = ObjectFolder("s3://bucket/run", {"endpoint": server.endpoint, "region": "somewhere"})
    with pytest.raises(UsageError, match=r"^s3://bucket/run cannot be read: no credentials were found\. Set AWS"):
        folder.check()


def test_half_of_the_credentials(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    folder = ObjectFolder("s3://bucket/run", {"endpoint": server.endpoint})
    with pytest.raises(
        RunError, match=r"cannot be opened, GenericError: look at the environment's credentials"
    ) as caught:
        folder.read("a")
    assert SECRET not in str(caught.value)


def test_names_of_the_user_do_not_change_what_is_told(server: Server) -> None:
    folder = ObjectFolder("s3://bucket/AccessDenied credentials/HTTP error", {"endpoint": server.endpoint})
    server.objects.refusal = (400, "Something")
    with pytest.raises(RunError, match=r"the store refused it, GenericError \(the store said 400 Something\)"):
        folder.write("SlowDown NoSuchBucket", b"1")


def test_keys_are_names(folder: ObjectFolder, server: Server) -> None:
    given = ["a b", "a+b", "a%20b", "é/東京", "100%", "x#y?z=&;", "a:b\\c", "%25", "%0A", "a\nb", "a\x7fb"]
    for name in given:
        folder.write(name, name.encode())
        assert name_of(key_of(name)) == name
    assert {f"run/{name}" for name in given[:7]} <= {*stored(server)}
    assert {"run/%2525", "run/%250A", "run/a%0Ab", "run/a%7Fb"} <= {*stored(server)}
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


@pytest.mark.parametrize("fault", ["lost", "busy", "dropped", "cut"])
def test_a_request_whose_answer_was_lost_is_still_ours(folder: ObjectFolder, server: Server, fault: str) -> None:
    server.objects.faults = Script(fault)
    assert folder.create("lock", b"mine")
    assert not folder.create("lock", b"mine")
    version = folder.stat("lock").version  # type: ignore[union-attr]
    server.objects.faults = Script("", fault)
    after = folder.replace("lock", b"mine still", version)
    assert after == folder.stat("lock").version  # type: ignore[union-attr]
    assert folder.replace("lock", b"other", version) is None
    server.objects.faults = Script(fault)
    folder.delete(["lock"])
    server.objects.faults = Script(fault, fault)
    assert names(folder) == []


def test_a_conflict_of_two_puts_is_not_yet_an_answer(folder: ObjectFolder, server: Server) -> None:
    server.objects.faults = Script("conflict", "", "conflict")
    assert folder.create("lock", b"mine")
    version = folder.stat("lock").version  # type: ignore[union-attr]
    server.objects.faults = Script("", "conflict")
    assert folder.replace("lock", b"mine still", version) is not None
    server.objects.faults = Script("conflict")
    assert not folder.create("lock", b"yours")
    assert folder.read("lock") == b"mine still"


def test_what_one_answer_after_the_other_cuts_comes_whole(folder: ObjectFolder, server: Server) -> None:
    content = b"".join(number.to_bytes(4, "big") for number in range(3_000_000))
    folder.write("big", content)
    server.objects.faults = Faults(seed=3, busy=0.2, dropped=0.2, cut=0.5)
    assert folder.read("big") == content
    with folder.stream("big") as file:
        assert b"".join(iter(lambda: file.read(100_000), b"")) == content
    with folder.random("big") as file:
        file.seek(-4, 2)
        assert file.read() == content[-4:]
    assert server.objects.faults.seen["cut"] > 3


def test_listings_through_faults_are_whole(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_bucket, "PAGE", 10)
    server.page_size = 10
    folder = ObjectFolder("s3://bucket/run", {"endpoint": server.endpoint})
    given = sorted(f"{number % 7}/{number}" for number in range(400))
    for name in given:
        server.objects.put("bucket", f"run/{name}", b"1", {})
    server.objects.faults = Faults(seed=3, busy=0.1, dropped=0.05, cut=0.1)
    for _ in range(5):
        assert names(folder) == given
    assert server.objects.faults.seen["cut"] > 3


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


def test_a_scratch_disk_that_is_full_is_named(
    folder: ObjectFolder, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.write", full)
    with pytest.raises(RunError, match=r"^/.*dolma-pipeline-.* cannot be written: no space left on device\. Free some"):
        with folder.committing("a") as file:
            file.write(b"1")
    assert stored(server) == {}


def test_an_azure_account_and_signature_are_asked_for_and_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("az", AzureHandler) as one:
        folder = ObjectFolder("az://bucket/run", {"endpoint": one.endpoint})
        without(monkeypatch, "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY")
        with pytest.raises(
            RunError, match=r"^az://bucket/run cannot be opened, .*name the account: `storage: \{account"
        ):
            folder.read("a")
        monkeypatch.setenv("AZURE_STORAGE_SAS_KEY", f"sv=2020&sp=rw&sig={SECRET}")
        named = ObjectFolder("az://bucket/run", {"endpoint": one.endpoint, "account": "mine"})
        one.objects.refusal = (400, "Something")
        for ask in (lambda: named.read("a"), lambda: named.write("a", b"1"), lambda: names(named)):
            with pytest.raises(RunError, match=r"the store refused it") as caught:
                ask()
            assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "variable"),
    [("s3", "AWS_ENDPOINT_URL"), ("gs", "GOOGLE_BASE_URL"), ("az", "AZURE_STORAGE_ENDPOINT")],
)
def test_the_environment_may_name_the_store(scheme: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(scheme, AzureHandler if scheme == "az" else Handler) as one:
        monkeypatch.setenv(variable, one.endpoint)
        monkeypatch.setattr(object_client, "_CLIENTS", {})
        folder = run_folder(f"{scheme}://bucket/run")
        folder.check()
        folder.write("a", b"1")
        assert folder.read("a") == b"1"
        assert [*stored(one)] == ["run/a"]


FORKS = """
import os, sys
from dolma_pipeline.errors import RunError
from dolma_pipeline.storage.folder import run_folder
folder = run_folder("s3://bucket/run", {"endpoint": sys.argv[1]})

def in_copy():
    child = os.fork()
    if child == 0:
        try:
            folder.write("copy", b"1")
            os._exit(0)
        except RunError as error:
            os._exit(7 if "forked copy of one that had used object stores" in str(error) else 1)
        except BaseException:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

assert in_copy() == 0
folder.write("parent", b"1")
assert in_copy() == 7
assert folder.read("parent") == b"1"
file = folder.stream("parent")
child = os.fork()
if child == 0:
    try:
        file.read()
    except RunError:
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert file.read() == b"1"
"""


def test_copies_of_a_process_that_used_a_store_are_told(server: Server) -> None:
    command = [sys.executable, "-c", FORKS, server.endpoint]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {*stored(server)} == {"run/copy", "run/parent"}


class ManyKeys(Handler):
    """A bucket of 100,000 keys that are made as they are asked for."""

    def page(self, keys: dict[str, Stored], after: str) -> tuple[list[tuple[str, Stored]], str]:
        """Keys are numbers; the next page begins behind the last one."""
        begin = int(after.rpartition("/")[2]) + 1 if after else 0
        one = Stored(b"1", '"tag"', 1, 1.0, {})
        page = [(f"run/records/{number:08}", one) for number in range(begin, min(begin + 1000, 100_000))]
        return page, page[-1][0] if begin + 1000 < 100_000 else ""


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
