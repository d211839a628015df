"""A run's folder on an object store: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.

A file is one object, put whole (in parts if it is large) when it is complete; until then it is in this process's
scratch space. Names are keys below the prefix. Objects whose keys end in "/", which some tools make to show folders,
are no files. A listing follows the order of keys, which is that of names without control characters.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.storage.committed import Committed
from dolma_pipeline.storage.faults import refused, told
from dolma_pipeline.storage.folder import SCHEMES, Entry, RunFolder
from dolma_pipeline.storage.names import TEMPORARY, checked, prefix_of
from dolma_pipeline.storage.object_bucket import Bucket
from dolma_pipeline.storage.object_client import check_settings, client
from dolma_pipeline.storage.object_faults import asking, repeated
from dolma_pipeline.storage.object_files import CHUNK_BYTES, Ranged, Streamed
from dolma_pipeline.storage.object_names import key_of, name_of, place_of, version_of
from dolma_pipeline.storage.scratch import Scratch

COPIED_BYTES = 32_000_000
"""`random` copies files up to this size to scratch: one request costs less than the ranges of a reader of columns."""
PART_BYTES = 8_000_000
"""Larger files go up in parts of this size, some at once; a file of at most this size is kept in memory till then."""
MOST_PARTS = 9_000

_SCRATCH = Scratch()
_PROBED: set[tuple[object, ...]] = set()


class ObjectFolder(RunFolder):
    """Files below a prefix of a bucket. It travels as its URL and settings; credentials are the environment's.

    Args:
        url: `s3://bucket/prefix`, also `gs://` and `az://`. settings: endpoint, region, account.

    Raises:
        UsageError: a URL or a setting that cannot be.
    """

    def __init__(self, url: str, settings: Mapping[str, str] | None = None) -> None:
        self._place = place_of(url)
        self._settings = {name: value for name, value in sorted((settings or {}).items()) if value}
        check_settings(self._place, self._settings)
        self._bucket = Bucket(self._place, self._settings)
        self.url = self._place.url

    def __repr__(self) -> str:
        return f"ObjectFolder({self.url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return ObjectFolder, (self.url, self._settings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectFolder) and (other.url, other._settings) == (self.url, self._settings)

    def __hash__(self) -> int:
        return hash(self.url)

    def read(self, name: str) -> bytes:
        """See `RunFolder.read`."""
        return self._streamed(name).readall()

    def stream(self, name: str) -> BinaryIO:
        """See `RunFolder.stream`: one request, or more where the connection breaks."""
        return io.BufferedReader(self._streamed(name), CHUNK_BYTES)

    def random(self, name: str) -> BinaryIO:
        """See `RunFolder.random`: a copy of a file up to `COPIED_BYTES`, else a request for every read."""
        whole = self._streamed(name)
        if whole.size > COPIED_BYTES:  # of this first request nothing more is taken
            return cast(
                BinaryIO, Ranged(self._bucket.client, self._key(name), f"{self.url}/{name}", whole.size, whole.etag)
            )
        with told("written", _SCRATCH.folder):
            copy = tempfile.TemporaryFile(dir=_SCRATCH.folder)  # noqa: SIM115 the reader's to close
        try:
            _copy(whole, cast(BinaryIO, copy))
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return cast(BinaryIO, copy)

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """See `RunFolder.local`: a copy in this process's scratch space, for the block; a mapping lasts longer."""
        suffix = PurePosixPath(checked(name)).suffix
        path = _SCRATCH.path(suffix if suffix.isascii() and suffix.isprintable() and len(suffix) < 20 else "")
        try:
            with told("written", path):
                file = open(path, "xb")  # noqa: SIM115 closed below
            with file:
                _copy(self._streamed(name), file)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def stat(self, name: str) -> Entry | None:
        """See `RunFolder.stat`. The version is the store's tag, which S3 derives from the content."""
        meta = self._bucket.head(self._key(name))
        return None if meta is None else Entry(name, meta["size"], version_of(meta["e_tag"]))

    def list(self, under: str = "") -> Iterator[Entry]:
        """See `RunFolder.list`: a request for 1,000 files, and one for each empty file."""
        start = len(self._place.prefix)
        for meta in self._bucket.list(f"{self._place.prefix}{key_of(prefix_of(under))}"):
            key = meta["path"][start:]
            if not key.startswith(f"{TEMPORARY}/"):
                yield Entry(name_of(key), meta["size"], version_of(meta["e_tag"]))

    @contextlib.contextmanager
    def committing(self, name: str) -> Iterator[Committed]:
        """See `RunFolder.committing`: put when the block has ended well; nothing is put otherwise."""
        key = self._key(name)
        with _Kept(PART_BYTES, dir=str(_SCRATCH.folder)) as file:
            yield (committed := Committed(cast(BinaryIO, file), f"{self.url}/{name}"))
            committed.end()
            file.seek(0)
            self._put_file(key, cast(BinaryIO, file), committed.num_bytes)

    def put(self, name: str, path: Path) -> None:
        """See `RunFolder.put`: sent from where it is."""
        with open(path, "rb") as file:
            self._put_file(self._key(name), file, path.stat().st_size)

    def _put_file(self, key: str, file: BinaryIO, num_bytes: int) -> None:
        """Put a file that is open at its start: whole, or in parts."""
        if num_bytes <= PART_BYTES:
            self._bucket.put(key, file.read())
        else:
            self._bucket.put(key, file, max(PART_BYTES, num_bytes // MOST_PARTS))

    def write(self, name: str, content: bytes) -> None:
        """See `RunFolder.write`."""
        self._bucket.put(self._key(name), bytes(content))

    def create(self, name: str, content: bytes) -> bool:
        """See `RunFolder.create`: a put on the condition that nothing is there."""
        return self._bucket.create(self._key(name), content)

    def replace(self, name: str, content: bytes, version: str) -> str | None:
        """See `RunFolder.replace`: a put on the condition that this version is there."""
        return self._bucket.replace(self._key(name), content, version)

    def delete(self, names: Iterable[str]) -> None:
        """See `RunFolder.delete`."""
        self._bucket.delete(self._key(name) for name in names)

    def delete_tree(self, under: str) -> None:
        """See `RunFolder.delete_tree`."""
        checked(under)
        self.delete(entry.name for entry in self.list(under))

    def check(self) -> None:
        """See `RunFolder.check`: lists the first files, and gives up after seconds."""
        import obstore

        try:
            store = client(self._place, self._settings, patient=False)
            with asking("read", self.url):
                repeated(lambda: next(obstore.list(store, self._place.prefix.rstrip("/") or None, chunk_size=1), None))
        except RunError as error:
            raise UsageError(str(error)) from None

    def check_conditions(self) -> None:
        """See `RunFolder.check_conditions`: creates a probe twice, once a process and folder."""
        known = (self.url, *self._settings.items())
        if known in _PROBED:
            return
        key = f"{self._place.prefix}{TEMPORARY}/probe-{secrets.token_hex(8)}"
        try:
            is_kept = self._bucket.create(key, b"1") and not self._bucket.create(key, b"2")
        finally:
            with contextlib.suppress(RunError):
                self._bucket.delete([key])
        if not is_kept:
            raise UsageError(
                f"{self.url}: this store ignores 'create only if absent' (If-None-Match), so two runs could work here "
                "at once without seeing each other. Use a store or version that honours it."
            )
        _PROBED.add(known)

    def _key(self, name: str) -> str:
        return self._place.prefix + key_of(checked(name))

    def _streamed(self, name: str) -> Streamed:
        return Streamed(self._bucket.client, self._key(name), f"{self.url}/{name}")


class _Kept(tempfile.SpooledTemporaryFile[bytes]):
    """A file until it is whole: in memory up to `PART_BYTES`, then in scratch, whose errors name that disk."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            raise refused("written", _SCRATCH.folder, error) from error


def _copy(source: Streamed, file: BinaryIO) -> None:
    for chunk in source.chunks():
        with told("written", _SCRATCH.folder):
            file.write(chunk)
    with told("written", _SCRATCH.folder):
        file.flush()


def _open(url: str, settings: Mapping[str, str]) -> RunFolder:
    return ObjectFolder(url, settings)


for _scheme in ("s3", "gs", "az"):
    SCHEMES[_scheme] = _open
