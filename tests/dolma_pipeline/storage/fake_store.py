"""An object store on loopback, for tests: S3's interface and, with `dialect="gs"`, the XML interface of GCS
(Azure's: `fake_azure`).

It does what run folders ask of a store (whole and ranged reads, pages of listings, uploads in parts, conditions, many
deletions at once) and answers faults: `Faults` for a share of all requests, `refusal` for every one.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.dolma_pipeline.storage.fake_objects import KEY_ID, Objects, Refused, Stored


class Handler(BaseHTTPRequestHandler):
    """One connection. Subclasses know another interface."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do(self) -> None:
        """One request: read it whole, maybe let it fail, carry it out, answer."""
        objects = self.server.objects
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        _, self.bucket, *rest = unquote(address.path).split("/", 2)
        self.key = rest[0] if rest else ""
        fault = objects.faults.draw() if objects.faults else ""
        if fault == "dropped":
            return self.drop()
        try:
            if fault == "busy":
                raise Refused(503, "SlowDown")
            if fault == "conflict":  # as S3 answers where two conditional puts of one key meet
                raise Refused(409, "ConditionalRequestConflict")
            if objects.refusal and (not objects.refuses or re.match(objects.refuses, f"{self.command} {self.path}")):
                raise Refused(*objects.refusal)
            if not self.is_known():
                raise Refused(403, "InvalidAccessKeyId")
            if self.bucket not in objects.buckets:
                raise Refused(404, self.no_bucket)
            status, headers, content = self.answer(objects.buckets[self.bucket])
        except Refused as error:
            text = f"<Error><Code>{error.code}</Code><Message>{error.code} of the test</Message></Error>"
            status, headers, content = error.status, {"Content-Type": "application/xml"}, text.encode()
        if fault == "lost":
            return self.drop()
        with objects.lock:
            objects.asked[f"{self.command} {self.verb()}".strip()] += 1
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        is_cut = fault == "cut" and content
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if is_cut else content)
        if is_cut and self.command != "HEAD":
            self.drop()
        return None

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do

    no_bucket = "NoSuchBucket"

    def drop(self) -> None:
        """End the connection, whatever the client waits for."""
        self.close_connection = True

    def verb(self) -> str:
        """What was asked, for counts."""
        names = ("list-type", "uploads", "partNumber", "uploadId", "delete")
        return next((name for name in names if name in self.query), "")

    def is_known(self) -> bool:
        """Whether the request is signed with the key of the tests."""
        return self.server.dialect == "gs" or f"Credential={KEY_ID}/" in self.headers.get("Authorization", "")

    def answer(self, keys: dict[str, Stored]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content; conditions hold for one alone."""
        with self.server.objects.lock:
            if not self.key and self.command == "GET":
                return 200, {}, self.listing(keys)
            if not self.key and "delete" in self.query:
                return 200, {}, self.delete_many(keys)
            if self.command == "POST":
                return self.begin() if "uploads" in self.query else self.complete()
            if self.command == "PUT":
                return self.part() if "uploadId" in self.query else self.written(keys)
            if self.command == "DELETE":
                return self.delete(keys)
            return self.read(keys)

    def read(self, keys: dict[str, Stored]) -> tuple[int, dict[str, str], bytes]:
        """GET and HEAD, of all or a range."""
        stored = keys.get(self.key)
        if stored is None:
            raise Refused(404, "NoSuchKey")
        if self.headers.get("If-Match") not in (None, stored.etag):
            raise Refused(412, "PreconditionFailed")
        content, headers = stored.content, self.about(stored)
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return 200, {**headers, "Content-Length": str(len(content))}, content
        first, last = wanted.groups()
        begin = int(first) if first else max(0, len(content) - int(last))
        end = min(int(last), len(content) - 1) if first and last else len(content) - 1
        if begin >= len(content):
            raise Refused(416, "InvalidRange")
        part = content[begin : end + 1]
        about = {"Content-Range": f"bytes {begin}-{end}/{len(content)}", "Content-Length": str(len(part))}
        return 206, headers | about, part

    def about(self, stored: Stored) -> dict[str, str]:
        """Headers of an object."""
        found = {"ETag": stored.etag, "Last-Modified": formatdate(stored.seconds, usegmt=True), **stored.metadata}
        return found | ({"x-goog-generation": str(stored.generation)} if self.server.dialect == "gs" else {})

    def check_conditions(self, stored: Stored | None) -> None:
        """If-None-Match, If-Match, and GCS's number of the writing."""
        if self.server.objects.ignores_conditions:
            return
        none, match = self.headers.get("If-None-Match"), self.headers.get("If-Match")
        generation = self.headers.get("x-goog-if-generation-match")
        if (none == "*" and stored) or (match and stored and match != stored.etag):
            raise Refused(412, "PreconditionFailed")
        if match and stored is None:
            raise Refused(404, "NoSuchKey")
        if generation is not None and int(generation) != (stored.generation if stored else 0):
            raise Refused(412, "PreconditionFailed")

    def metadata(self) -> dict[str, str]:
        """What the client wants to be kept with an object."""
        return {name: value for name, value in self.headers.items() if re.match(r"(?i)x-(amz|goog|ms)-meta-", name)}

    def written(self, keys: dict[str, Stored]) -> tuple[int, dict[str, str], bytes]:
        """PUT of a whole object."""
        self.check_conditions(keys.get(self.key))
        stored = self.server.objects.put(self.bucket, self.key, self.body, self.metadata())
        return 200, self.about(stored), b""

    def begin(self) -> tuple[int, dict[str, str], bytes]:
        """The start of an upload in parts."""
        objects = self.server.objects
        objects.writings += 1
        name = f"upload-{objects.writings}"
        objects.uploads[name] = (self.bucket, self.key, self.metadata(), {})
        inner = f"<Bucket>{self.bucket}</Bucket><Key>{escape(self.key)}</Key><UploadId>{name}</UploadId>"
        return 200, {}, f"<InitiateMultipartUploadResult>{inner}</InitiateMultipartUploadResult>".encode()

    def part(self) -> tuple[int, dict[str, str], bytes]:
        """One part."""
        upload = self.server.objects.uploads.get(self.query["uploadId"])
        if upload is None:
            raise Refused(404, "NoSuchUpload")
        upload[3][int(self.query["partNumber"])] = self.body
        return 200, {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'}, b""

    def complete(self) -> tuple[int, dict[str, str], bytes]:
        """The end of an upload: now the object is there. A repeated end is answered as the first."""
        objects, name = self.server.objects, self.query["uploadId"]
        upload = objects.uploads.pop(name, None)
        etag = f"{hashlib.md5(name.encode()).hexdigest()}-1"
        if upload is not None:
            bucket, key, metadata, parts = upload
            objects.put(bucket, key, b"".join(parts[number + 1] for number in range(len(parts))), metadata, etag)
        elif objects.buckets[self.bucket].get(self.key, Stored(b"", "", 0, 0, {})).etag != f'"{etag}"':
            raise Refused(404, "NoSuchUpload")
        inner = f"<Key>{escape(self.key)}</Key><ETag>&quot;{etag}&quot;</ETag>"
        return 200, {}, f"<CompleteMultipartUploadResult>{inner}</CompleteMultipartUploadResult>".encode()

    def delete(self, keys: dict[str, Stored]) -> tuple[int, dict[str, str], bytes]:
        """DELETE of an object or of an upload that is not whole."""
        if "uploadId" in self.query:
            self.server.objects.uploads.pop(self.query["uploadId"], None)
        elif keys.pop(self.key, None) is None and self.server.dialect == "gs":
            raise Refused(404, "NoSuchKey")
        return 204, {}, b""

    def delete_many(self, keys: dict[str, Stored]) -> bytes:
        """S3's DeleteObjects."""
        names = [one.text or "" for one in ElementTree.fromstring(self.body).iter() if one.tag.endswith("Key")]
        assert len(names) <= 1000
        for name in names:
            keys.pop(name, None)
        inner = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in names)
        return f"<DeleteResult>{inner}</DeleteResult>".encode()

    def page(self, keys: dict[str, Stored], after: str) -> tuple[list[tuple[str, Stored]], str]:
        """Objects of one page in the order of their keys' UTF-8, and where the next page begins."""
        prefix = self.query.get("prefix", "")
        names = sorted(key for key in keys if key.startswith(prefix) and key > after)
        size = self.server.page_size
        return [(name, keys[name]) for name in names[:size]], names[size - 1] if len(names) > size else ""

    def listing(self, keys: dict[str, Stored]) -> bytes:
        """List, version 2."""
        token = self.query.get("continuation-token")
        after = bytes.fromhex(token).decode() if token else self.query.get("start-after", "")
        page, more = self.page(keys, after)
        rows = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>{_stamp(one.seconds)}</LastModified>"
            f"<ETag>{escape(one.etag)}</ETag><Size>{len(one.content)}</Size></Contents>"
            for name, one in page
        )
        marker = f"<NextContinuationToken>{more.encode().hex()}</NextContinuationToken>" if more else ""
        told = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{marker}"
        return f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>{told}{rows}</ListBucketResult>'.encode()


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


class Server(ThreadingHTTPServer):
    """A store that listens on loopback until the process ends."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, dialect: str = "s3", handler: type[Handler] = Handler, page_size: int = 1000) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.dialect, self.page_size = dialect, page_size
        self.objects = Objects({"bucket": {}})
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go at any time."""


@contextmanager
def serving(dialect: str = "s3", handler: type[Handler] = Handler, page_size: int = 1000) -> Iterator[Server]:
    """A store for the block."""
    server = Server(dialect, handler, page_size)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
