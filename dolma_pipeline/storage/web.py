"""Inputs on the web: https:// and http://, one file a URL.

A file is read in one request. What breaks off is asked for again from there; a server without ranges sends it again
from its start, and what was read is passed over. Size and version come with the file's first byte, not from HEAD, which
signed addresses and some servers refuse. Parquet that is wanted in parts is read by ranges where there are any.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.storage.copies import Held, nameless
from dolma_pipeline.storage.inputs import COPY_BYTES, InputEntry, InputScheme, register_scheme
from dolma_pipeline.storage.object_faults import wait
from dolma_pipeline.storage.ranged import RangedFile
from dolma_pipeline.storage.web_requests import (
    BROKEN,
    CHECK_SECONDS,
    FEW_TRIES,
    TIMEOUT_SECONDS,
    TRIES,
    first_byte,
    get,
    refused,
    total_size,
    version,
)

COPIED_BYTES = 32_000_000
"""Smaller files are copied whole where they are read in parts."""

_SECRET = re.compile(r"(?i)[?&;][\w.-]*(sig|signature|token|key|secret|passw|credential)[\w.-]*=")


class WebFile(io.RawIOBase):
    """A file of the web, forward only.

    Args:
        url: of it. place: what errors call it. headers: sent along. start: the first byte that is wanted.

    Attributes:
        size: of the whole file, in bytes; None where the server does not tell. version: see `web_requests.version`.
    """

    def __init__(self, url: str, *, place: str, headers: Mapping[str, str], start: int = 0) -> None:
        self._url, self._place, self._headers = url, place, headers
        self._done, self._to_pass = start, 0
        self._answer = self._ask()
        self.size, self.version = total_size(self._answer), version(self._answer)
        self._is_over = self._answer.status == 416

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Bytes as they come; 0 at the end."""
        view = memoryview(buffer).cast("B")
        failures = 0
        while not self._is_over and len(view):
            try:
                self._pass_over()
                count = int(self._answer.readinto(view))
                if count == 0 and self.size is not None and self._done < self.size:
                    raise ConnectionError("the connection ended before the file did")
                self._done, self._is_over = self._done + count, count == 0
                return count
            except BROKEN as error:
                failures += 1
                if failures > TRIES:
                    raise refused(self._place, error=error) from None
                wait(failures)
                self._answer.close()
                self._answer = self._ask()
                if (total_size(self._answer), version(self._answer)) != (self.size, self.version):
                    raise RunError(f"{self._place} was written anew while it was read.") from None
        return 0

    def close(self) -> None:
        """End the request."""
        self._answer.close()
        super().close()

    def _ask(self) -> Any:
        answer = get(self._url, place=self._place, headers=self._headers, first=self._done)
        if answer.status == 416:
            return answer
        begin = first_byte(answer)  # without ranges, or with coarser ones, it begins earlier
        if begin > self._done:
            answer.close()
            raise refused(self._place, error=ConnectionError(f"byte {self._done} was asked for, {begin} came"))
        self._to_pass = self._done - begin
        return answer

    def _pass_over(self) -> None:
        while self._to_pass:
            passed = len(self._answer.read(min(self._to_pass, COPY_BYTES)))
            if passed == 0:
                raise ConnectionError("the connection ended before the file did")
            self._to_pass -= passed


class WebRanges(RangedFile):
    """A file of the web to read anywhere, a request for every read.

    Args:
        url, place, headers: as of `WebFile`. size: of the file. version: every answer must be of this one.
    """

    def __init__(self, url: str, *, place: str, headers: Mapping[str, str], size: int, version: str) -> None:
        super().__init__(size)
        self._url, self._place, self._headers, self._version = url, place, headers, version

    def _read(self, count: int) -> bytes:
        end = min(self._size, self._at + count)
        content = b""
        for number in range(TRIES):
            if self._at + len(content) >= end:
                break
            first = self._at + len(content)
            with get(self._url, place=self._place, headers=self._headers, first=first, last=end - 1) as answer:
                if answer.status != 206 or (total_size(answer), version(answer)) != (self._size, self._version):
                    raise RunError(f"{self._place} was written anew while it was read.")
                if (begin := first_byte(answer)) != first:
                    raise refused(self._place, error=ConnectionError(f"byte {first} was asked for, {begin} came"))
                try:
                    content += answer.read(end - first)
                except BROKEN as error:
                    content += getattr(error, "partial", b"")
            if self._at + len(content) < end:
                wait(number)
        if self._at + len(content) < end:
            raise refused(self._place, error=ConnectionError("the connection ended before the file did"))
        self._at = max(self._at, end)
        return content


