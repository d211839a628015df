"""A run's folder on an object store: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.

A file is one object, put whole (in parts if it is large) when it is complete; until then it is in this process's
scratch space. Names are keys below the prefix. Objects whose keys end in "/", which some tools make to show folders,
are no files. A listing follows the order of keys, which is that of names without control characters.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from dolma_pipeline.errors import RunError, UsageError
from dolma_pipeline.storage.committed import Committed
from dolma_pipeline.storage.faults import told
from dolma_pipeline.storage.folder import SCHEMES, Entry, RunFolder
from dolma_pipeline.storage.names import TEMPORARY, checked, prefix_of
from dolma_pipeline.storage.object_client import check_settings, client
from dolma_pipeline.storage.object_faults import asking
from dolma_pipeline.storage.object_files import CHUNK_BYTES, Ranged, Streamed
from dolma_pipeline.storage.object_names import Place, key_of, name_of, place_of
from dolma_pipeline.storage.scratch import Scratch

COPIED_BYTES = 32_000_000
"""`random` copies files up to this size to scratch: one request costs less than the ranges of a reader of columns."""
PART_BYTES = 8_000_000
"""Larger files go up in parts of this size, some at once; a file of at most this size is kept in memory till then."""
MOST_PARTS = 9_000
PARTS_AT_ONCE = 4
PAGE = 1000
TOKEN = "token"
"""Kept with objects of `create` and `replace`: whose they are. A request whose answer got lost is repeated, and then
meets what it has written itself."""
TRIES = 8

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
        self._place: Place = place_of(url)
        self._settings = {name: value for name, value in sorted((settings or {}).items()) if value}
        check_settings(self._place, self._settings)
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
        return Streamed(self._client(), self._key(name), self._url(name)).readall()

    def stream(self, name: str) -> BinaryIO:
        """See `RunFolder.stream`: one request."""
        file = Streamed(self._client(), self._key(name), self._url(name))
        return io.BufferedReader(file, CHUNK_BYTES)

    def random(self, name: str) -> BinaryIO:
        """See `RunFolder.random`: a copy of a file up to `COPIED_BYTES`, else a request for every read."""
        meta = self._meta(name)
        if meta is None:
            raise FileNotFoundError(f"{self._url(name)}: no such file")
        if meta["size"] > COPIED_BYTES:
            file = Ranged(self._client(), self._key(name), self._url(name), meta["size"], meta["e_tag"])
            return cast(BinaryIO, file)
        with told("written", _SCRATCH.folder):
            copy = tempfile.TemporaryFile(dir=_SCRATCH.folder)  # noqa: SIM115 the reader's to close
        self._copy(name, cast(BinaryIO, copy))
        copy.seek(0)
        return cast(BinaryIO, copy)

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """See `RunFolder.local`: a copy in this process's scratch space, for the block; a mapping of it outlasts that."""
        checked(name)
        suffix = PurePosixPath(name).suffix
        path = _SCRATCH.path(suffix if suffix.isascii() and suffix.isprintable() and len(suffix) < 20 else "")
        try:
            with told("written", path):
                file = open(path, "xb")  # noqa: SIM115 closed below
            with file:
                self._copy(name, cast(BinaryIO, file))
            yield path
        finally:
            path.unlink(missing_ok=True)

    def stat(self, name: str) -> Entry | None:
        """See `RunFolder.stat`. The version is the store's tag, which S3 derives from the content."""
        meta = self._meta(name)
        return None if meta is None else Entry(name, meta["size"], meta["e_tag"] or "")

    def list(self, under: str = "") -> Iterator[Entry]:
        """See `RunFolder.list`: a request for 1,000 files, and one for each empty one, which may be a foreign folder.

        Raises:
            RunError: the store does not list in order, or holds keys that no tool can name.
        """
        import obstore

        prefix, skipped = f"{self._place.prefix}{key_of(prefix_of(under))}", len(self._place.prefix)
        before = ""
        pages = obstore.list(self._client(), prefix.rstrip("/") or None, chunk_size=PAGE)
        while True:
            with asking("listed", self._url(under) if under else self.url):
                page = next(pages, None)
            if page is None:
                return
            for meta in page:
                key = meta["path"]
                if not key.startswith(prefix) or key == before or key.startswith(f"{self._place.prefix}{TEMPORARY}/"):
                    continue
                if meta["size"] == 0 and (key < before or self._head(key) is None):
                    continue  # its key ends in "/", which the client takes away
                if key < before:
                    raise RunError(f"{self.url}: this store does not list keys in order; use a bucket that does.")
                before = key
                yield Entry(name_of(key[skipped:]), meta["size"], meta["e_tag"] or "")

    @contextlib.contextmanager
    def committing(self, name: str) -> Iterator[Committed]:
        """See `RunFolder.committing`: put when the block has ended well; nothing is put otherwise."""
        key, url = self._key(name), self._url(name)
        with tempfile.SpooledTemporaryFile(PART_BYTES, dir=_SCRATCH.folder) as file:
            yield (committed := Committed(cast(BinaryIO, file), url))
            committed.end()
            file.seek(0)
            if committed.num_bytes <= PART_BYTES:
                self._put(key, url, file.read())
            else:
                self._put(key, url, file, chunk_size=max(PART_BYTES, committed.num_bytes // MOST_PARTS))

    def write(self, name: str, content: bytes) -> None:
        """See `RunFolder.write`."""
        self._put(self._key(name), self._url(name), bytes(content))

    def create(self, name: str, content: bytes) -> bool:
        """See `RunFolder.create`: a put on the condition that nothing is there."""
        return self._create(self._key(name), self._url(name), content)

    def replace(self, name: str, content: bytes, version: str) -> str | None:
        """See `RunFolder.replace`: a put on the condition that this version is there."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        key, url, token = self._key(name), self._url(name), secrets.token_hex(16)
        attributes: Any = {TOKEN: token}
        for number in range(TRIES):
            with asking("written", url):
                meta = self._head(key)
                if meta is None or meta["e_tag"] != version:
                    return None
                mode: Any = {name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None}
                try:
                    made = obstore.put(self._client(), key, bytes(content), mode=mode, attributes=attributes)
                    return made["e_tag"]
                except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                    found = self._token(key)
                    if found is not None and found[0] == token:
                        return found[1]
            _wait(number)  # another one may be at it: the store did not say yet who it is
        raise RunError(f"{url} cannot be written: others write it all the time.")

    def delete(self, names: Iterable[str]) -> None:
        """See `RunFolder.delete`: up to 1,000 in a request."""
        keys = (self._key(name) for name in names)
        while batch := [*itertools.islice(keys, PAGE)]:
            self._delete(batch)

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
                next(obstore.list(store, self._place.prefix.rstrip("/") or None, chunk_size=1), None)
        except RunError as error:
            raise UsageError(str(error)) from None

    def check_conditions(self) -> None:
        """See `RunFolder.check_conditions`: creates a probe twice, once a process and folder."""
        known = (self.url, *self._settings.items())
        if known in _PROBED:
            return
        key = f"{self._place.prefix}{TEMPORARY}/probe-{secrets.token_hex(8)}"
        url = f"{self._place.scheme}://{self._place.bucket}/{key}"
        try:
            is_kept = self._create(key, url, b"1") and not self._create(key, url, b"2")
        finally:
            with contextlib.suppress(RunError):
                self._delete([key])
        if not is_kept:
            raise UsageError(
                f"{self.url}: this store ignores 'create only if absent' (If-None-Match), so two runs could work here "
                "at once without seeing each other. Use a store or version that honours it."
            )
        _PROBED.add(known)

    def _client(self) -> Any:
        return client(self._place, self._settings)  # never kept: it may not travel, nor be used after a fork

    def _key(self, name: str) -> str:
        return self._place.prefix + key_of(checked(name))

    def _url(self, name: str) -> str:
        return f"{self.url}/{name}"

    def _meta(self, name: str) -> Any:
        key = self._key(name)
        with asking("read", self._url(name)):
            return self._head(key)

    def _head(self, key: str) -> Any:
        """What the store says of an object; None if it is not there."""
        import obstore

        try:
            return obstore.head(self._client(), key)
        except FileNotFoundError:
            return None

    def _copy(self, name: str, file: BinaryIO) -> None:
        for chunk in Streamed(self._client(), self._key(name), self._url(name)).chunks():
            with told("written", _SCRATCH.folder):
                file.write(chunk)
        with told("written", _SCRATCH.folder):
            file.flush()

    def _put(self, key: str, url: str, content: Any, chunk_size: int | None = None) -> None:
        import obstore

        with asking("written", url):
            if chunk_size is None:
                obstore.put(self._client(), key, content, use_multipart=False)
            else:  # what fails is aborted by the client; what dies in between is invisible, and the bucket's rule ends it
                obstore.put(self._client(), key, content, chunk_size=chunk_size, max_concurrency=PARTS_AT_ONCE)

    def _create(self, key: str, url: str, content: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        token = secrets.token_hex(16)
        attributes: Any = {TOKEN: token}
        for number in range(TRIES):
            with asking("written", url):
                try:
                    obstore.put(self._client(), key, bytes(content), mode="create", attributes=attributes)
                    return True
                except AlreadyExistsError:
                    found = self._token(key)
                    if found is not None:
                        return found[0] == token
            _wait(number)  # gone again, or another one is at it and not there yet
        raise RunError(f"{url} cannot be written: others write it all the time.")

    def _token(self, key: str) -> tuple[str, str] | None:
        """The token and version of an object; None if it is not there."""
        import obstore

        try:
            found = obstore.get(self._client(), key)
        except FileNotFoundError:
            return None
        return str(found.attributes.get(TOKEN, "")), found.meta["e_tag"] or ""

    def _delete(self, keys: Iterable[str]) -> None:
        import obstore

        keys = [*keys]
        with asking("deleted", self.url):
            try:
                obstore.delete(self._client(), keys)
            except FileNotFoundError as error:
                if len(keys) == 1:
                    if "Bucket" in str(error):
                        raise
                    return
                for key in keys:  # the store stopped at one that is not there
                    with contextlib.suppress(FileNotFoundError):
                        obstore.delete(self._client(), [key])


def _wait(number: int) -> None:
    time.sleep(min(2.0, 0.05 * 2**number))


def _open(url: str, settings: Mapping[str, str]) -> RunFolder:
    return ObjectFolder(url, settings)


for _scheme in ("s3", "gs", "az"):
    SCHEMES[_scheme] = _open
