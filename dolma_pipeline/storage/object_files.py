"""An object as a file to read: from its start to its end in one request, or anywhere by ranges."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from dolma_pipeline.errors import RunError
from dolma_pipeline.storage.object_client import check_process
from dolma_pipeline.storage.object_faults import asking, refused, repeated
from dolma_pipeline.storage.ranged import RangedFile

CHUNK_BYTES = 1 << 20
TRIES = 10
"""How often a stream that breaks is asked for again from where it was, without a byte in between."""


class Streamed(io.RawIOBase):
    """An object, forward only. What breaks off is asked for again from there, of the same version.

    The client tries again by itself, but for three minutes after the request began; a shard is read for longer.

    Args:
        store: the client. key: of the object. place: its URL, for errors. start: the first byte that is wanted.

    Attributes:
        size: of the object. etag: its version.
    """

    def __init__(self, store: Any, key: str, place: str, start: int = 0) -> None:
        import obstore

        self._store, self._key, self._place = store, key, place
        options: Any = {"range": {"offset": start}} if start else {}
        with asking("read", place, missing=True):
            result = repeated(lambda: obstore.get(store, key, options=options))
        self.etag: str | None = result.meta["e_tag"]
        self.size: int = result.meta["size"]
        self._done = start
        self._chunks: Iterator[Any] = iter(result.stream(CHUNK_BYTES))
        self._chunk = memoryview(b"")

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Bytes as they come; 0 at the end."""
        if not self._chunk:
            self._chunk = self._next()
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._chunk))
        view[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        return count

    def readall(self) -> bytes:
        """The rest."""
        parts = [self._chunk]
        self._chunk = memoryview(b"")
        while parts[-1] or len(parts) == 1:
            parts.append(self._next())
        return b"".join(parts)

    def chunks(self) -> Iterator[memoryview]:
        """The rest, piece by piece, not copied."""
        while chunk := self._next():
            yield chunk

    def _next(self) -> memoryview:
        """The next piece; empty at the end."""
        from obstore.exceptions import BaseError, PreconditionError

        check_process(self._place)
        tries = 0
        while self._done < self.size:
            try:
                chunk = memoryview(next(self._chunks, b""))
                if len(chunk) == 0:
                    raise BaseError("HTTP error: the connection ended before the object did")
                self._done += len(chunk)
                return chunk
            except PreconditionError:
                raise RunError(f"{self._place} was written anew while it was read.") from None
            except (BaseError, OSError) as error:
                tries += 1
                if tries > TRIES:
                    raise refused("read", self._place, error) from None
                self._chunks = self._again()
        return memoryview(b"")

    def _again(self) -> Iterator[Any]:
        import obstore

        options: Any = {"range": (self._done, self.size)}
        if self.etag:
            options["if_match"] = self.etag
        yield from obstore.get(self._store, self._key, options=options).stream(CHUNK_BYTES)


class Ranged(RangedFile):
    """An object to read anywhere; every read is one request, so what reads it asks for pieces of some size.

    Args:
        store: the client. key: of the object. place: its URL. size: of the object. etag: its version.

    Attributes:
        num_requests: how many there were.
    """

    def __init__(self, store: Any, key: str, place: str, size: int, etag: str | None) -> None:
        super().__init__(size)
        self._store, self._key, self._place, self._etag = store, key, place, etag
        self.num_requests = 0

    def _read(self, count: int) -> bytes:
        import obstore
        from obstore.exceptions import PreconditionError

        check_process(self._place)
        end = min(self._size, self._at + count)
        if end <= self._at:
            return b""
        options: Any = {"range": (self._at, end)}
        if self._etag:
            options["if_match"] = self._etag
        with asking("read", self._place):
            try:
                content = repeated(lambda: bytes(obstore.get(self._store, self._key, options=options).bytes()))
            except PreconditionError:
                raise RunError(f"{self._place} was written anew while it was read.") from None
        self.num_requests += 1
        self._at += len(content)
        return content
