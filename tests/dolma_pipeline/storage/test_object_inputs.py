"""Patterns over buckets, and what is wrong with a URL, bucket, key or store, in one sentence before work starts."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from dolma_pipeline.errors import UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.storage.inputs import Location, open_stream, read_head
from tests.dolma_pipeline.storage.fake_azure import AzureHandler
from tests.dolma_pipeline.storage.fake_objects import SECRET
from tests.dolma_pipeline.storage.fake_store import Handler, Server, serving
from tests.dolma_pipeline.storage.helpers import without
from tests.dolma_pipeline.storage.many_keys import ManyKeys

ROOT = Path(__file__).parents[3]
KEYS = [
    "d/a.jsonl", "d/b c+%20é.jsonl", "d/x/a.jsonl", "d/x/y/b.jsonl", "d/x/.h.jsonl", "d/.x/a.jsonl", "d/[x]/1.jsonl",
    "d/[x]/2.jsonl", "d/x[1].jsonl", "d/x1.jsonl", "e/b.jsonl", "top.jsonl",
]  # fmt: skip


@pytest.fixture
def bucket(server: Server) -> dict[str, str]:
    for key in [*KEYS, "d/", "d/x/", "d/empty/"]:
        server.objects.put("bucket", key, b"" if key.endswith("/") else key.encode(), {})
    return {"endpoint": server.endpoint}


@pytest.mark.parametrize(
    "pattern",
    [
        "d/*", "d/*.jsonl", "d/**/*.jsonl", "**/*.jsonl", "**", "d/?.jsonl", "d/x*", "d/[a-b]*", "d/x[1].jsonl",
        "d/x[0-9].jsonl", "d/[x]/*.jsonl", "d/[xy]/*.jsonl", "d/[x]/1.jsonl", "d/.x/*", "d/*/a.jsonl", "*.jsonl",
        "d/x/.h*", "d/b c+%20é.jsonl", "*/b.jsonl",
    ],
)  # fmt: skip
def test_patterns_find_what_they_find_on_a_disk(
    bucket: dict[str, str], tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in KEYS:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(key.encode())
    monkeypatch.chdir(tmp_path)
    here = paths.find([f"{tmp_path}/{pattern}"])
    there = paths.find([f"s3://bucket/{pattern}"], settings=bucket)
    assert sorted((one.relative, one.size) for one in there) == sorted((one.relative, one.size) for one in here)
    assert all(one.entry and one.entry.version for one in there)
    locate = paths.Locator([f"s3://bucket/{pattern}"], bucket)
    for one in there:
        with open_stream(pickle.loads(pickle.dumps(locate(one.relative)))) as file:
            assert file.read() == one.path.removeprefix("s3://bucket/").encode()


@pytest.mark.parametrize(("scheme", "handler"), [("s3", Handler), ("gs", Handler), ("az", AzureHandler)])
def test_a_listing_tells_the_version_that_a_look_tells(scheme: str, handler: type[Handler]) -> None:
    """Else a file that was named and is found by a pattern later would be taken for one that was written anew."""
    with serving(scheme, handler) as one:
        one.objects.put("bucket", "d/a.jsonl", b"{}", {})
        settings = {"endpoint": one.endpoint}
        (named,) = paths.find([f"{scheme}://bucket/d/a.jsonl"], settings=settings)
        (listed,) = paths.find([f"{scheme}://bucket/d/*.jsonl"], settings=settings)
        assert named.entry == listed.entry


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://bucket/d/x/*.parquet", r"no such file\. In s3://bucket/d/x/ there is: \.h\.jsonl, a\.jsonl, y\.$"),
        ("s3://bucket/d/aa.jsonl", r"no such file\. In s3://bucket/d/ there is: .*a\.jsonl"),
        ("s3://bucket/dd/*.jsonl", r"no such file\. In s3://bucket/ there is: d\.$"),
        (
            "s3://bucket/d/x",
            r"no such file\. s3://bucket/d/x is a folder; give a pattern such as s3://bucket/d/x/\*\*/",
        ),
        ("s3://none/d/*", r"s3://none does not exist .*Make it, or correct the URL"),
        ("s3://none/d/a.jsonl", r"s3://none does not exist"),
        ("s3://", r"names no bucket: write s3://bucket/key\.$"),
        ("s3://bucket/a//b", r"a part of its key is empty"),
        (f"s3://bucket/a?sig={SECRET}", r"^a URL of s3:// names bucket and key only"),
        (f"s3://me:{SECRET}@bucket/a", r"^a URL of s3:// names bucket and key only"),
    ],
)
def test_what_is_not_there_and_what_cannot_be(bucket: dict[str, str], url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        paths.find([url], settings=bucket)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDenied", "these credentials have no permission for that"),
        (403, "InvalidAccessKeyId", "the store does not accept the credentials"),
        (301, "PermanentRedirect", "is in another region"),
    ],
)
def test_what_a_store_refuses(server: Server, bucket: dict[str, str], status: int, code: str, words: str) -> None:
    server.objects.refusal = (status, code)
    with pytest.raises(UsageError, match=words):
        paths.find(["s3://bucket/d/*"], settings=bucket)


def test_no_credentials_and_no_store(bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"the store cannot be reached\. Look at `storage\.endpoint`"):
        paths.find(["s3://bucket/d/*"], settings={"endpoint": "http://127.0.0.1:9"})
    without(monkeypatch, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UsageError, match=r"no credentials were found"):
        paths.find(["s3://bucket/d/*"], settings={**bucket, "region": "elsewhere"})


def test_the_first_bytes_are_asked_for_alone(server: Server, bucket: dict[str, str]) -> None:
    content = bytes(range(256)) * 20_000
    server.objects.put("bucket", "big", content, {})
    server.objects.put("bucket", "none", b"", {})
    assert read_head(Location("s3://bucket/big", bucket), 4096) == content[:4096]
    assert read_head(Location("s3://bucket/top.jsonl", bucket), 4096) == b"top.jsonl"
    assert server.objects.asked == {"GET": 2}
    assert read_head(Location("s3://bucket/none", bucket), 4096) == b""
    with pytest.raises(FileNotFoundError, match=r"^s3://bucket/gone: no such file$"):
        read_head(Location("s3://bucket/gone", bucket), 4096)


def test_a_location_travels_with_its_settings_and_no_secret(bucket: dict[str, str]) -> None:
    one = Location("s3://bucket/d/a.jsonl", bucket)
    travelled = pickle.loads(pickle.dumps(one))
    assert (travelled, travelled.settings) == (one, bucket)
    assert SECRET.encode() not in pickle.dumps(one)


LISTS = """
import sys, time
from dolma_pipeline.io import paths
begin, cpu = time.perf_counter(), time.process_time()
found = paths.find(["s3://bucket/run/**/*[0-8]"], settings={"endpoint": sys.argv[1]})
print(len(found), time.perf_counter() - begin, time.process_time() - cpu)
"""


def test_many_keys_are_listed_and_matched_in_seconds() -> None:
    with serving("s3", ManyKeys) as one:
        command = [sys.executable, "-c", LISTS, one.endpoint]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        print(done.stdout)
        count, _, cpu = done.stdout.split()
        assert int(count) == 90_000
        assert float(cpu) < 20
