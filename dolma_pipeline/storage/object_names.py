"""Where an object folder is, and the keys of its files: the prefix, "/" and the name, as it is.

ASCII control characters cannot stand in a key (no store lists them safely), nor can a backslash (Azure makes it a
slash); they are written as `%0A`, and a "%" that would read as one of these as `%25`. All other names are keys
unchanged, so other tools find files under their names.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dolma_pipeline.errors import UsageError
from dolma_pipeline.storage.names import checked

_TO_KEY = re.compile(r"[\x00-\x1f\x7f\\]|%(?=[01][0-9A-F]|7F|25|5C)")
_TO_NAME = re.compile(r"%([01][0-9A-F]|7F|25|5C)")


class Place(NamedTuple):
    """What a URL names. prefix: empty, or ends in "/"."""

    scheme: str
    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """Always the same for one place."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


def place_of(url: str) -> Place:
    """The place of `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.

    Raises:
        UsageError: it names no bucket, or holds more than bucket and prefix; what could be a secret is not repeated.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    bucket, _, prefix = rest.partition("/")
    if "?" in rest or "#" in rest or "@" in bucket:
        raise UsageError(
            f"a URL of {scheme}:// names bucket and prefix only ({scheme}://bucket/prefix), no '?', '#' or '@'. "
            "Give credentials in the environment (docs/storage.md)."
        )
    if not bucket or not re.fullmatch(r"[A-Za-z0-9._-]+", bucket):
        raise UsageError(f"{url!r} names no bucket: write {scheme}://bucket/prefix.")
    prefix = prefix.rstrip("/")
    if not prefix:
        return Place(scheme, bucket, "")
    try:
        return Place(scheme, bucket, f"{checked(prefix)}/")
    except UsageError:
        raise UsageError(f"{url!r}: a part of its prefix is empty, '.' or '..', or it begins with .tmp.") from None


def key_of(name: str) -> str:
    """The key of a name (without the folder's prefix)."""
    return _TO_KEY.sub(lambda found: f"%{ord(found[0]):02X}", name)


def name_of(key: str) -> str:
    """The name of a key."""
    return _TO_NAME.sub(lambda found: chr(int(found[1], 16)), key)


def version_of(tag: str | None) -> str:
    """A file's version from a store's tag. Azure lists tags without the quotes that all other answers have."""
    return f'"{tag}"' if tag and not tag.endswith('"') else tag or ""
