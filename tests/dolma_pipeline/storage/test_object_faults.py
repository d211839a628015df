"""What stores refuse, in one sentence; requests whose answers are lost or cut."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path
from typing import Any

import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.storage import object_bucket
from dolma_pipeline.storage.objects import ObjectFolder
from tests.dolma_pipeline.storage.fake_azure import AzureHandler
from tests.dolma_pipeline.storage.fake_objects import SECRET, Faults
from tests.dolma_pipeline.storage.fake_store import Handler, Server, serving
from tests.dolma_pipeline.storage.helpers import Script, names, stored


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


def test_names_of_the_user_do_not_change_what_is_told(server: Server) -> None:
    folder = ObjectFolder("s3://bucket/AccessDenied credentials/HTTP error", {"endpoint": server.endpoint})
    server.objects.refusal = (400, "Something")
    with pytest.raises(RunError, match=r"the store refused it, GenericError \(the store said 400 Something\)"):
        folder.write("SlowDown NoSuchBucket", b"1")


@pytest.mark.parametrize("key", ["r", "e", "error", "A", "o/r"])
def test_a_short_key_leaves_what_a_store_says_whole(server: Server, key: str) -> None:
    folder = ObjectFolder(f"s3://bucket/{key}", {"endpoint": server.endpoint})
    for status, code, words in SAID:
        server.objects.refusal = (status, code)
        with pytest.raises(UsageError, match=words):
            folder.check()
    with pytest.raises(UsageError, match="the store cannot be reached"):
        ObjectFolder(f"s3://bucket/{key}", {"endpoint": "http://127.0.0.1:9"}).check()


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
