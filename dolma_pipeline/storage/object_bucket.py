"""What a run folder asks of a bucket, by key: heads, puts, puts on a condition, deletions, listings.

The client is asked for anew each time: it may not travel, nor be used after a fork.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from dolma_pipeline.errors import RunError
from dolma_pipeline.storage.object_client import client
from dolma_pipeline.storage.object_faults import TRIES, asking, is_bucket_missing, is_cut, repeated, wait
from dolma_pipeline.storage.object_names import Place

PARTS_AT_ONCE = 4
PAGE = 1000
TOKEN = "token"
"""Kept with objects of `create` and `replace`: whose they are. A request whose answer got lost is repeated, and then
meets what it has written itself."""


class Bucket:
    """A bucket, by key.

    Args:
        place: of it. settings: endpoint, region, account. patient: as `object_client.client`.
    """

    def __init__(self, place: Place, settings: Mapping[str, str], *, patient: bool = True) -> None:
        self._place, self._settings, self._patient = place, settings, patient

    @property
    def client(self) -> Any:
        """The client, of this process."""
        return client(self._place, self._settings, patient=self._patient)

    def url(self, key: str) -> str:
        """The URL of an object, for errors."""
        return f"{self._place.scheme}://{self._place.bucket}/{key}"

    def head(self, key: str) -> Any:
        """What the store says of an object; None if it is not there."""
        import obstore

        with asking("read", self.url(key)):
            try:
                return repeated(lambda: obstore.head(self.client, key))
            except FileNotFoundError:
                return None

    def put(self, key: str, content: Any, chunk_size: int | None = None) -> None:
        """Put a whole object: bytes, or a file in parts of `chunk_size`.

        A put in parts that fails is aborted by the client. Parts of a process that dies are invisible; a rule of the
        bucket ends them.
        """
        import obstore

        def put() -> None:
            if chunk_size is None:
                obstore.put(self.client, key, content, use_multipart=False)
            else:
                content.seek(0)
                obstore.put(self.client, key, content, chunk_size=chunk_size, max_concurrency=PARTS_AT_ONCE)

        with asking("written", self.url(key)):
            repeated(put)

    def create(self, key: str, content: bytes) -> bool:
        """Put an object if none is there."""
        return self._put_if(key, content, lambda: "create") is not None

    def replace(self, key: str, content: bytes, version: str) -> str | None:
        """Put an object over the one of this version; the new version, or None."""

        def mode() -> Any:
            meta = self.head(key)
            if meta is None or meta["e_tag"] != version:
                return None
            return {name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None}

        return self._put_if(key, content, mode)

    def _put_if(self, key: str, content: bytes, mode: Callable[[], Any]) -> str | None:
        """Put on a condition: the version that is there then, or None if another one's is there.

        Args:
            mode: what must hold, asked before each try; None if it cannot hold any more.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        token = secrets.token_hex(16)
        attributes: Any = {TOKEN: token}
        for number in range(TRIES):
            condition = mode()
            if condition is None:  # or it is our own put of an earlier try that came late
                there = self._token(key) if number else None
                return there[1] if there is not None and there[0] == token else None
            with asking("written", self.url(key)):
                try:
                    made = obstore.put(self.client, key, bytes(content), mode=condition, attributes=attributes)
                    return made["e_tag"] or ""
                except BaseError as error:
                    if not isinstance(error, AlreadyExistsError | PreconditionError) and not is_cut(error):
                        raise
                    there = self._token(key)
            if there is not None and there[0] == token:
                return there[1]
            if there is not None and condition == "create":
                return None
            wait(number)  # gone again, or another one is at it: the store did not say who
        raise RunError(f"{self.url(key)} cannot be written: others write it all the time.")

    def _token(self, key: str) -> tuple[str, str] | None:
        """The token and version of an object; None if it is not there."""
        import obstore

        try:
            result = repeated(lambda: obstore.get(self.client, key))
        except FileNotFoundError:
            return None
        return str(result.attributes.get(TOKEN, "")), result.meta["e_tag"] or ""

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, up to 1,000 in a request; those that are not there are left out."""
        keys = iter(keys)
        while batch := [*itertools.islice(keys, PAGE)]:
            self._delete(batch)

    def _delete(self, keys: list[str]) -> None:
        import obstore

        with asking("deleted", self.url(keys[0])):
            try:
                repeated(lambda: obstore.delete(self.client, keys))
            except FileNotFoundError as error:
                if is_bucket_missing(error):
                    raise
                for key in keys if len(keys) > 1 else ():  # the store stopped at one that is not there
                    with contextlib.suppress(FileNotFoundError):
                        repeated(functools.partial(obstore.delete, self.client, [key]))

    def list(self, prefix: str) -> Iterator[Any]:
        """What the store says of the objects whose keys begin with a prefix that is empty or ends in "/", in order.

        Keys that end in "/" (folders, as some tools show them) are left out. The client takes that "/" away, so an
        empty object is looked at once more: it is there without the "/", or it is such a one.

        Raises:
            RunError: the store does not list in order, or holds keys that the client cannot name.
        """
        before = ""
        for meta in self._listed(prefix):
            key = meta["path"]
            if not key.startswith(prefix) or key == before:
                continue
            if meta["size"] == 0 and (key < before or self.head(key) is None):
                continue
            if key < before:
                raise RunError(f"{self.url(prefix)}: this store does not list keys in order; use a bucket that does.")
            before = key
            yield meta

    def _listed(self, prefix: str) -> Iterator[Any]:
        """What the store lists; where a page was cut, on from the last key."""
        import obstore
        from obstore.exceptions import BaseError

        last, tries = "", 0
        while tries < TRIES:
            pages = obstore.list(self.client, prefix.rstrip("/") or None, offset=last or None, chunk_size=PAGE)
            with asking("listed", self.url(prefix)):
                try:
                    page = next(pages, None)
                    while page is not None:
                        yield from page
                        last, tries = max(last, page[-1]["path"]), 0
                        page = next(pages, None)
                    return
                except BaseError as error:
                    tries += 1
                    if tries == TRIES or not is_cut(error):
                        raise
            wait(tries)
