"""A web server on loopback, for tests: with ranges or without, with lengths or in chunks, and bodies that break off."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class WebHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: WebServer

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        """A file, whole or in part."""
        server = self.server
        path = unquote(urlsplit(self.path).path)
        server.asked.append((path, self.headers.get("Range") or "", self.headers.get("Authorization") or ""))
        if path in server.moved:
            return self.answer(302, b"", {"Location": server.moved[path]})
        if server.statuses:
            return self.answer(server.statuses.pop(0), b"no", {})
        content = server.files.get(path)
        if content is None:
            return self.answer(404, b"nothing here", {})
        about = {"ETag": server.etags.get(path, '"one"')}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted and server.has_ranges:
            first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
            if first >= len(content):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            about["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return self.answer(206, content[first : last + 1], about)
        return self.answer(200, content, about)

    def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        """Send it; of every second larger body the second half is missing, if the server is to break off."""
        server = self.server
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if server.chunked and status == 200:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content) if content else b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        server.bodies += len(content) > 1
        if server.breaks and len(content) > 1 and server.bodies % 2:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            self.wfile.write(content)


class WebServer(ThreadingHTTPServer):
    """A server that listens until the process ends."""

    daemon_threads = True

    def __init__(self, handler: type[WebHandler] = WebHandler) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.moved: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.statuses: list[int] = []
        self.has_ranges, self.chunked, self.breaks, self.bodies = True, False, False, 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go at any time."""


@contextmanager
def web_serving(handler: type[WebHandler] = WebHandler) -> Iterator[WebServer]:
    """A server for the block."""
    server = WebServer(handler)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
