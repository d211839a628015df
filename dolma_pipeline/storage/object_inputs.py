"""Inputs on s3, gs and az: an object is a file, a key is its path.

Listing costs a request for 1,000 keys; sizes and versions (ETags) come with it. Files above `COPIED_BYTES` that are
wanted in parts are read by ranges.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, cast

from dolma_pipeline.errors import UsageError
from dolma_pipeline.storage.copies import Held, nameless
from dolma_pipeline.storage.faults import missing_file
from dolma_pipeline.storage.inputs import InputEntry, InputScheme, register_scheme
from dolma_pipeline.storage.object_bucket import Bucket
from dolma_pipeline.storage.object_client import check_settings
from dolma_pipeline.storage.object_faults import asking, repeated
from dolma_pipeline.storage.object_files import CHUNK_BYTES, Ranged, Streamed
from dolma_pipeline.storage.object_names import Place, version_of

COPIED_BYTES = 32_000_000
"""Smaller files are copied whole: one request costs less than the ranges of a reader of columns."""
MOST_NAMES = 200

_SECRET = re.compile(r"(?i)[?&][\w.-]*(sig|signature|token|key|secret|passw|credential)[\w.-]*=")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class ObjectInputs(InputScheme):
    """Objects of buckets."""

    def check(self, url: str) -> None:
        """See `InputScheme.check`: bucket and key, nothing that could be a secret."""
        scheme, _, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        if "@" in bucket or _SECRET.search(url):
            raise UsageError(
                f"a URL of {scheme}:// names bucket and key only ({scheme}://bucket/key). Give credentials in the "
                "environment (docs/storage.md)."
            )
        if not re.fullmatch(r"[A-Za-z0-9._-]+", bucket):
            raise UsageError(f"{url!r} names no bucket: write {scheme}://bucket/key.")
        parts = key.removesuffix("/").split("/")
        if _CONTROLS.search(key) or (key and any(part in ("", ".", "..") for part in parts)):
            raise UsageError(f"{url!r}: a part of its key is empty, '.' or '..', or it holds a control character.")

    def stat(self, url: str, settings: Mapping[str, str]) -> InputEntry | None:
        """See `InputScheme.stat`: one request."""
        bucket, key = _object(url, settings, patient=False)
        meta = bucket.head(key) if key and not key.endswith("/") else None
        return None if meta is None else InputEntry(url, meta["size"], version_of(meta["e_tag"]))

    def stream(self, url: str, settings: Mapping[str, str], start: int = 0) -> BinaryIO:
        """See `InputScheme.stream`: one request, or more where the connection breaks."""
        bucket, key = _object(url, settings)
        return io.BufferedReader(Streamed(bucket.client, key, url, start), CHUNK_BYTES)

    def head(self, url: str, settings: Mapping[str, str], size: int) -> bytes:
        """See `InputScheme.head`: one request, of these bytes alone."""
        import obstore
        from obstore.exceptions import BaseError

        bucket, key = _object(url, settings)
        options: Any = {"range": (0, size)}
        with asking("read", url, missing=True):
            try:
                return repeated(lambda: bytes(obstore.get(bucket.client, key, options=options).bytes()))
            except BaseError:
                meta = bucket.head(key)
                if meta is None or meta["size"]:
                    raise
                return b""  # of an empty object there is no range

    def random(self, url: str, settings: Mapping[str, str]) -> BinaryIO:
        """See `InputScheme.random`."""
        bucket, key = _object(url, settings)
        meta = bucket.head(key)
        if meta is None:
            raise missing_file(url)
        if meta["size"] > COPIED_BYTES:
            return cast(BinaryIO, Held(Ranged(bucket.client, key, url, meta["size"], meta["e_tag"])))
        return nameless(Streamed(bucket.client, key, url).chunks())

    def entries(self, folder: str, settings: Mapping[str, str]) -> Iterator[InputEntry]:
        """See `InputScheme.entries`. Keys that end in "/" are no files."""
        quick, key = _object(folder, settings, patient=False)
        prefix = f"{key}/" if key else ""
        _names(quick, prefix)  # what is wrong is told in seconds; the listing itself is patient
        bucket, _ = _object(folder, settings)
        for meta in bucket.list(prefix):
            yield InputEntry(bucket.url(meta["path"]), meta["size"], version_of(meta["e_tag"]))

    def names(self, folder: str, settings: Mapping[str, str]) -> list[str]:
        """See `InputScheme.names`: one request."""
        bucket, key = _object(folder, settings, patient=False)
        return _names(bucket, f"{key}/" if key else "")


def _object(url: str, settings: Mapping[str, str], *, patient: bool = True) -> tuple[Bucket, str]:
    """The bucket of a URL, and the key. patient: as `object_client.client`."""
    scheme, _, rest = url.partition("://")
    name, _, key = rest.partition("/")
    place = Place(scheme.lower(), name, "")
    check_settings(place, settings)
    return Bucket(place, settings, patient=patient), key


def _names(bucket: Bucket, prefix: str) -> list[str]:
    """What is directly below a prefix, as far as the first page of its keys tells."""
    import obstore

    store, under = bucket.client, prefix.rstrip("/") or None
    with asking("listed", bucket.url(prefix)):
        page = repeated(lambda: next(obstore.list(store, under, chunk_size=MOST_NAMES), []))
    paths = [str(meta["path"]) for meta in page]
    return sorted({path[len(prefix) :].partition("/")[0] for path in paths if path.startswith(prefix)})


for _scheme in ("s3", "gs", "az"):
    register_scheme(_scheme, ObjectInputs())
