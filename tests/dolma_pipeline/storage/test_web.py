"""Files of web servers: streams that break off, ranges, sizes and versions, what a server refuses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.io import paths
from dolma_pipeline.storage import web, web_requests
from dolma_pipeline.storage.copies import Held
from dolma_pipeline.storage.inputs import open_copy, open_random, open_stream, read_head, stat
from tests.dolma_pipeline.storage.fake_web import WebHandler, WebServer, web_serving

CONTENT = bytes(range(256)) * 9000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setattr(web_requests, "wait", lambda number: None)
    monkeypatch.setattr(web, "wait", lambda number: None)
    with web_serving() as one:
        one.files["/d/a é+b.bin"] = CONTENT
        yield one


def url_of(server: WebServer) -> str:
    return f"{server.url}/d/a é+b.bin"


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_body_that_breaks_off_goes_on_from_there(server: WebServer, has_ranges: bool) -> None:
    server.has_ranges, server.breaks = has_ranges, True
    for start in (0, 1000):
        server.asked.clear()
        with open_stream(url_of(server), start) as file:
            assert file.read() == CONTENT[start:]
        assert len(server.asked) > 1
    with open_copy(url_of(server)) as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize("has_ranges", [True, False])
def test_the_first_bytes(server: WebServer, has_ranges: bool) -> None:
    server.has_ranges, server.breaks = has_ranges, True
    assert read_head(url_of(server), 4096) == CONTENT[:4096]
    server.files["/small"], server.files["/empty"] = b"small", b""
    assert (read_head(f"{server.url}/small", 4096), read_head(f"{server.url}/empty", 9)) == (b"small", b"")
    server.chunked = True
    assert read_head(url_of(server), 4096) == CONTENT[:4096]


def test_a_server_that_sends_in_chunks_tells_no_size(server: WebServer) -> None:
    server.chunked, server.has_ranges = True, False
    entry = stat(url_of(server))
    assert entry is not None
    assert (entry.size, entry.version) == (0, '"one"')
    with open_stream(url_of(server)) as file:
        assert file.read() == CONTENT


def test_size_and_version_come_with_the_first_byte(server: WebServer) -> None:
    entry = stat(url_of(server))
    assert entry is not None
    assert (entry.size, entry.version) == (len(CONTENT), '"one"')
    assert [asked[:2] for asked in server.asked] == [("/d/a é+b.bin", "bytes=0-0")]
    server.files["/empty"] = b""
    entry = stat(f"{server.url}/empty")
    assert entry is not None
    assert entry.size == 0
    with open_stream(f"{server.url}/empty") as file:
        assert file.read() == b""
    assert stat(f"{server.url}/none") is None


def test_parts_are_read_by_ranges_where_there_are_any(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "COPIED_BYTES", 1000)
    with open_random(url_of(server)) as file:
        assert isinstance(file, Held)
        file.seek(-10, 2)
        assert file.read() == CONTENT[-10:]
        file.hold(500, 2000)
        asked = len(server.asked)
        file.seek(600)
        assert file.read(100) == CONTENT[600:700]
        assert len(server.asked) == asked
        file.seek(10)
        assert file.read(20) == CONTENT[10:30]
        server.etags["/d/a é+b.bin"] = '"two"'
        with pytest.raises(RunError, match=r"a é\+b\.bin was written anew while it was read\.$"):
            file.read(5)
    server.has_ranges = False
    with open_random(url_of(server)) as file:
        file.seek(len(CONTENT) - 3)
        assert file.read() == CONTENT[-3:]


def test_a_server_that_never_answers_is_told_of_before_work_in_seconds(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "CHECK_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(UsageError, match=r"127\.0\.0\.1:\d+ cannot be reached, or does not answer \(TimeoutError"):
            paths.find([f"http://127.0.0.1:{silent.getsockname()[1]}/x.jsonl"])


class OtherRanges(WebHandler):
    """Begins at another byte than the one that was asked for."""

    def do_GET(self) -> None:
        begin = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        begin = begin + 10 if self.path.startswith("/later") else max(0, begin - 10)
        about = {"ETag": '"one"', "Content-Range": f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}"}
        self.answer(206, CONTENT[begin:], about)


def test_another_range_than_was_asked_for_is_not_taken_for_it() -> None:
    with web_serving(OtherRanges) as one:
        with open_stream(f"{one.url}/earlier", 1000) as file:
            assert file.read() == CONTENT[1000:]
        with pytest.raises(RunError, match=r"later cannot be read: .*byte 1000 was asked for, 1010 came"):
            open_stream(f"{one.url}/later", 1000)
        ranges = web.WebRanges(f"{one.url}/earlier", place="p", headers={}, size=len(CONTENT), version='"one"')
        ranges.seek(1000)
        with pytest.raises(RunError, match=r"p cannot be read: .*byte 1000 was asked for, 990 came"):
            ranges.read(10)


def test_a_file_that_changes_while_it_breaks_off_is_told(server: WebServer) -> None:
    server.breaks = True
    with open_stream(url_of(server)) as file:
        server.etags["/d/a é+b.bin"] = '"two"'
        with pytest.raises(RunError, match="was written anew while it was read"):
            file.read()


def test_what_a_server_refuses(server: WebServer) -> None:
    server.statuses = [403]
    with pytest.raises(UsageError, match=r"x\.jsonl cannot be read: the server does not permit it \(it says 403\)"):
        paths.find([f"{server.url}/x.jsonl"])
    server.statuses = [503, 429]
    assert stat(url_of(server)) is not None
    server.statuses = [503] * 4
    with pytest.raises(UsageError, match="the server was busy for too long"):
        paths.find([url_of(server)])
    with pytest.raises(UsageError, match=r"^http://127\.0\.0\.1:\d+/none\.jsonl: no such file\.$"):
        paths.find([f"{server.url}/none.jsonl"])
    with pytest.raises(FileNotFoundError, match=r"none: no such file \(the server says 404\)"):
        open_stream(f"{server.url}/none")
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:9 cannot be reached"):
        paths.find(["http://127.0.0.1:9/x.jsonl"])


def test_a_list_says_which_line_is_not_there(server: WebServer, tmp_path: Path) -> None:
    name = tmp_path / "list.txt"
    name.write_text(f"{url_of(server)}\n\n{server.url}/none\n")
    with pytest.raises(UsageError, match=r"list\.txt:3: http://127\.0\.0\.1:\d+/none: no such file\.$"):
        paths.find([f"@{name}"])
    name.write_text(url_of(server))
    (found,) = paths.find([f"@{name}"])
    assert (found.path, found.relative, found.size) == (url_of(server), url_of(server), len(CONTENT))
    server.files["/list.txt"] = name.read_bytes()
    assert paths.find([f"@{server.url}/list.txt"])[0].path == url_of(server)


@pytest.mark.parametrize(
    "url", ["https://me:pw@host/x", "https://host/x?X-Amz-Signature=secret", "https://host/x?a=1&sig=secret"]
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError, match=r"^an address at host holds a password, key or signature") as caught:
        paths.find([url])
    assert "secret" not in str(caught.value)
    assert "pw" not in str(caught.value).replace("password", "")


def test_a_token_stays_with_the_host_that_it_is_for(server: WebServer) -> None:
    with web_serving() as other:
        other.files["/x"] = b"content"
        server.moved["/x"] = f"{other.url}/x"
        with web_requests.get(f"{server.url}/x", place="x", headers={"Authorization": "Bearer t"}) as answer:
            assert answer.read() == b"content"
        assert server.asked[-1][2] == "Bearer t"
        assert other.asked[-1][2] == ""
