"""Azure's blob interface, as far as run folders ask it: the store of `fake_store` behind other requests and answers."""

from __future__ import annotations

import re
from email.utils import formatdate
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.dolma_pipeline.storage.fake_objects import Refused, Stored
from tests.dolma_pipeline.storage.fake_store import Handler


class AzureHandler(Handler):
    """One connection of the blob interface."""

    no_bucket = "ContainerNotFound"

    def is_known(self) -> bool:
        """Whether the request is signed for the account of the tests."""
        return self.headers.get("Authorization", "").startswith("SharedKey account:")

    def verb(self) -> str:
        """What was asked, for counts."""
        return self.query.get("comp", "")

    def answer(self, keys: dict[str, Stored]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content; conditions hold for one alone."""
        with self.server.objects.lock:
            comp = self.query.get("comp", "")
            if comp == "list":
                return 200, {"Content-Type": "application/xml"}, self.listing(keys)
            if comp == "batch":
                return self.batch(keys)
            if comp == "block":
                upload = (self.bucket, self.key, {}, dict[int | str, bytes]())
                self.server.objects.uploads.setdefault(self.key, upload)[3][self.query["blockid"]] = self.body
                return 201, {}, b""
            if comp == "blocklist":
                return self.joined()
            if self.command == "PUT":
                self.check_conditions(keys.get(self.key))
                assert self.headers["x-ms-blob-type"] == "BlockBlob"
                number = self.server.objects.writings + 1
                stored = self.server.objects.put(self.bucket, self.key, self.body, self.metadata(), f"0x{number:X}")
                return 201, self.about(stored), b""
            if self.command == "DELETE":
                if keys.pop(self.key, None) is None:
                    raise Refused(404, "BlobNotFound")
                return 202, {}, b""
            return self.read(keys)

    def joined(self) -> tuple[int, dict[str, str], bytes]:
        """Put Block List: now the blob is there."""
        objects = self.server.objects
        names = [one.text or "" for one in ElementTree.fromstring(self.body)]
        parts = objects.uploads.pop(self.key)[3]
        content = b"".join(parts[name] for name in names)
        stored = objects.put(self.bucket, self.key, content, self.metadata(), f"0x{objects.writings + 1:X}")
        return 201, self.about(stored), b""

    def batch(self, keys: dict[str, Stored]) -> tuple[int, dict[str, str], bytes]:
        """Blob Batch: several deletions, each with an answer of its own."""
        answers = []
        for number, target in enumerate(re.findall(rb"\r\nDELETE (\S+) HTTP/1.1\r\n", self.body)):
            _, _, key = unquote(urlsplit(target.decode()).path).split("/", 2)
            status = "202 Accepted" if keys.pop(key, None) is not None else "404 The specified blob does not exist."
            answers.append(
                f"--end\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
                f"HTTP/1.1 {status}\r\nx-ms-request-id: {number}\r\n\r\n"
            )
        assert 0 < len(answers) <= 256
        return 202, {"Content-Type": "multipart/mixed; boundary=end"}, f"{''.join(answers)}--end--\r\n".encode()

    def listing(self, keys: dict[str, Stored]) -> bytes:
        """List Blobs."""
        marker = self.query.get("marker", "")
        page, more = self.page(keys, bytes.fromhex(marker).decode() if marker else "")
        rows = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{formatdate(one.seconds, usegmt=True)}"
            f"</Last-Modified><Content-Length>{len(one.content)}</Content-Length><Content-Type>x/y</Content-Type>"
            f"<Etag>{escape(one.etag[1:-1])}</Etag><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for name, one in page
        )
        told = f"<NextMarker>{more.encode().hex()}</NextMarker>"
        return f'<?xml version="1.0"?><EnumerationResults><Blobs>{rows}</Blobs>{told}</EnumerationResults>'.encode()