def web_entry(
    url: str, *, place: str, headers: Mapping[str, str], silence_seconds: float = TIMEOUT_SECONDS
) -> tuple[InputEntry, bool]:
    """What the server tells of a file with its first byte, and whether it has ranges.

    Raises:
        FileNotFoundError, RunError: as `get`.
    """
    with get(url, place=place, headers=headers, last=0, tries=FEW_TRIES, silence_seconds=silence_seconds) as answer:
        entry = InputEntry(place, total_size(answer) or 0, version(answer))
        return entry, answer.status == 206


def web_head(url: str, *, place: str, headers: Mapping[str, str], size: int) -> bytes:
    """The first bytes of a file of the web."""
    with get(url, place=place, headers=headers, last=size - 1) as answer:
        content: bytes = b"" if answer.status == 416 else answer.read(size)
        if len(content) == size or len(content) == total_size(answer):
            return content
    with open_web(url, place=place, headers=headers) as file:  # it broke off, or nobody says how long it is
        return file.read(size)


def open_web(url: str, *, place: str, headers: Mapping[str, str], start: int = 0) -> BinaryIO:
    """A file of the web, forward only."""
    return io.BufferedReader(WebFile(url, place=place, headers=headers, start=start), COPY_BYTES)


def open_web_random(url: str, *, place: str, headers: Mapping[str, str]) -> BinaryIO:
    """A file of the web to read anywhere: by ranges, if it is large and the server has any; else a copy in scratch."""
    entry, has_ranges = web_entry(url, place=place, headers=headers)
    if has_ranges and entry.size > COPIED_BYTES:
        ranges = WebRanges(url, place=place, headers=headers, size=entry.size, version=entry.version)
        return cast(BinaryIO, Held(ranges))
    with open_web(url, place=place, headers=headers) as file:
        return nameless(iter(lambda: file.read(COPY_BYTES), b""))


class Web(InputScheme):
    """Files of web servers."""

    lists = False
    question = True

    def check(self, url: str) -> None:
        """See `InputScheme.check`: what is in a recipe stands in a run's files, so an address holds no secret."""
        parts = urlsplit(url)
        if "@" in parts.netloc or _SECRET.search(url):
            raise UsageError(
                f"an address at {parts.netloc.rpartition('@')[2] or 'a server'} holds a password, key or signature and "
                "would stand in the run's files. Copy the file first, or give its bucket (s3://, gs://, az://)."
            )
        if not parts.netloc:
            raise UsageError(f"{url!r} names no server: write https://host/path.")

    def stat(self, url: str, settings: Mapping[str, str]) -> InputEntry | None:
        """See `InputScheme.stat`."""
        try:
            return web_entry(url, place=url, headers={}, silence_seconds=CHECK_SECONDS)[0]
        except FileNotFoundError:
            return None

    def stream(self, url: str, settings: Mapping[str, str], start: int = 0) -> BinaryIO:
        """See `InputScheme.stream`."""
        return open_web(url, place=url, headers={}, start=start)

    def head(self, url: str, settings: Mapping[str, str], size: int) -> bytes:
        """See `InputScheme.head`: one request."""
        return web_head(url, place=url, headers={}, size=size)

    def random(self, url: str, settings: Mapping[str, str]) -> BinaryIO:
        """See `InputScheme.random`."""
        return open_web_random(url, place=url, headers={})


register_scheme("https", Web())
register_scheme("http", Web())
